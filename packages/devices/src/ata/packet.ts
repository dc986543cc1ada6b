import { addressBytes } from '../scsi/cd.js';

const LEAD_OUT = 0xaa;
const PROFILE_CD_ROM = 0x0008;
const PROFILE_DVD_ROM = 0x0010;
const BLOCK_BYTES = 2048;
/** Media beyond this many sectors are DVDs. */
const LARGEST_CD = 405_000;

const be16 = (value: number): number[] => [(value >> 8) & 0xff, value & 0xff];
const be32 = (value: number): number[] => [(value >>> 24) & 0xff, (value >>> 16) & 0xff, ...be16(value)];
const text = (value: string, length: number): number[] => Array.from({ length }, (_, i) => value.charCodeAt(i) || 0x20);

/** What INQUIRY gives: a removable CD drive. */
export const inquiryData = (): Uint8Array =>
  Uint8Array.from([0x05, 0x80, 0x00, 0x21, 31, 0, 0, 0, ...text('NESTVM', 8), ...text('NESTVM CD-ROM', 16), ...text('1.0', 4)]);

/** What READ CAPACITY gives: the last block and the size of one. */
export const capacityData = (sectors: number): Uint8Array => Uint8Array.from([...be32(sectors - 1), ...be32(BLOCK_BYTES)]);

/** What READ TOC gives for its formats 0 (tracks), 1 (sessions) and 2 (raw); undefined for others and for tracks that do not exist. */
export function tocData(sectors: number, format: number, track: number, msf: boolean): Uint8Array | undefined {
  const entry = (number: number, sector: number): number[] => [0, 0x14, number, 0, ...addressBytes(sector, msf)];
  const finish = (body: number[]): Uint8Array => Uint8Array.from([...be16(body.length + 2), 1, 1, ...body]);
  if (format === 0) {
    if (track > 1 && track !== LEAD_OUT) return undefined;
    return finish([...(track <= 1 ? entry(1, 0) : []), ...entry(LEAD_OUT, sectors)]);
  }
  if (format === 1) return finish([0, 0x14, 1, 0, ...be32(0)]);
  if (format !== 2) return undefined;
  const raw = (point: number, address: number[]): number[] => [1, 0x14, 0, point, 0, 0, 0, ...address];
  return finish([
    ...raw(0xa0, [0, 1, 0, 0]),
    ...raw(0xa1, [0, 1, 0, 0]),
    ...raw(0xa2, addressBytes(sectors, true)),
    ...raw(1, addressBytes(0, true)),
  ]);
}

/** What GET CONFIGURATION gives: the profiles and the features of a drive that reads. */
export function configurationData(sectors: number): Uint8Array {
  const current = sectors === 0 ? 0 : sectors > LARGEST_CD ? PROFILE_DVD_ROM : PROFILE_CD_ROM;
  const profile = (number: number): number[] => [...be16(number), number === current ? 1 : 0, 0];
  const features = [
    0,
    0,
    3,
    8,
    ...profile(PROFILE_DVD_ROM),
    ...profile(PROFILE_CD_ROM),
    0,
    1,
    3,
    8,
    ...be32(2),
    0,
    0,
    0,
    0,
    0,
    3,
    3,
    4,
    0x29,
    0,
    0,
    0,
  ];
  return Uint8Array.from([...be32(features.length + 4), 0, 0, ...be16(current), ...features]);
}

/** What GET EVENT STATUS NOTIFICATION gives for media events. */
export const eventData = (event: number, present: boolean, open: boolean): Uint8Array =>
  Uint8Array.from([0, 6, 4, 0x10, event, (present ? 2 : 0) | (open ? 1 : 0), 0, 0]);

/** What MECHANISM STATUS gives. */
export const mechanismData = (open: boolean): Uint8Array => Uint8Array.of(0, open ? 0x10 : 0, 0, 0, 0, 1, 0, 0);

const ERROR_PAGE = [0x01, 0x06, 0, 5, 0, 0, 0, 0];
const capabilitiesPage = (locked: boolean): number[] => {
  const speed = be16(704);
  return [0x2a, 0x12, 0x3b, 0, 0x71, 0x60, 0x29 | (locked ? 2 : 0), 0, ...speed, ...be16(2), ...be16(512), ...speed, 0, 0, 0, 0];
};

/** What MODE SENSE gives for a page (0x3f: all); undefined for pages that do not exist. */
export function modeData(page: number, locked: boolean, short: boolean): Uint8Array | undefined {
  const pages: number[] = [];
  if (page === 0x01 || page === 0x3f) pages.push(...ERROR_PAGE);
  if (page === 0x2a || page === 0x3f) pages.push(...capabilitiesPage(locked));
  if (pages.length === 0) return undefined;
  const header = short ? [pages.length + 3, 1, 0, 0] : [...be16(pages.length + 6), 1, 0, 0, 0, 0, 0];
  return Uint8Array.from([...header, ...pages]);
}
