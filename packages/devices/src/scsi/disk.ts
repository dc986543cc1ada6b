import type { BlockBackend } from '../virtio/block/backend.js';
import { Opcode, READ_CAPACITY_16, SENSE, type Sense, senseData } from './codes.js';
import { answerWith, failed, good, type ScsiAnswer, type ScsiCommand } from './command.js';
import { inquiry, type UnitIdentity, UnitStandards } from './inquiry.js';
import { modeSense } from './mode.js';
import { synchronize, transfer, unmap, verify, writeSame } from './transfer.js';
import { MOST_BLOCKS, MOST_UNMAPPED, type ScsiUnit } from './unit.js';

/** A SCSI disk's backend and manners. */
export interface ScsiDiskOptions {
  readonly disk: BlockBackend;
  /** What the guest sees as serial number (default none). */
  readonly serial?: string;
  /** What the guest sees as its name. */
  readonly product?: string;
  /** False: every write reaches stable storage before it completes (default true). */
  readonly writeCache?: boolean;
}

/** What a command does to a unit. */
type Handler = (unit: ScsiDisk, command: ScsiCommand) => ScsiAnswer | Promise<ScsiAnswer>;

const BLOCK_BYTES = 512;

/** A disk on a SCSI bus ("SCSI Block Commands"). */
export class ScsiDisk implements ScsiUnit {
  readonly disk: BlockBackend;
  readonly blockBytes = BLOCK_BYTES;
  readonly identity: UnitIdentity;
  readonly writeCache: boolean;
  attention: Sense | undefined = SENSE.POWER_ON;
  ejected = false;
  locked = false;

  constructor({ disk, serial = '', product = 'VIRTUAL DISK', writeCache = true }: ScsiDiskOptions) {
    this.disk = disk;
    this.writeCache = writeCache;
    this.identity = {
      type: 0,
      removable: false,
      product,
      revision: '1',
      standard: UnitStandards.SPC3,
      serial,
      thin: disk.discard !== undefined && !disk.readOnly,
      mostBlocks: MOST_BLOCKS,
      mostUnmapped: MOST_UNMAPPED,
    };
  }

  get blocks(): number {
    return Math.floor(this.disk.sizeBytes / BLOCK_BYTES);
  }

  get held(): BlockBackend['held'] {
    return this.disk.held;
  }

  get readOnly(): boolean {
    return this.disk.readOnly === true;
  }

  reset(reason: Sense): void {
    this.attention = reason;
    this.locked = false;
  }

  execute(command: ScsiCommand): ScsiAnswer | Promise<ScsiAnswer> {
    const code = command.cdb.getUint8(0);
    const run = Object.hasOwn(rows, code) ? rows[code] : undefined;
    const { attention } = this;
    if (attention && !PATIENT.has(code)) {
      this.attention = undefined;
      return failed(attention);
    }
    return run ? run(this, command) : failed(SENSE.INVALID_COMMAND);
  }
}

/** Commands that do not report unit attentions. */
const PATIENT: ReadonlySet<number> = new Set([Opcode.INQUIRY, Opcode.REPORT_LUNS, Opcode.REQUEST_SENSE]);

function requestSense(unit: ScsiDisk, command: ScsiCommand): ScsiAnswer {
  const { attention = SENSE.NONE } = unit;
  unit.attention = undefined;
  return answerWith(command, senseData(attention), command.cdb.getUint8(4));
}

function readCapacity10(unit: ScsiDisk, command: ScsiCommand): ScsiAnswer {
  const bytes = new DataView(new ArrayBuffer(8));
  bytes.setUint32(0, Math.min(unit.blocks - 1, 0xffff_ffff));
  bytes.setUint32(4, unit.blockBytes);
  return answerWith(command, new Uint8Array(bytes.buffer), 8);
}

function readCapacity16(unit: ScsiDisk, command: ScsiCommand): ScsiAnswer {
  if ((command.cdb.getUint8(1) & 0x1f) !== READ_CAPACITY_16) return failed(SENSE.INVALID_FIELD_IN_CDB);
  const bytes = new DataView(new ArrayBuffer(32));
  bytes.setUint32(0, Math.floor((unit.blocks - 1) / 2 ** 32));
  bytes.setUint32(4, (unit.blocks - 1) % 2 ** 32);
  bytes.setUint32(8, unit.blockBytes);
  // Logical block provisioning.
  if (unit.identity.thin) bytes.setUint8(14, 0x80);
  return answerWith(command, new Uint8Array(bytes.buffer), command.cdb.getUint32(10));
}

/** Nothing turns: what was written is to be safe before the power goes. */
const startStop: Handler = (unit, { cdb }) => ((cdb.getUint8(4) & 1) !== 0 || unit.readOnly ? good() : synchronize(unit));

function preventAllow(unit: ScsiDisk, { cdb }: ScsiCommand): ScsiAnswer {
  unit.locked = (cdb.getUint8(4) & 1) !== 0;
  return good();
}

const modeOf = ({ identity: { type }, readOnly, writeCache, blocks, blockBytes }: ScsiDisk) => ({ type, readOnly, writeCache, blocks, blockBytes });

/** What each operation code does; REPORT LUNS is the target's. */
const rows: Readonly<Record<number, Handler>> = {
  [Opcode.TEST_UNIT_READY]: () => good(),
  [Opcode.REQUEST_SENSE]: requestSense,
  [Opcode.INQUIRY]: (unit, command) => inquiry(command, unit.identity),
  [Opcode.MODE_SENSE_6]: (unit, command) => modeSense(command, modeOf(unit)),
  [Opcode.MODE_SENSE_10]: (unit, command) => modeSense(command, modeOf(unit)),
  [Opcode.START_STOP_UNIT]: startStop,
  [Opcode.PREVENT_ALLOW]: preventAllow,
  [Opcode.READ_CAPACITY_10]: readCapacity10,
  [Opcode.SERVICE_ACTION_IN_16]: readCapacity16,
  [Opcode.READ_6]: (unit, command) => transfer(unit, command, false),
  [Opcode.READ_10]: (unit, command) => transfer(unit, command, false),
  [Opcode.READ_12]: (unit, command) => transfer(unit, command, false),
  [Opcode.READ_16]: (unit, command) => transfer(unit, command, false),
  [Opcode.WRITE_6]: (unit, command) => transfer(unit, command, true),
  [Opcode.WRITE_10]: (unit, command) => transfer(unit, command, true),
  [Opcode.WRITE_12]: (unit, command) => transfer(unit, command, true),
  [Opcode.WRITE_16]: (unit, command) => transfer(unit, command, true),
  [Opcode.VERIFY_10]: verify,
  [Opcode.VERIFY_16]: verify,
  [Opcode.SYNCHRONIZE_CACHE_10]: synchronize,
  [Opcode.SYNCHRONIZE_CACHE_16]: synchronize,
  [Opcode.WRITE_SAME_10]: writeSame,
  [Opcode.WRITE_SAME_16]: writeSame,
  [Opcode.UNMAP]: unmap,
};
