const LEAD_OUT = 0xaa;
const DATA_TRACK = 0x14;
const FRAMES = 75;

/** Minute, second, frame of a block ("Multi-Media Commands", MSF addresses), or the block's number, as four bytes. */
function addressBytes(block: number, asTime: boolean): number[] {
  if (!asTime) return [(block >>> 24) & 255, (block >>> 16) & 255, (block >>> 8) & 255, block & 255];
  const frames = block + 2 * FRAMES;
  return [0, Math.floor(frames / FRAMES / 60) & 255, Math.floor(frames / FRAMES) % 60, frames % FRAMES];
}

/** What READ TOC/PMA/ATIP gives for a disc with one session of one data track; undefined for a format or track that there is not. */
export function tocData(cdb: DataView, blocks: number): Uint8Array | undefined {
  const asTime = (cdb.getUint8(1) & 2) !== 0;
  const from = cdb.getUint8(6);
  const track = (number: number, block: number): number[] => [0, DATA_TRACK, number, 0, ...addressBytes(block, asTime)];
  const point = (what: number, bytes: number[]): number[] => [1, DATA_TRACK, 0, what, 0, 0, 0, ...bytes];
  const finish = (...entries: number[][]): Uint8Array => {
    const length = 2 + entries.reduce((sum, { length: bytes }) => sum + bytes, 0);
    return Uint8Array.of(length >> 8, length & 255, 1, 1, ...entries.flat());
  };
  switch (cdb.getUint8(2) & 15 || cdb.getUint8(9) >> 6) {
    case 0:
      if (from > 1 && from !== LEAD_OUT) return undefined;
      return finish(...(from <= 1 ? [track(1, 0)] : []), track(LEAD_OUT, blocks));
    case 1:
      return finish(track(1, 0));
    case 2:
      return finish(point(0xa0, [0, 1, 0, 0]), point(0xa1, [0, 1, 0, 0]), point(0xa2, addressBytes(blocks, true)), point(1, addressBytes(0, true)));
    default:
      return undefined;
  }
}

const PROFILE_CD = 8;
const PROFILE_DVD = 0x10;
/** Blocks that a CD has room for; more is a DVD. */
const CD_BLOCKS = 405_000;

/** How the drive is connected, as the core feature says it. */
export const MmcInterface = { SCSI: 1, ATAPI: 2 } as const;

/** What GET CONFIGURATION gives: features of a drive that reads, and the profile of the disc in it. */
export function configurationData(cdb: DataView, blocks: number, connection: number): Uint8Array {
  const from = cdb.getUint16(2);
  const only = (cdb.getUint8(1) & 3) === 2;
  const current = blocks === 0 ? 0 : blocks > CD_BLOCKS ? PROFILE_DVD : PROFILE_CD;
  const profile = (number: number): number[] => [0, number, number === current ? 1 : 0, 0];
  // Profiles, core, removable medium with a tray, random reading, CD reading: code, flags (version, persistent, current), body.
  const features: readonly (readonly [code: number, flags: number, body: number[]])[] = [
    [0x0000, 3, [...profile(PROFILE_DVD), ...profile(PROFILE_CD)]],
    [0x0001, 0x0b, [0, 0, 0, connection, 1, 0, 0, 0]],
    [0x0003, 3, [0x29, 0, 0, 0]],
    [0x0010, 1, [0, 0, 8, 0, 0, 1, 0, 0]],
    [0x001e, 1, [0, 0, 0, 0]],
  ];
  const shown = features.filter(([code]) => (only ? code === from : code >= from));
  const body = shown.flatMap(([code, flags, bytes]) => [code >> 8, code & 255, flags, bytes.length, ...bytes]);
  const length = body.length + 4;
  return Uint8Array.of(0, 0, length >> 8, length & 255, 0, 0, current >> 8, current & 255, ...body);
}

/** What MECHANISM STATUS gives. */
export const mechanismData = (open: boolean): Uint8Array => Uint8Array.of(0, open ? 0x10 : 0, 0, 0, 0, 1, 0, 0);

const MEDIA = 4;

/** What a drive tells of its medium. */
export interface MediumStatus {
  /** Code of a media event that was not told yet, or 0. */
  readonly event: number;
  readonly present: boolean;
  readonly open: boolean;
}

/** Whether GET EVENT STATUS NOTIFICATION asks for media events. */
export const asksForMedia = (cdb: DataView): boolean => (cdb.getUint8(4) & (1 << MEDIA)) !== 0;

/** What GET EVENT STATUS NOTIFICATION gives when it polls; undefined when it wants to be told later, which no drive here does. */
export function eventData(cdb: DataView, { event, present, open }: MediumStatus): Uint8Array | undefined {
  if ((cdb.getUint8(1) & 1) === 0) return undefined;
  if (!asksForMedia(cdb)) return Uint8Array.of(0, 2, 0x80, 1 << MEDIA);
  return Uint8Array.of(0, 6, MEDIA, 1 << MEDIA, event, (present ? 2 : 0) | (open ? 1 : 0), 0, 0);
}

/** Disc information: complete, one session with one track. */
export function discInformation(): Uint8Array {
  const bytes = new Uint8Array(34);
  bytes.set([0, 32, 0x0e, 1, 1, 1, 1, 0x20]);
  return bytes;
}
