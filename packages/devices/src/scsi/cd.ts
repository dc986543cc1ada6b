import { SENSE } from './codes.js';
import { answerWith, failed, type ScsiAnswer, type ScsiCommand } from './command.js';

const LEAD_OUT = 0xaa;
const DATA_TRACK = 0x14;
const FRAMES = 75;

/** Minute, second, frame of a block ("Multi-Media Commands", MSF addresses), or the block's number, as four bytes. */
export function addressBytes(block: number, asTime: boolean): number[] {
  if (!asTime) return [(block >>> 24) & 255, (block >>> 16) & 255, (block >>> 8) & 255, block & 255];
  const frames = block + 2 * FRAMES;
  return [0, Math.floor(frames / FRAMES / 60) & 255, Math.floor(frames / FRAMES) % 60, frames % FRAMES];
}

/** READ TOC/PMA/ATIP for a disc with one session of one data track. */
export function readToc(command: ScsiCommand, blocks: number): ScsiAnswer {
  const { cdb } = command;
  const asTime = (cdb.getUint8(1) & 2) !== 0;
  const format = cdb.getUint8(2) & 15 || cdb.getUint8(9) >> 6;
  const from = cdb.getUint8(6);
  const allocation = cdb.getUint16(7);
  const respond = (entries: number[]): ScsiAnswer => {
    const length = entries.length + 2;
    return answerWith(command, Uint8Array.of(length >> 8, length & 255, 1, 1, ...entries), allocation);
  };
  const track = (number: number, block: number): number[] => [0, DATA_TRACK, number, 0, ...addressBytes(block, asTime)];
  switch (format) {
    case 0:
      if (from > 1 && from !== LEAD_OUT) return failed(SENSE.INVALID_FIELD_IN_CDB);
      return respond([...(from <= 1 ? track(1, 0) : []), ...track(LEAD_OUT, blocks)]);
    case 1:
      return respond(track(1, 0));
    case 2: {
      const point = (what: number, bytes: number[]): number[] => [1, DATA_TRACK, 0, what, 0, 0, 0, ...bytes];
      return respond(
        [point(0xa0, [0, 1, 0, 0]), point(0xa1, [0, 1, 0, 0]), point(0xa2, addressBytes(blocks, true)), point(1, addressBytes(0, true))].flat(),
      );
    }
    default:
      return failed(SENSE.INVALID_FIELD_IN_CDB);
  }
}

const PROFILE_CD = 8;
const PROFILE_DVD = 0x10;
/** Blocks that a CD has room for; more is a DVD. */
const CD_BLOCKS = 360_000;

/** GET CONFIGURATION: features of a drive that reads, and the profile of the disc in it. */
export function getConfiguration(command: ScsiCommand, blocks: number): ScsiAnswer {
  const { cdb } = command;
  const from = cdb.getUint16(2);
  const only = (cdb.getUint8(1) & 3) === 2;
  const current = blocks === 0 ? 0 : blocks > CD_BLOCKS ? PROFILE_DVD : PROFILE_CD;
  const profile = (number: number): number[] => [0, number, number === current ? 1 : 0, 0];
  const features: readonly (readonly [code: number, flags: number, body: number[]])[] = [
    [0x0000, 3, [...profile(PROFILE_DVD), ...profile(PROFILE_CD)]],
    // Core: ATAPI's successor on SCSI. Removable medium: a tray that opens.
    [0x0001, 0x0b, [0, 0, 0, 1, 1, 0, 0, 0]],
    [0x0003, 3, [0x29, 0, 0, 0]],
    [0x0010, 1, [0, 0, 8, 0, 0, 1, 0, 0]],
    [0x001e, 1, [0, 0, 0, 0]],
  ];
  const shown = features.filter(([code]) => (only ? code === from : code >= from));
  const body = shown.flatMap(([code, flags, bytes]) => [code >> 8, code & 255, flags, bytes.length, ...bytes]);
  const length = body.length + 4;
  return answerWith(command, Uint8Array.of(0, 0, length >> 8, length & 255, 0, 0, current >> 8, current & 255, ...body), cdb.getUint16(7));
}

/** GET EVENT STATUS NOTIFICATION, polled: whether there is a medium. */
export function getEventStatus(command: ScsiCommand, hasMedium: boolean): ScsiAnswer {
  const { cdb } = command;
  const MEDIA = 4;
  if ((cdb.getUint8(1) & 1) === 0) return failed(SENSE.INVALID_FIELD_IN_CDB);
  const wantsMedia = (cdb.getUint8(4) & (1 << MEDIA)) !== 0;
  const bytes = wantsMedia ? [0, 6, MEDIA, 1 << MEDIA, 0, hasMedium ? 2 : 0, 0, 0] : [0, 2, 0x80, 1 << MEDIA];
  return answerWith(command, Uint8Array.from(bytes), cdb.getUint16(7));
}

/** Disc information: complete, one session with one track. */
export function discInformation(): Uint8Array {
  const bytes = new Uint8Array(34);
  bytes.set([0, 32, 0x0e, 1, 1, 1, 1, 0x20]);
  return bytes;
}

/** READ DISC INFORMATION. */
export const readDiscInformation = (command: ScsiCommand): ScsiAnswer => answerWith(command, discInformation(), command.cdb.getUint16(7));
