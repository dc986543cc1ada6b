/**
 * A small builder of AML, the byte code of ACPI tables ("ACPI Specification", ACPI Machine Language). Terms are byte arrays; functions compose them.
 */
export type Aml = readonly number[];

// Tables are made at every start, of some thousand terms: loops, since they are not worth compiling well.
function bytesOf(value: number, count: number): number[] {
  const bytes: number[] = [];
  for (let i = 0, rest = value; i < count; i++, rest = Math.floor(rest / 256)) bytes.push(rest % 256);
  return bytes;
}

/** The codes of an ASCII text. */
function codesOf(text: string): number[] {
  const codes: number[] = [];
  for (let i = 0; i < text.length; i++) codes.push(text.charCodeAt(i));
  return codes;
}

const segment = (name: string): number[] => codesOf(name.padEnd(4, '_'));

const names = new Map<string, Aml>();

/** A name: `\_SB_.PCI0`, `^X`, `ABCD`. Segments are padded with underscores. */
function nameString(path: string): Aml {
  let known = names.get(path);
  if (known === undefined) names.set(path, (known = encodeName(path)));
  return known;
}

function encodeName(path: string): Aml {
  const prefix = /^[\\^]*/.exec(path)![0];
  const segments = path
    .slice(prefix.length)
    .split('.')
    .filter((part) => part !== '');
  const head = codesOf(prefix);
  const body = segments.flatMap(segment);
  if (segments.length === 0) return [...head, 0x00];
  if (segments.length === 1) return [...head, ...body];
  return segments.length === 2 ? [...head, 0x2e, ...body] : [...head, 0x2f, segments.length, ...body];
}

/** PkgLength for `length` bytes of contents; it counts itself. */
function packageLength(length: number): number[] {
  if (length + 1 < 0x40) return [length + 1];
  const extra = length + 2 < 0x1000 ? 1 : length + 3 < 0x100000 ? 2 : 3;
  const total = length + 1 + extra;
  return [(extra << 6) | (total & 15), ...bytesOf(Math.floor(total / 16), extra)];
}

const withLength = (opcode: Aml, contents: Aml): Aml => [...opcode, ...packageLength(contents.length), ...contents];

function flat(terms: readonly Aml[]): Aml {
  return ([] as number[]).concat(...terms);
}

export const integer = (value: number): Aml => {
  if (value === 0 || value === 1) return [value];
  if (value < 0x100) return [0x0a, value];
  if (value < 0x10000) return [0x0b, ...bytesOf(value, 2)];
  return value < 2 ** 32 ? [0x0c, ...bytesOf(value, 4)] : [0x0e, ...bytesOf(value, 8)];
};

/** A compressed EISA id such as PNP0A03. */
export function eisaId(id: string): Aml {
  const letters = codesOf(id.slice(0, 3)).map((code) => code - 0x40);
  const product = Number.parseInt(id.slice(3), 16);
  const vendor = (letters[0]! << 10) | (letters[1]! << 5) | letters[2]!;
  return [0x0c, vendor >> 8, vendor & 0xff, product >> 8, product & 0xff];
}

export const string = (text: string): Aml => [0x0d, ...codesOf(text), 0];
export const name = (path: string, value: Aml): Aml => [0x08, ...nameString(path), ...value];
export const scope = (path: string, ...terms: Aml[]): Aml => withLength([0x10], [...nameString(path), ...flat(terms)]);
export const device = (path: string, ...terms: Aml[]): Aml => withLength([0x5b, 0x82], [...nameString(path), ...flat(terms)]);
export const method = (path: string, argumentCount: number, ...terms: Aml[]): Aml =>
  withLength([0x14], [...nameString(path), argumentCount, ...flat(terms)]);
export const packageOf = (...elements: Aml[]): Aml => withLength([0x12], [elements.length, ...flat(elements)]);
export const buffer = (bytes: Aml): Aml => withLength([0x11], [...integer(bytes.length), ...bytes]);
export const returnTerm = (value: Aml): Aml => [0xa4, ...value];
export const store = (value: Aml, target: Aml): Aml => [0x70, ...value, ...target];
export const and = (a: Aml, b: Aml, target: Aml = [0x00]): Aml => [0x7b, ...a, ...b, ...target];
export const or = (a: Aml, b: Aml, target: Aml = [0x00]): Aml => [0x7d, ...a, ...b, ...target];
export const logicalEqual = (a: Aml, b: Aml): Aml => [0x93, ...a, ...b];
export const ifTerm = (condition: Aml, ...terms: Aml[]): Aml => withLength([0xa0], [...condition, ...flat(terms)]);
export const elseTerm = (...terms: Aml[]): Aml => withLength([0xa1], flat(terms));
/** Tells the operating system that something has happened to a device. */
export const notify = (path: string, value: Aml): Aml => [0x86, ...nameString(path), ...value];
export const call = (path: string, ...args: Aml[]): Aml => [...nameString(path), ...flat(args)];
export const argument = (index: number): Aml => [0x68 + index];
export const local = (index: number): Aml => [0x60 + index];
export const reference = (path: string): Aml => nameString(path);
export const createDwordField = (source: Aml, at: number, path: string): Aml => [0x8a, ...source, ...integer(at), ...nameString(path)];

/** Spaces of operation regions. */
export const RegionSpace = { MEMORY: 0, IO: 1, PCI_CONFIG: 2 } as const;
export const operationRegion = (path: string, space: number, offset: number, length: number): Aml => [
  0x5b,
  0x80,
  ...nameString(path),
  space,
  ...integer(offset),
  ...integer(length),
];
type Field = readonly [path: string, bits: number];
/** Fields of a region that are accessed by bytes: name and width in bits; an empty name skips bits. */
export const byteFields = (region: string, fields: readonly Field[]): Aml => fieldList(region, 0x01, fields);
/** Fields that are accessed by double words; what lies beside a field is written as zeros. */
export const dwordFields = (region: string, fields: readonly Field[]): Aml => fieldList(region, 0x43, fields);

function fieldList(region: string, flags: number, fields: readonly Field[]): Aml {
  const list = fields.flatMap(([path, bits]) => [...(path === '' ? [0x00] : segment(path)), ...packageLengthOfBits(bits)]);
  return withLength([0x5b, 0x81], [...nameString(region), flags, ...list]);
}
/** Field widths use PkgLength's encoding without counting themselves. */
function packageLengthOfBits(bits: number): number[] {
  if (bits < 0x40) return [bits];
  return [(1 << 6) | (bits & 15), ...bytesOf(Math.floor(bits / 16), 1)];
}

/** Resource descriptors ("ACPI Specification", Resource Data Types for ACPI). */
export const resources = {
  /** IRQ numbers, edge-triggered, active high, exclusive. */
  irq: (...numbers: number[]): Aml => [
    0x22,
    ...bytesOf(
      numbers.reduce((mask, n) => mask | (1 << n), 0),
      2,
    ),
  ],
  io: (base: number, length: number, alignment = 1): Aml => [0x47, 0x01, ...bytesOf(base, 2), ...bytesOf(base, 2), alignment, length],
  memory32: (base: number, length: number, writable = true): Aml => [0x86, 9, 0, writable ? 1 : 0, ...bytesOf(base, 4), ...bytesOf(length, 4)],
  /** Extended interrupts: level-triggered, active high, shared. */
  interrupt: (...numbers: number[]): Aml => [
    0x89,
    ...bytesOf(2 + numbers.length * 4, 2),
    0b1001,
    numbers.length,
    ...numbers.flatMap((n) => bytesOf(n, 4)),
  ],
  busNumbers: (low: number, high: number): Aml => addressSpace(0x88, 2, 2, low, high, 0),
  ioWindow: (low: number, high: number): Aml => addressSpace(0x88, 1, 2, low, high, 3),
  /** A 32-bit window of uncached memory; `cacheable` for the VGA window. */
  memoryWindow: (low: number, high: number, cacheable = false): Aml => addressSpace(0x87, 0, 4, low, high, cacheable ? 3 : 1),
};

/** An address-space descriptor: fixed limits, decoded by position. */
function addressSpace(tag: number, type: number, width: number, low: number, high: number, flags: number): Aml {
  const numbers = [0, low, high, 0, high - low + 1].flatMap((n) => bytesOf(n, width));
  return [tag, ...bytesOf(3 + numbers.length, 2), type, 0x0c, flags, ...numbers];
}

/** A resource template: descriptors and the end tag (checksum 0: not checked). */
export const resourceTemplate = (...descriptors: Aml[]): Aml => buffer([...descriptors.flat(), 0x79, 0x00]);
