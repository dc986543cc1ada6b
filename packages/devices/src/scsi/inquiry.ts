import { SENSE } from './codes.js';
import { answerWith, failed, type ScsiAnswer, type ScsiCommand } from './command.js';

/** What a unit conforms to: version and format of INQUIRY's answer, and whether it queues commands. */
export interface UnitStandard {
  readonly version: number;
  readonly format: number;
  readonly queues: boolean;
}

/** "SCSI Primary Commands - 3", and packets on an ATA cable ("ATA/ATAPI", PACKET). */
export const UnitStandards = {
  SPC3: { version: 5, format: 2, queues: true },
  ATAPI: { version: 0, format: 0x21, queues: false },
} as const satisfies Readonly<Record<string, UnitStandard>>;

/** What a unit says of itself. */
export interface UnitIdentity {
  /** Peripheral device type: 0 disk, 5 CD. */
  readonly type: number;
  readonly removable: boolean;
  /** At most 16 characters. */
  readonly product: string;
  /** At most 4. */
  readonly revision: string;
  readonly standard: UnitStandard;
  readonly serial: string;
  /** UNMAP and WRITE SAME with UNMAP free blocks. */
  readonly thin: boolean;
  /** Most blocks of one transfer, and of one WRITE SAME or UNMAP. */
  readonly mostBlocks: number;
  readonly mostUnmapped: number;
}

const VENDOR = 'NESTVM';

const ascii = (text: string, length = text.length): number[] => Array.from(text.padEnd(length).slice(0, length), (c) => c.charCodeAt(0) & 0x7f);
const word32 = (value: number): number[] => [(value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];

/** Vital product data by page code ("SCSI Primary Commands", Vital product data; "SCSI Block Commands" for B0h to B2h). */
const pages: Readonly<Record<number, (unit: UnitIdentity) => number[]>> = {
  0x00: ({ type }) => (type === 0 ? [0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2] : [0x00, 0x80, 0x83]),
  0x80: ({ serial }) => ascii(serial),
  // One designator: ASCII, T10 vendor identification, of the logical unit.
  0x83: ({ product, serial }) => {
    const name = ascii(`${VENDOR.padEnd(8)}${product} ${serial}`);
    return [2, 1, 0, name.length, ...name];
  },
  0xb0: ({ mostBlocks, mostUnmapped, thin }) => [
    0,
    0,
    0,
    8,
    ...word32(mostBlocks),
    ...word32(0),
    ...word32(0),
    ...(thin ? [...word32(mostUnmapped), ...word32(255), ...word32(8)] : new Array<number>(12).fill(0)),
    ...word32(0),
    ...word32(0),
    ...word32(mostUnmapped),
    ...new Array<number>(20).fill(0),
  ],
  // Not rotating.
  0xb1: () => [0, 1, ...new Array<number>(58).fill(0)],
  0xb2: ({ thin }) => (thin ? [0, 0xe0, 2, 0] : [0, 0, 0, 0]),
};

/** INQUIRY; a unit that is not there answers with peripheral qualifier 3. */
export function inquiry(command: ScsiCommand, unit: UnitIdentity | undefined): ScsiAnswer {
  const data = inquiryData(command.cdb, unit);
  return data ? answerWith(command, data, command.cdb.getUint16(3)) : failed(SENSE.INVALID_FIELD_IN_CDB);
}

/** What INQUIRY gives before it is cut to the allocation length; undefined for pages that the unit does not have. */
export function inquiryData(cdb: DataView, unit: UnitIdentity | undefined): Uint8Array | undefined {
  const page = cdb.getUint8(2);
  if ((cdb.getUint8(1) & 1) === 0) return page === 0 ? standard(unit) : undefined;
  if (unit === undefined) return undefined;
  const known = pages[0]!(unit).includes(page) ? pages[page] : undefined;
  if (known === undefined) return undefined;
  const body = known(unit);
  return Uint8Array.of(unit.type, page, body.length >> 8, body.length & 255, ...body);
}

function standard(unit: UnitIdentity | undefined): Uint8Array {
  const bytes = new Uint8Array(36);
  bytes[0] = unit ? unit.type : 0x7f;
  bytes[1] = unit?.removable ? 0x80 : 0;
  const { version, format, queues } = unit?.standard ?? UnitStandards.SPC3;
  bytes[2] = version;
  bytes[3] = format;
  bytes[4] = bytes.length - 5;
  bytes[7] = queues ? 2 : 0;
  bytes.set(ascii(VENDOR, 8), 8);
  bytes.set(ascii(unit?.product ?? '', 16), 16);
  bytes.set(ascii(unit?.revision ?? '', 4), 32);
  return bytes;
}
