import { SENSE } from '../scsi/codes.js';
import { UnitStandards } from '../scsi/inquiry.js';
import { CD_BLOCK_BYTES, MmcDrive } from '../scsi/mmc-drive.js';
import type { BlockBackend } from '../virtio/block/backend.js';
import { type AtaDrive, type AtaFailure, type AtaTransfer, giving, type SavedDrive, type TaskFile, withoutData } from './drive.js';
import { identifyCd } from './identify.js';
import { AtaCommand, AtaError, AtaFeature } from './registers.js';

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
const MODEL = 'NESTVM CD-ROM';
const REVISION = '1.0';

/** A CD drive on an ATA cable, which takes the commands of SCSI drives as packets ("ATA/ATAPI", PACKET). */
export class CdDrive implements AtaDrive {
  readonly packet = true;
  /** The drive itself, for whoever changes its medium. */
  readonly drive: MmcDrive;
  readonly #serial: string;
  #transferMode = 0x45;

  constructor({ name, medium, serial = 'NV00002', onTray }: CdDriveOptions) {
    this.#serial = serial;
    const common = { product: MODEL, revision: REVISION, serial, thin: false, mostBlocks: 0, mostUnmapped: 0 };
    const identity = { type: 5, removable: true, standard: UnitStandards.ATAPI, ...common };
    this.drive = new MmcDrive({ name, connection: 'ATAPI', identity, medium, onTray });
  }

  get name(): string {
    return this.drive.name;
  }

  /** Sense key of the last error in the high half. */
  get failure(): number {
    const { drive } = this;
    if (drive.sense.key === 0) drive.sense = SENSE.UNRECOVERED_READ_ERROR;
    return (drive.sense.key << 4) | AtaError.ABRT;
  }

  reset(): void {
    this.drive.sense = SENSE.NONE;
    this.drive.locked = false;
  }

  start(task: TaskFile): AtaTransfer | AtaFailure {
    switch (task.command) {
      case AtaCommand.PACKET:
        return { ...withoutData(), direction: 'packet', dma: (task.features & 1) !== 0 };
      case AtaCommand.IDENTIFY_PACKET:
        return giving(identifyCd({ model: MODEL, serial: this.#serial, revision: REVISION }, this.#transferMode));
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
    const { drive } = this;
    const answer = drive.execute(commandOf(packet));
    switch (answer.kind) {
      case 'done':
        return withoutData();
      case 'data':
        return answer.bytes.length === 0 ? withoutData() : giving(answer.bytes);
      case 'blocks':
        return blocks(drive.medium!, answer.first, answer.count);
      case 'failed':
        return { error: (answer.sense.key << 4) | AtaError.ABRT };
    }
  }

  save(): SavedDrive {
    const { sense, attention, locked, open, event } = this.drive;
    const { key, code, qualifier } = sense;
    const flags = { changed: attention ? 1 : 0, locked: locked ? 1 : 0, open: open ? 1 : 0 };
    return { key, code, qualifier, ...flags, event, transferMode: this.#transferMode };
  }

  load({ key = 0, code = 0, qualifier = 0, changed = 0, locked = 0, open = 0, event = 0, transferMode = 0x45 }: SavedDrive): void {
    const { drive } = this;
    drive.sense = { key: key & 15, code: code & 0xff, qualifier: qualifier & 0xff };
    drive.attention = changed === 0 ? undefined : SENSE.MEDIUM_CHANGED;
    drive.locked = locked !== 0;
    drive.open = open !== 0;
    drive.event = event & 15;
    this.#transferMode = transferMode & 0xff;
  }
}

/** The longest command of a SCSI drive: what a packet does not reach is zero. */
const CDB_BYTES = 16;

function commandOf(packet: Uint8Array): DataView {
  const cdb = new Uint8Array(CDB_BYTES);
  cdb.set(packet.subarray(0, CDB_BYTES));
  return new DataView(cdb.buffer);
}

const blocks = (medium: BlockBackend, first: number, count: number): AtaTransfer => ({
  direction: 'in',
  lengthBytes: count * CD_BLOCK_BYTES,
  blockBytes: CD_BLOCK_BYTES,
  dma: true,
  move: (offset, bytes) => medium.read(first * CD_BLOCK_BYTES + offset, bytes),
});
