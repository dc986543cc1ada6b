import type { BlockBackend } from '../virtio/block/backend.js';
import { getConfiguration, getEventStatus, readDiscInformation, readToc } from './cd.js';
import { Opcode, READ_CAPACITY_16, SENSE, type Sense, senseData } from './codes.js';
import { answerWith, failed, good, type ScsiAnswer, type ScsiCommand } from './command.js';
import { inquiry, type UnitIdentity } from './inquiry.js';
import { modeSense } from './mode.js';
import { synchronize, transfer, unmap, verify, writeSame } from './transfer.js';

/** A logical unit's disk and manners. */
export interface ScsiUnitOptions {
  /** A disk, or a drive for CDs and DVDs. */
  readonly kind: 'disk' | 'cd';
  /** Absent: a drive with nothing in it. */
  readonly disk?: BlockBackend;
  /** What the guest sees as serial number (default none). */
  readonly serial?: string;
  /** What the guest sees as its name (default by its kind). */
  readonly product?: string;
  /** False: every write reaches stable storage before it completes (default true). */
  readonly writeCache?: boolean;
}

/** What a command does to a unit. */
type Handler = (unit: ScsiUnit, command: ScsiCommand) => ScsiAnswer | Promise<ScsiAnswer>;

/** A command: who has it, whether it needs a medium, and what it does. */
interface Row {
  readonly only?: 'disk' | 'cd';
  readonly medium?: boolean;
  readonly run: Handler;
}

const MOST_BLOCKS = 0x1_0000;
const MOST_UNMAPPED = 0x40_0000;

/** A logical unit: answers commands, whatever brought them. Medium and state are here; the task set is the carrier's. */
export class ScsiUnit {
  readonly kind: 'disk' | 'cd';
  readonly disk: BlockBackend | undefined;
  readonly blockBytes: number;
  readonly identity: UnitIdentity;
  readonly writeCache: boolean;
  /** Reported once, by the first command that may report it ("SCSI Architecture Model", Unit attention conditions). */
  attention: Sense | undefined = SENSE.POWER_ON;
  /** The tray is open, or its owner does not want it opened. */
  ejected = false;
  locked = false;

  constructor({ kind, disk, serial = '', product, writeCache = true }: ScsiUnitOptions) {
    this.kind = kind;
    this.disk = disk;
    this.blockBytes = kind === 'cd' ? 2048 : 512;
    this.writeCache = writeCache;
    this.identity = {
      type: kind === 'cd' ? 5 : 0,
      removable: kind === 'cd',
      product: product ?? (kind === 'cd' ? 'VIRTUAL CD-ROM' : 'VIRTUAL DISK'),
      serial,
      thin: kind === 'disk' && disk?.discard !== undefined && !disk.readOnly,
      mostBlocks: MOST_BLOCKS,
      mostUnmapped: MOST_UNMAPPED,
    };
  }

  get blocks(): number {
    return this.disk && !this.ejected ? Math.floor(this.disk.sizeBytes / this.blockBytes) : 0;
  }

  get readOnly(): boolean {
    return this.kind === 'cd' || this.disk?.readOnly === true;
  }

  /** Back to how it was switched on. */
  reset(reason: Sense): void {
    this.attention = reason;
    this.locked = false;
  }

  /** Carries a command out. */
  execute(command: ScsiCommand): ScsiAnswer | Promise<ScsiAnswer> {
    const code = command.cdb.getUint8(0);
    const row = Object.hasOwn(rows, code) ? rows[code] : undefined;
    const { attention } = this;
    if (attention && !PATIENT.has(code)) {
      this.attention = undefined;
      return failed(attention);
    }
    if (row === undefined || (row.only !== undefined && row.only !== this.kind)) return failed(SENSE.INVALID_COMMAND);
    if (row.medium && (this.disk === undefined || this.ejected)) return failed(SENSE.MEDIUM_NOT_PRESENT);
    return row.run(this, command);
  }
}

/** Commands that do not report unit attentions. */
const PATIENT: ReadonlySet<number> = new Set([Opcode.INQUIRY, Opcode.REPORT_LUNS, Opcode.REQUEST_SENSE]);

function requestSense(unit: ScsiUnit, command: ScsiCommand): ScsiAnswer {
  const { attention = SENSE.NONE } = unit;
  unit.attention = undefined;
  return answerWith(command, senseData(attention), command.cdb.getUint8(4));
}

function readCapacity10(unit: ScsiUnit, command: ScsiCommand): ScsiAnswer {
  const bytes = new DataView(new ArrayBuffer(8));
  bytes.setUint32(0, Math.min(unit.blocks - 1, 0xffff_ffff));
  bytes.setUint32(4, unit.blockBytes);
  return answerWith(command, new Uint8Array(bytes.buffer), 8);
}

function readCapacity16(unit: ScsiUnit, command: ScsiCommand): ScsiAnswer {
  if ((command.cdb.getUint8(1) & 0x1f) !== READ_CAPACITY_16) return failed(SENSE.INVALID_FIELD_IN_CDB);
  const bytes = new DataView(new ArrayBuffer(32));
  bytes.setUint32(0, Math.floor((unit.blocks - 1) / 2 ** 32));
  bytes.setUint32(4, (unit.blocks - 1) % 2 ** 32);
  bytes.setUint32(8, unit.blockBytes);
  // Logical block provisioning.
  if (unit.identity.thin) bytes.setUint8(14, 0x80);
  return answerWith(command, new Uint8Array(bytes.buffer), command.cdb.getUint32(10));
}

/** Opens and closes the tray of a drive; disks have nothing to start or stop. */
function startStop(unit: ScsiUnit, { cdb }: ScsiCommand): ScsiAnswer | Promise<ScsiAnswer> {
  const start = (cdb.getUint8(4) & 1) !== 0;
  const tray = (cdb.getUint8(4) & 2) !== 0;
  if (unit.kind === 'disk' || !tray) return start || unit.readOnly ? good() : synchronize(unit);
  if (!start && unit.locked) return failed(SENSE.MEDIUM_REMOVAL_PREVENTED);
  if (start && unit.ejected) unit.attention = SENSE.MEDIUM_CHANGED;
  unit.ejected = !start;
  return good();
}

function preventAllow(unit: ScsiUnit, { cdb }: ScsiCommand): ScsiAnswer {
  unit.locked = (cdb.getUint8(4) & 1) !== 0;
  return good();
}

const modeOf = ({ identity: { type }, readOnly, writeCache, blocks, blockBytes }: ScsiUnit) => ({ type, readOnly, writeCache, blocks, blockBytes });

/** What each operation code does; REPORT LUNS is the target's. */
const rows: Readonly<Record<number, Row>> = {
  [Opcode.TEST_UNIT_READY]: { medium: true, run: () => good() },
  [Opcode.REQUEST_SENSE]: { run: requestSense },
  [Opcode.INQUIRY]: { run: (unit, command) => inquiry(command, unit.identity) },
  [Opcode.MODE_SENSE_6]: { run: (unit, command) => modeSense(command, modeOf(unit)) },
  [Opcode.MODE_SENSE_10]: { run: (unit, command) => modeSense(command, modeOf(unit)) },
  [Opcode.START_STOP_UNIT]: { run: startStop },
  [Opcode.PREVENT_ALLOW]: { run: preventAllow },
  [Opcode.READ_CAPACITY_10]: { medium: true, run: readCapacity10 },
  [Opcode.SERVICE_ACTION_IN_16]: { medium: true, run: readCapacity16 },
  [Opcode.READ_6]: { medium: true, run: (unit, command) => transfer(unit, command, false) },
  [Opcode.READ_10]: { medium: true, run: (unit, command) => transfer(unit, command, false) },
  [Opcode.READ_12]: { medium: true, run: (unit, command) => transfer(unit, command, false) },
  [Opcode.READ_16]: { medium: true, run: (unit, command) => transfer(unit, command, false) },
  [Opcode.WRITE_6]: { only: 'disk', medium: true, run: (unit, command) => transfer(unit, command, true) },
  [Opcode.WRITE_10]: { only: 'disk', medium: true, run: (unit, command) => transfer(unit, command, true) },
  [Opcode.WRITE_12]: { only: 'disk', medium: true, run: (unit, command) => transfer(unit, command, true) },
  [Opcode.WRITE_16]: { only: 'disk', medium: true, run: (unit, command) => transfer(unit, command, true) },
  [Opcode.VERIFY_10]: { medium: true, run: verify },
  [Opcode.VERIFY_16]: { medium: true, run: verify },
  [Opcode.SYNCHRONIZE_CACHE_10]: { medium: true, run: synchronize },
  [Opcode.SYNCHRONIZE_CACHE_16]: { medium: true, run: synchronize },
  [Opcode.WRITE_SAME_10]: { only: 'disk', medium: true, run: writeSame },
  [Opcode.WRITE_SAME_16]: { only: 'disk', medium: true, run: writeSame },
  [Opcode.UNMAP]: { only: 'disk', medium: true, run: unmap },
  [Opcode.READ_TOC]: { only: 'cd', medium: true, run: (unit, command) => readToc(command, unit.blocks) },
  [Opcode.GET_CONFIGURATION]: { only: 'cd', run: (unit, command) => getConfiguration(command, unit.blocks) },
  [Opcode.GET_EVENT_STATUS]: { only: 'cd', run: (unit, command) => getEventStatus(command, unit.blocks > 0) },
  [Opcode.READ_DISC_INFORMATION]: { only: 'cd', medium: true, run: (_, command) => readDiscInformation(command) },
};
