import type { BlockBackend } from '../virtio/block/backend.js';
import { SENSE, type Sense } from './codes.js';
import { answerWith, failed, good, type ScsiAnswer, type ScsiCommand } from './command.js';
import { UnitStandards } from './inquiry.js';
import { CD_BLOCK_BYTES, MmcDrive } from './mmc-drive.js';
import { readBytes } from './transfer.js';
import { MOST_BLOCKS, MOST_UNMAPPED, type ScsiUnit } from './unit.js';

/** How a CD drive on a SCSI bus is made. */
export interface ScsiCdOptions {
  /** Name for messages (default `scsi-cd`). */
  readonly name?: string;
  /** What is in it at first. */
  readonly medium?: BlockBackend;
  /** What the guest sees as serial number (default none). */
  readonly serial?: string;
  /** What the guest sees as its name. */
  readonly product?: string;
  /** The guest opens or closes the tray. */
  readonly onTray?: (open: boolean) => void;
}

/** A drive for CDs and DVDs on a SCSI bus, whose medium can be changed. */
export class ScsiCd implements ScsiUnit {
  /** The drive itself, for whoever changes its medium. */
  readonly drive: MmcDrive;

  constructor({ name = 'scsi-cd', medium, serial = '', product = 'VIRTUAL CD-ROM', onTray }: ScsiCdOptions = {}) {
    const blocks = { thin: false, mostBlocks: MOST_BLOCKS, mostUnmapped: MOST_UNMAPPED };
    const identity = { type: 5, removable: true, product, revision: '1', serial, standard: UnitStandards.SPC3, ...blocks };
    this.drive = new MmcDrive({ name, connection: 'SCSI', identity, medium, onTray });
    this.drive.attention = SENSE.POWER_ON;
  }

  get attention(): Sense | undefined {
    return this.drive.attention;
  }

  set attention(attention: Sense | undefined) {
    this.drive.attention = attention;
  }

  get ejected(): boolean {
    return this.drive.open;
  }

  set ejected(open: boolean) {
    this.drive.open = open;
  }

  get locked(): boolean {
    return this.drive.locked;
  }

  set locked(locked: boolean) {
    this.drive.locked = locked;
  }

  reset(reason: Sense): void {
    this.drive.attention = reason;
    this.drive.locked = false;
  }

  execute(command: ScsiCommand): ScsiAnswer | Promise<ScsiAnswer> {
    const answer = this.drive.execute(command.cdb);
    switch (answer.kind) {
      case 'done':
        return good();
      case 'data':
        return answerWith(command, answer.bytes, answer.bytes.length);
      case 'blocks':
        if (answer.count > MOST_BLOCKS) return failed(SENSE.INVALID_FIELD_IN_CDB);
        return readBytes(this.drive.medium!, command, answer.first * CD_BLOCK_BYTES, answer.count * CD_BLOCK_BYTES);
      case 'failed':
        return answer;
    }
  }
}
