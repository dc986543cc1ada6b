import type { BlockBackend } from '../virtio/block/backend.js';
import { Opcode, READ_CAPACITY_16, SENSE, type Sense, senseData } from './codes.js';
import { inquiryData, type UnitIdentity } from './inquiry.js';
import { asksForMedia, configurationData, discInformation, eventData, MmcInterface, mechanismData, tocData } from './mmc.js';
import { modeAllocation, modeData } from './mode.js';
import { extent } from './transfer.js';

/** How a CD drive is made. */
export interface MmcDriveOptions {
  /** Name for messages. */
  readonly name: string;
  readonly identity: UnitIdentity;
  /** `ATAPI`: what went wrong is kept for REQUEST SENSE, since the cable does not carry it. */
  readonly connection: keyof typeof MmcInterface;
  /** What is in it at first. */
  readonly medium?: BlockBackend | undefined;
  /** The guest opens or closes the tray. */
  readonly onTray?: ((open: boolean) => void) | undefined;
}

/** What a command to a CD drive comes to; whatever carried the command moves the bytes. */
export type MmcAnswer =
  | { readonly kind: 'done' }
  | { readonly kind: 'data'; readonly bytes: Uint8Array }
  /** Blocks of the medium, which are there. */
  | { readonly kind: 'blocks'; readonly first: number; readonly count: number }
  | { readonly kind: 'failed'; readonly sense: Sense };

/** Bytes of a block. */
export const CD_BLOCK_BYTES = 2048;

/** Media events that guests ask for. */
const MediaEvent = { NONE: 0, EJECT_REQUEST: 1, NEW: 2, REMOVAL: 3 } as const;
const USER_DATA = 0x10;

/** A CD drive with its tray ("SCSI Multi-Media Commands"): what its commands mean, for every interface. The medium can be changed at any time. */
export class MmcDrive {
  readonly name: string;
  readonly identity: UnitIdentity;
  readonly connection: keyof typeof MmcInterface;
  /** Reported once, by the first command that may report it. */
  attention: Sense | undefined;
  /** Why the last command failed. */
  sense: Sense = SENSE.NONE;
  /** A media event that the guest has not heard of. */
  event: number = MediaEvent.NONE;
  open = false;
  /** The guest has locked the door. */
  locked = false;
  #medium: BlockBackend | undefined;
  readonly #onTray: (open: boolean) => void;

  constructor({ name, identity, connection, medium, onTray = () => {} }: MmcDriveOptions) {
    this.name = name;
    this.identity = identity;
    this.connection = connection;
    this.#medium = medium;
    this.#onTray = onTray;
  }

  get medium(): BlockBackend | undefined {
    return this.#medium;
  }

  /** Blocks of what can be read, 0 for nothing. */
  get blocks(): number {
    return this.#medium && !this.open ? Math.floor(this.#medium.sizeBytes / CD_BLOCK_BYTES) : 0;
  }

  /** Puts another medium in, or none, whatever the door says. */
  change(medium: BlockBackend | undefined): void {
    this.#medium = medium;
    this.open = false;
    if (medium) this.attention = SENSE.MEDIUM_CHANGED;
    this.event = medium ? MediaEvent.NEW : MediaEvent.REMOVAL;
  }

  /** Tells the guest that somebody pressed the drive's button. */
  requestEject(): void {
    this.event = MediaEvent.EJECT_REQUEST;
  }

  /** Carries a command out. */
  execute(cdb: DataView): MmcAnswer {
    const answer = this.#answer(cdb);
    if (this.connection === 'ATAPI') this.sense = answer.kind === 'failed' ? answer.sense : SENSE.NONE;
    return answer;
  }

  /** What REQUEST SENSE gives, once. */
  takeSense(): Sense {
    const { sense, attention = SENSE.NONE } = this;
    if (sense.key !== 0) return sense;
    this.attention = undefined;
    return attention;
  }

  /** What GET EVENT STATUS NOTIFICATION tells, once. */
  takeEvent(): number {
    const { event } = this;
    this.event = MediaEvent.NONE;
    return event;
  }

  /** The guest moves the tray. */
  move(open: boolean): void {
    if (open === this.open) return;
    this.open = open;
    if (!open && this.#medium) this.attention = SENSE.MEDIUM_CHANGED;
    this.#onTray(open);
  }

  #answer(cdb: DataView): MmcAnswer {
    const code = cdb.getUint8(0);
    const row = Object.hasOwn(rows, code) ? rows[code] : undefined;
    const { attention } = this;
    if (attention && !PATIENT.has(code)) {
      this.attention = undefined;
      return failed(attention);
    }
    if (row === undefined) return failed(SENSE.INVALID_COMMAND);
    if (row.medium && this.blocks === 0) return failed(SENSE.MEDIUM_NOT_PRESENT);
    return row.run(this, cdb);
  }
}

/** A command: whether it needs a medium, and what it does. */
interface Row {
  readonly medium?: true;
  readonly run: (drive: MmcDrive, cdb: DataView) => MmcAnswer;
}

/** Commands that do not report unit attentions. */
const PATIENT: ReadonlySet<number> = new Set([Opcode.INQUIRY, Opcode.REQUEST_SENSE, Opcode.GET_EVENT_STATUS, Opcode.GET_CONFIGURATION]);

const DONE: MmcAnswer = { kind: 'done' };
const failed = (sense: Sense): MmcAnswer => ({ kind: 'failed', sense });
/** As much of an answer as the host has room for; a field of the command is wrong where there is none. */
const cut = (bytes: Uint8Array | undefined, allocation: number): MmcAnswer =>
  bytes ? { kind: 'data', bytes: bytes.subarray(0, allocation) } : failed(SENSE.INVALID_FIELD_IN_CDB);

function read(drive: MmcDrive, first: number, count: number): MmcAnswer {
  if (first + count > drive.blocks) return failed(SENSE.ADDRESS_OUT_OF_RANGE);
  return count === 0 ? DONE : { kind: 'blocks', first, count };
}

function readExtent(drive: MmcDrive, cdb: DataView): MmcAnswer {
  const { first, count } = extent(cdb);
  return read(drive, first, count);
}

/** READ CD: only the user data of sectors can be had. */
function readCd(drive: MmcDrive, cdb: DataView): MmcAnswer {
  const count = (cdb.getUint8(6) << 16) | cdb.getUint16(7);
  const wanted = cdb.getUint8(9) & 0xf8;
  if (count === 0 || wanted === 0) return DONE;
  return wanted === USER_DATA ? read(drive, cdb.getUint32(2), count) : failed(SENSE.INVALID_FIELD_IN_CDB);
}

/** VERIFY without comparison, and SEEK: the blocks can be read, as far as they are there. */
function verify(drive: MmcDrive, cdb: DataView): MmcAnswer {
  const { first, count } = extent(cdb);
  if ((cdb.getUint8(1) & 6) !== 0) return failed(SENSE.INVALID_FIELD_IN_CDB);
  return first + count > drive.blocks ? failed(SENSE.ADDRESS_OUT_OF_RANGE) : DONE;
}

const seek = ({ blocks }: MmcDrive, cdb: DataView): MmcAnswer => (cdb.getUint32(2) < blocks ? DONE : failed(SENSE.ADDRESS_OUT_OF_RANGE));

function readCapacity10({ blocks }: MmcDrive): MmcAnswer {
  const data = new DataView(new ArrayBuffer(8));
  data.setUint32(0, Math.min(blocks - 1, 0xffff_ffff));
  data.setUint32(4, CD_BLOCK_BYTES);
  return { kind: 'data', bytes: new Uint8Array(data.buffer) };
}

function readCapacity16({ blocks }: MmcDrive, cdb: DataView): MmcAnswer {
  if ((cdb.getUint8(1) & 0x1f) !== READ_CAPACITY_16) return failed(SENSE.INVALID_FIELD_IN_CDB);
  const data = new DataView(new ArrayBuffer(32));
  data.setBigUint64(0, BigInt(blocks - 1));
  data.setUint32(8, CD_BLOCK_BYTES);
  return cut(new Uint8Array(data.buffer), cdb.getUint32(10));
}

function modeSense({ identity: { type }, blocks, open, locked }: MmcDrive, cdb: DataView): MmcAnswer {
  const data = modeData(cdb, { type, readOnly: true, writeCache: false, blocks, blockBytes: CD_BLOCK_BYTES, tray: { open, locked } });
  return data instanceof Uint8Array ? cut(data, modeAllocation(cdb)) : failed(data);
}

function eventStatus(drive: MmcDrive, cdb: DataView): MmcAnswer {
  const data = eventData(cdb, { event: drive.event, present: drive.medium !== undefined, open: drive.open });
  if (data && asksForMedia(cdb)) drive.takeEvent();
  return cut(data, cdb.getUint16(7));
}

function startStop(drive: MmcDrive, cdb: DataView): MmcAnswer {
  const what = cdb.getUint8(4);
  if ((what & 2) === 0) return DONE;
  const open = (what & 1) === 0;
  if (open && drive.locked) return failed(SENSE.MEDIUM_REMOVAL_PREVENTED);
  drive.move(open);
  return DONE;
}

function preventAllow(drive: MmcDrive, cdb: DataView): MmcAnswer {
  drive.locked = (cdb.getUint8(4) & 1) !== 0;
  return DONE;
}

/** What each operation code does. */
const rows: Readonly<Record<number, Row>> = {
  [Opcode.TEST_UNIT_READY]: { medium: true, run: () => DONE },
  [Opcode.REQUEST_SENSE]: { run: (drive, cdb) => cut(senseData(drive.takeSense()), cdb.getUint8(4)) },
  [Opcode.INQUIRY]: { run: ({ identity }, cdb) => cut(inquiryData(cdb, identity), cdb.getUint16(3)) },
  [Opcode.MODE_SENSE_6]: { run: modeSense },
  [Opcode.MODE_SENSE_10]: { run: modeSense },
  [Opcode.START_STOP_UNIT]: { run: startStop },
  [Opcode.PREVENT_ALLOW]: { run: preventAllow },
  [Opcode.READ_CAPACITY_10]: { medium: true, run: readCapacity10 },
  [Opcode.SERVICE_ACTION_IN_16]: { medium: true, run: readCapacity16 },
  [Opcode.READ_6]: { medium: true, run: readExtent },
  [Opcode.READ_10]: { medium: true, run: readExtent },
  [Opcode.READ_12]: { medium: true, run: readExtent },
  [Opcode.READ_16]: { medium: true, run: readExtent },
  [Opcode.READ_CD]: { medium: true, run: readCd },
  [Opcode.VERIFY_10]: { medium: true, run: verify },
  [Opcode.VERIFY_16]: { medium: true, run: verify },
  [Opcode.SEEK_10]: { medium: true, run: seek },
  [Opcode.SYNCHRONIZE_CACHE_10]: { medium: true, run: () => DONE },
  [Opcode.SYNCHRONIZE_CACHE_16]: { medium: true, run: () => DONE },
  [Opcode.READ_TOC]: { medium: true, run: ({ blocks }, cdb) => cut(tocData(cdb, blocks), cdb.getUint16(7)) },
  [Opcode.READ_DISC_INFORMATION]: { medium: true, run: (_, cdb) => cut(discInformation(), cdb.getUint16(7)) },
  [Opcode.GET_CONFIGURATION]: {
    run: ({ blocks, connection }, cdb) => cut(configurationData(cdb, blocks, MmcInterface[connection]), cdb.getUint16(7)),
  },
  [Opcode.GET_EVENT_STATUS]: { run: eventStatus },
  [Opcode.MECHANISM_STATUS]: { run: ({ open }, cdb) => cut(mechanismData(open), cdb.getUint16(8)) },
  [Opcode.SET_CD_SPEED]: { run: () => DONE },
};
