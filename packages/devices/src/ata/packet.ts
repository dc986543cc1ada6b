const BLOCK_BYTES = 2048;

const be16 = (value: number): number[] => [(value >> 8) & 0xff, value & 0xff];
const be32 = (value: number): number[] => [(value >>> 24) & 0xff, (value >>> 16) & 0xff, ...be16(value)];
const text = (value: string, length: number): number[] => Array.from({ length }, (_, i) => value.charCodeAt(i) || 0x20);

/** What INQUIRY gives: a removable CD drive. */
export const inquiryData = (): Uint8Array =>
  Uint8Array.from([0x05, 0x80, 0x00, 0x21, 31, 0, 0, 0, ...text('NESTVM', 8), ...text('NESTVM CD-ROM', 16), ...text('1.0', 4)]);

/** What READ CAPACITY gives: the last block and the size of one. */
export const capacityData = (sectors: number): Uint8Array => Uint8Array.from([...be32(sectors - 1), ...be32(BLOCK_BYTES)]);

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
