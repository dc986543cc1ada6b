import { type Instruction, NO_REGISTER, Prefix } from '@nestvm/decoder';
import { Mode, type OpcodeRow, opcodeRows, Segment } from '@nestvm/isa';
import type { Facts } from '@nestvm/semantics';

const IMPLICIT_MEMORY = new Set(['O', 'X', 'Y']);
/** Rows with a memory operand that ModRM does not name. */
const implicitMemory = (row: OpcodeRow): boolean =>
  row.operands.some((o) => IMPLICIT_MEMORY.has(o.method)) ||
  row.mnemonic === 'XLAT' ||
  row.mnemonic === 'MASKMOVQ' ||
  row.mnemonic.endsWith('MASKMOVDQU');

const TRANSFERS = new Set(['CALL', 'JMP', 'RET']);
/** True for rows that check a target computed at run time: the only ones that care how wide canonical addresses are. */
export const checksTarget = (row: OpcodeRow): boolean => TRANSFERS.has(row.mnemonic) && row.operands[0]?.method !== 'J';

/** What a key needs to know of a row, found out once: bits by the row's id. */
const RowTrait = { KNOWN: 1, IMPLICIT_MEMORY: 2, CHECKS_TARGET: 4, IGNORES_REP: 8, NAMES_MEMORY: 16 } as const;
const traits = new Uint8Array(opcodeRows.length);
function traitsOf(row: OpcodeRow): number {
  const known = traits[row.id]!;
  if (known !== 0) return known;
  return (traits[row.id] =
    RowTrait.KNOWN |
    (implicitMemory(row) ? RowTrait.IMPLICIT_MEMORY : 0) |
    (checksTarget(row) ? RowTrait.CHECKS_TARGET : 0) |
    (row.rep === 'none' ? RowTrait.IGNORES_REP : 0) |
    (row.code.modIgnored ? 0 : RowTrait.NAMES_MEMORY));
}

/** A handler's key is its row's id times this, and the form. */
export const KEY_FORMS = 1 << 19;

const LONG_FORM = 1 << 7;
/** Whether a form is of 64-bit code. */
export const isLongForm = (form: number): boolean => (form & LONG_FORM) !== 0;

/** Codes of the sizes 16, 32, 64 in a handler's key. */
const sizeCode = (size: number): number => size >>> 5;

/**
 * What the code of an instruction depends on, packed into one number with the row's id: the key of its handler. `factsOf` unpacks it.
 * Facts that cannot matter (the segment of an instruction without a memory operand, LOCK in a single thread) are left at one value.
 */
export function handlerKey(insn: Readonly<Instruction>, mode: number): number {
  return insn.row.id * KEY_FORMS + handlerForm(insn, mode);
}

/** The part of a handler's key that is not the row: the form of the instruction. */
export function handlerForm(insn: Readonly<Instruction>, mode: number): number {
  const trait = traitsOf(insn.row);
  const named = insn.hasModRm && insn.mod !== 3 && (trait & RowTrait.NAMES_MEMORY) !== 0;
  const memory = named || (trait & RowTrait.IMPLICIT_MEMORY) !== 0;
  const long = (mode & Mode.LONG) !== 0;
  const flat = (mode & Mode.FLAT) !== 0;
  const fsGs = insn.segment === Segment.FS || insn.segment === Segment.GS;
  let segment = 0;
  // Data in a flat code segment is checked too: it cannot be written, and perhaps not read.
  if (memory) segment = long ? (fsGs ? 1 : 0) : flat && !fsGs && insn.segment !== Segment.CS ? 0 : 2;
  const rep = (insn.prefixes & Prefix.REP) !== 0 ? 1 : (insn.prefixes & Prefix.REPNE) !== 0 ? 2 : 0;
  const stackSize = long ? 64 : (mode & Mode.STACK32) !== 0 ? 32 : 16;
  return (
    sizeCode(insn.operandSize) |
    (sizeCode(insn.addressSize) << 2) |
    ((memory ? 1 : 0) << 4) |
    (((trait & RowTrait.IGNORES_REP) !== 0 ? 0 : rep) << 5) |
    ((long ? 1 : 0) << 7) |
    (sizeCode(stackSize) << 8) |
    ((memory && insn.index !== NO_REGISTER ? 1 : 0) << 10) |
    (segment << 11) |
    ((long || flat ? 0 : 1) << 13) |
    (((mode & Mode.ALIGN) !== 0 ? 1 : 0) << 14) |
    ((insn.vectorLength >>> 7 === 4 ? 3 : insn.vectorLength >>> 7) << 15) |
    (((mode & Mode.LA57) !== 0 && (trait & RowTrait.CHECKS_TARGET) !== 0 ? 1 : 0) << 17)
  );
}

/** The key of a handler for plain 64-bit code: 64-bit addresses, no alignment checks; `based` with the base of FS or GS, `la57` with 57-bit canonical addresses. */
export function packKey(form: {
  readonly id: number;
  readonly operandSize: 16 | 32 | 64;
  readonly memory: boolean;
  readonly indexed?: boolean;
  readonly rep?: number;
  readonly based?: boolean;
  readonly la57?: boolean;
  readonly vectorLength?: 0 | 128 | 256;
}): number {
  const bits =
    sizeCode(form.operandSize) |
    (sizeCode(64) << 2) |
    ((form.memory ? 1 : 0) << 4) |
    ((form.rep ?? 0) << 5) |
    (1 << 7) |
    (sizeCode(64) << 8) |
    ((form.indexed ? 1 : 0) << 10) |
    ((form.based ? 1 : 0) << 11) |
    (((form.vectorLength ?? 0) >>> 7) << 15) |
    ((form.la57 ? 1 : 0) << 17);
  return form.id * KEY_FORMS + bits;
}

const SIZES = [16, 32, 64] as const;
const SEGMENTS = ['none', 'base', 'checked'] as const;
const LENGTHS = [0, 128, 256, 512] as const;

/** The facts that a handler key stands for. */
export function factsOf(key: number, rows: readonly OpcodeRow[]): Facts {
  const bits = key % KEY_FORMS;
  const field = (shift: number, mask: number): number => (bits >>> shift) & mask;
  return {
    row: rows[Math.floor(key / KEY_FORMS)]!,
    operandSize: SIZES[field(0, 3)]!,
    addressSize: SIZES[field(2, 3)]!,
    memory: field(4, 1) === 1,
    rep: field(5, 3) as 0 | 1 | 2,
    lock: false,
    long: field(7, 1) === 1,
    stackSize: SIZES[field(8, 3)]!,
    indexed: field(10, 1) === 1,
    segment: SEGMENTS[field(11, 3)]!,
    stackSegment: field(13, 1) === 1 ? 'checked' : 'none',
    aligned: field(14, 1) === 1,
    vectorLength: LENGTHS[field(15, 3)]!,
    canonicalBits: field(17, 1) === 1 ? 57 : 48,
  };
}
