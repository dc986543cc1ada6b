import { Opcode, SENSE, type Sense, senseData } from '../scsi/codes.js';
import { asksForMedia, configurationData, discInformation, eventData, MmcInterface, tocData } from '../scsi/mmc.js';
import type { BlockBackend } from '../virtio/block/backend.js';
import { type AtaDrive, type AtaFailure, type AtaTransfer, giving, type SavedDrive, type TaskFile, withoutData } from './drive.js';
import { identifyCd } from './identify.js';
import { capacityData, inquiryData, mechanismData, modeData } from './packet.js';
import { AtaCommand, AtaError, AtaFeature, CD_SECTOR_BYTES } from './registers.js';

/** How a CD drive is made. */
export interface CdDriveOptions {
  readonly name: string;
  /** What is in it at first. */
  readonly medium?: BlockBackend;
  readonly serial?: string;
  /** The guest opens or closes the tray. */
  readonly onTray?: (open: boolean) => void;
}

const ABORTED: AtaFailure = { error: AtaError.ABRT };
/** Media events that guests ask for. */
const MediaEvent = { NONE: 0, EJECT_REQUEST: 1, NEW: 2, REMOVAL: 3 } as const;
const USER_DATA = 0x10;

/** An ATAPI CD drive: reads sectors of 2048 bytes, and lets its medium be changed ("SCSI Multi-Media Commands"). */
export class CdDrive implements AtaDrive {
  readonly name: string;
  readonly packet = true;
  readonly #serial: string;
  readonly #onTray: (open: boolean) => void;
  #medium: BlockBackend | undefined;
  #sense: Sense = SENSE.NONE;
  /** The guest has not heard yet that the medium is another. */
  #changed = false;
  #event: number = MediaEvent.NONE;
  #locked = false;
  #open = false;
  #transferMode = 0x45;

  constructor({ name, medium, serial = 'NV00002', onTray = () => {} }: CdDriveOptions) {
    this.name = name;
    this.#serial = serial;
    this.#onTray = onTray;
    this.#medium = medium;
  }

  /** Sense key of the last error in the high half. */
  get failure(): number {
    if (this.#sense.key === 0) this.#sense = SENSE.UNRECOVERED_READ_ERROR;
    return (this.#sense.key << 4) | AtaError.ABRT;
  }

  get medium(): BlockBackend | undefined {
    return this.#medium;
  }

  /** The guest has locked the door. */
  get locked(): boolean {
    return this.#locked;
  }

  get open(): boolean {
    return this.#open;
  }

  /** Puts another medium in, or none, whatever the door says. */
  change(medium: BlockBackend | undefined): void {
    this.#medium = medium;
    this.#open = false;
    this.#changed = medium !== undefined;
    this.#event = medium ? MediaEvent.NEW : MediaEvent.REMOVAL;
  }

  /** Tells the guest that somebody pressed the drive's button. */
  requestEject(): void {
    this.#event = MediaEvent.EJECT_REQUEST;
  }

  reset(): void {
    this.#sense = SENSE.NONE;
    this.#locked = false;
  }

  start(task: TaskFile): AtaTransfer | AtaFailure {
    switch (task.command) {
      case AtaCommand.PACKET:
        return { ...withoutData(), direction: 'packet', dma: (task.features & 1) !== 0 };
      case AtaCommand.IDENTIFY_PACKET:
        return giving(identifyCd({ model: 'NESTVM CD-ROM', serial: this.#serial, revision: '1.0' }, this.#transferMode));
      case AtaCommand.SET_FEATURES:
        if ((task.features & 0xff) !== AtaFeature.TRANSFER_MODE) return ABORTED;
        this.#transferMode = task.count & 0xff;
        return withoutData();
      case AtaCommand.STANDBY_IMMEDIATE:
      case AtaCommand.IDLE_IMMEDIATE:
      case AtaCommand.SLEEP:
      case AtaCommand.FLUSH:
        return withoutData();
      case AtaCommand.CHECK_POWER:
        task.count = 0xff;
        return withoutData();
      default:
        // IDENTIFY DEVICE, too: guests know by the failure and the signature what this is.
        return ABORTED;
    }
  }

  startPacket(packet: Uint8Array): AtaTransfer | AtaFailure {
    const operation = packet[0]!;
    if (operation === Opcode.REQUEST_SENSE) return this.#requestSense(packet);
    const free = operation === Opcode.INQUIRY || operation === Opcode.GET_EVENT_STATUS || operation === Opcode.GET_CONFIGURATION;
    if (this.#changed && !free) {
      this.#changed = false;
      return this.#fail(SENSE.MEDIUM_CHANGED);
    }
    this.#sense = SENSE.NONE;
    return this.#anywhere(packet) ?? this.#onMedium(packet);
  }

  save(): SavedDrive {
    const { key, code, qualifier } = this.#sense;
    const flags = { changed: this.#changed ? 1 : 0, locked: this.#locked ? 1 : 0, open: this.#open ? 1 : 0 };
    return { key, code, qualifier, ...flags, event: this.#event, transferMode: this.#transferMode };
  }

  load({ key = 0, code = 0, qualifier = 0, changed = 0, locked = 0, open = 0, event = 0, transferMode = 0x45 }: SavedDrive): void {
    this.#sense = { key: key & 15, code: code & 0xff, qualifier: qualifier & 0xff };
    this.#changed = changed !== 0;
    this.#locked = locked !== 0;
    this.#open = open !== 0;
    this.#event = event & 15;
    this.#transferMode = transferMode & 0xff;
  }

  get #sectors(): number {
    return this.#medium && !this.#open ? Math.floor(this.#medium.sizeBytes / CD_SECTOR_BYTES) : 0;
  }

  #fail(sense: Sense): AtaFailure {
    this.#sense = sense;
    return { error: (sense.key << 4) | AtaError.ABRT };
  }

  #requestSense(packet: Uint8Array): AtaTransfer {
    const data = senseData(this.#sense);
    this.#sense = SENSE.NONE;
    return cut(data, packet[4]!);
  }

  /** Commands that need no medium; undefined for others. */
  #anywhere(packet: Uint8Array): AtaTransfer | AtaFailure | undefined {
    switch (packet[0]) {
      case Opcode.INQUIRY:
        return packet[1]! & 1 ? this.#fail(SENSE.INVALID_FIELD_IN_CDB) : cut(inquiryData(), packet[4]!);
      case Opcode.MODE_SENSE_6:
        return this.#modeSense(packet[2]!, packet[4]!, true);
      case Opcode.MODE_SENSE_10:
        return this.#modeSense(packet[2]!, u16(packet, 7), false);
      case Opcode.GET_CONFIGURATION:
        return cut(configurationData(viewOf(packet), this.#sectors, MmcInterface.ATAPI), u16(packet, 7));
      case Opcode.GET_EVENT_STATUS:
        return this.#eventStatus(packet);
      case Opcode.MECHANISM_STATUS:
        return cut(mechanismData(this.#open), u16(packet, 8));
      case Opcode.PREVENT_ALLOW:
        this.#locked = (packet[4]! & 1) !== 0;
        return withoutData();
      case Opcode.START_STOP_UNIT:
        return this.#startStop(packet[4]!);
      case Opcode.SET_CD_SPEED:
        return withoutData();
      default:
        return undefined;
    }
  }

  #onMedium(packet: Uint8Array): AtaTransfer | AtaFailure {
    const sectors = this.#sectors;
    const operation = packet[0]!;
    if (!MEDIUM_COMMANDS.has(operation)) return this.#fail(SENSE.INVALID_COMMAND);
    if (sectors === 0) return this.#fail(SENSE.MEDIUM_NOT_PRESENT);
    switch (operation) {
      case Opcode.READ_CAPACITY_10:
        return giving(capacityData(sectors));
      case Opcode.READ_10:
        return this.#read(u32(packet, 2), u16(packet, 7));
      case Opcode.READ_12:
        return this.#read(u32(packet, 2), u32(packet, 6));
      case Opcode.READ_CD:
        return this.#readCd(packet);
      case Opcode.READ_TOC: {
        const data = tocData(viewOf(packet), sectors);
        return data ? cut(data, u16(packet, 7)) : this.#fail(SENSE.INVALID_FIELD_IN_CDB);
      }
      case Opcode.READ_DISC_INFORMATION:
        return cut(discInformation(), u16(packet, 7));
      case Opcode.SEEK_10:
        return u32(packet, 2) < sectors ? withoutData() : this.#fail(SENSE.ADDRESS_OUT_OF_RANGE);
      default:
        return withoutData();
    }
  }

  #read(first: number, count: number): AtaTransfer | AtaFailure {
    if (first + count > this.#sectors) return this.#fail(SENSE.ADDRESS_OUT_OF_RANGE);
    if (count === 0) return withoutData();
    const medium = this.#medium!;
    return {
      direction: 'in',
      lengthBytes: count * CD_SECTOR_BYTES,
      blockBytes: CD_SECTOR_BYTES,
      dma: true,
      move: (offset, bytes) => medium.read(first * CD_SECTOR_BYTES + offset, bytes),
    };
  }

  /** READ CD: only the user data of sectors can be had. */
  #readCd(packet: Uint8Array): AtaTransfer | AtaFailure {
    const count = (packet[6]! << 16) | u16(packet, 7);
    const wanted = packet[9]! & 0xf8;
    if (count === 0 || wanted === 0) return withoutData();
    return wanted === USER_DATA ? this.#read(u32(packet, 2), count) : this.#fail(SENSE.INVALID_FIELD_IN_CDB);
  }

  #modeSense(page: number, limit: number, short: boolean): AtaTransfer | AtaFailure {
    const data = modeData(page & 0x3f, this.#locked, short);
    return data && page >> 6 !== 3 ? cut(data, limit) : this.#fail(SENSE.INVALID_FIELD_IN_CDB);
  }

  #eventStatus(packet: Uint8Array): AtaTransfer | AtaFailure {
    const cdb = viewOf(packet);
    const data = eventData(cdb, { event: this.#event, present: this.#medium !== undefined, open: this.#open });
    if (data && asksForMedia(cdb)) this.#event = MediaEvent.NONE;
    return data ? cut(data, u16(packet, 7)) : this.#fail(SENSE.INVALID_FIELD_IN_CDB);
  }

  #startStop(what: number): AtaTransfer | AtaFailure {
    if ((what & 2) === 0) return withoutData();
    const open = (what & 1) === 0;
    if (open && this.#locked) return this.#fail(SENSE.MEDIUM_REMOVAL_PREVENTED);
    if (open !== this.#open) {
      this.#open = open;
      this.#onTray(open);
    }
    return withoutData();
  }
}

const MEDIUM_COMMANDS: ReadonlySet<number> = new Set<number>([
  Opcode.TEST_UNIT_READY,
  Opcode.READ_CAPACITY_10,
  Opcode.READ_10,
  Opcode.READ_12,
  Opcode.READ_CD,
  Opcode.READ_TOC,
  Opcode.READ_DISC_INFORMATION,
  Opcode.SEEK_10,
]);

/** As much of an answer as the host has room for. */
const viewOf = (packet: Uint8Array): DataView => new DataView(packet.buffer, packet.byteOffset, packet.length);

const cut = (data: Uint8Array, limit: number): AtaTransfer => {
  const part = data.subarray(0, limit);
  return part.length === 0 ? withoutData() : giving(part);
};
const u16 = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;
const u32 = (bytes: Uint8Array, at: number): number => u16(bytes, at) * 0x10000 + u16(bytes, at + 2);
