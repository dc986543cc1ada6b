import { VmcsTable, vmcsSlot } from '@nestvm/isa';
import { VmxError } from '../errors.js';
import { type FieldName, type FieldRow, fieldRows } from './table.js';

/** Width of a field, as bits 14:13 of its encoding have it. */
export const FieldWidth = { BITS_16: 0, BITS_64: 1, BITS_32: 2, NATURAL: 3 } as const;
/** Area of a field, as bits 11:10 of its encoding have it. */
export const FieldArea = { CONTROL: 0, READ_ONLY: 1, GUEST: 2, HOST: 3 } as const;

/** Words (int32) at the start of a VMCS region. What follows REVISION and ABORT is ours: the manual leaves the format of the VMCS data to the processor. */
export const VmcsHeader = {
  /** VMCS revision identifier in bits 30:0; bit 31 says that the VMCS is a shadow VMCS. */
  REVISION: 0,
  /** VMX-abort indicator. */
  ABORT: 1,
  /** Launch state: 0 clear, 1 launched. */
  LAUNCHED: 2,
  /** A bit for each group of entry checks that held at the last entry and whose fields were not written since; 0 is always right. */
  CLEAN_GROUPS: VmcsTable.CLEAN_GROUPS / 4,
} as const;

/** The bytes that a VMCS region has. */
export const VMCS_BYTES = 4096;
const FIRST_FIELD_WORD = 16;

/** Everything that a field's encoding says, and where the field is. */
export interface Field {
  readonly name: FieldName;
  readonly title: string;
  readonly encoding: number;
  /** One of {@link FieldWidth}. */
  readonly width: number;
  /** One of {@link FieldArea}. */
  readonly area: number;
  /** Bits 9:1 of the encoding. */
  readonly index: number;
  /** Position in the table; also the number of the field everywhere else in this package. */
  readonly ordinal: number;
  /** Word (int32) in the VMCS region where the low half is; the high half is the next word, and is zero for 16- and 32-bit fields. */
  readonly word: number;
  /** The control that brings the field, as `group.NAME`; undefined: always there. */
  readonly needs: string | undefined;
}

/** All fields, by rising encoding. */
export const fields: readonly Field[] = fieldRows.map((row: FieldRow, ordinal) => {
  const [name, encoding, title, needs] = row;
  const previous = ordinal === 0 ? -1 : fieldRows[ordinal - 1]![1];
  if ((encoding & ~0x6ffe) !== 0 || encoding <= previous) {
    throw new VmxError(
      'bad-table',
      `VMCS field ${name}: encoding 0x${encoding.toString(16)} has reserved bits or is out of order; correct fields/table.ts`,
    );
  }
  const field = { width: (encoding >>> 13) & 3, area: (encoding >>> 10) & 3, index: (encoding >>> 1) & 0x1ff };
  return { name: name as FieldName, title, encoding, ...field, ordinal, word: FIRST_FIELD_WORD + 2 * ordinal, needs };
});

/** Word (int32) of each field in the VMCS region, by name: `i32[base + F.GUEST_RIP]` is the low half and the next word the high half. */
export const F = Object.fromEntries(fields.map((field) => [field.name, field.word])) as Readonly<Record<FieldName, number>>;

const INDEX_LIMIT = 64;
/** Ordinals by width, area and index. */
const ordinals = new Int16Array(VmcsTable.SLOTS).fill(-1);
for (const field of fields) {
  if (field.index >= INDEX_LIMIT) throw new VmxError('bad-table', `VMCS field ${field.name}: index ${field.index} is too high; raise INDEX_LIMIT`);
  ordinals[vmcsSlot(field.encoding)] = field.ordinal;
}

/**
 * Ordinal of the field with this encoding, or -1; one array load. The access type (bit 0) may be set for 64-bit fields only: it names the high half.
 * `encoding` is the low half of the operand of VMREAD and VMWRITE; the caller refuses a nonzero high half.
 */
export function fieldOrdinal(encoding: number): number {
  if ((encoding & ~0x6c7f) !== 0 || ((encoding & 1) !== 0 && (encoding & 0x6000) !== 0x2000)) return -1;
  return ordinals[vmcsSlot(encoding)]!;
}

/** Word in the VMCS region of an ordinal. */
export const wordOfOrdinal = (ordinal: number): number => FIRST_FIELD_WORD + 2 * ordinal;

/** The field that a word of the VMCS region belongs to, or undefined. */
export const fieldAtWord = (word: number): Field | undefined => (word < FIRST_FIELD_WORD ? undefined : fields[(word - FIRST_FIELD_WORD) >>> 1]);

/** The field of a name; throws `VmxError` (`unknown-field`) for others. */
export function fieldNamed(name: string): Field {
  const field = fields.find((candidate) => candidate.name === name);
  if (field === undefined) throw new VmxError('unknown-field', `no VMCS field is called '${name}'; the names are those of F`);
  return field;
}

/** The highest index of any field for which `exists` holds: bits 9:1 of IA32_VMX_VMCS_ENUM. */
export const highestFieldIndex = (exists: (field: Field) => boolean): number =>
  fields.reduce((highest, field) => (exists(field) ? Math.max(highest, field.index) : highest), 0);
