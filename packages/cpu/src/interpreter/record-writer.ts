import { type Instruction, NO_REGISTER, Prefix, RIP_REGISTER } from '@nestvm/decoder';
import { type OpcodeRow, type OperandSpec, vcpuState } from '@nestvm/isa';
import { Record } from './record.js';

const at = vcpuState.offset;
const VEC_BYTES = 64;
const FPR_BYTES = 16;

/** Where a register operand comes from: which number of the instruction, and which file. */
type Source = 'reg' | 'rm' | 'vvvv';
type File = 'gpr' | 'byte' | 'vec' | 'mmx' | 'opmask' | 'number';
interface Placement {
  readonly field: number;
  readonly source: Source;
  readonly file: File;
}

const FILE: { readonly [method: string]: readonly [Source, File] } = {
  G: ['reg', 'gpr'],
  Z: ['rm', 'gpr'],
  E: ['rm', 'gpr'],
  R: ['rm', 'gpr'],
  B: ['vvvv', 'gpr'],
  V: ['reg', 'vec'],
  W: ['rm', 'vec'],
  U: ['rm', 'vec'],
  H: ['vvvv', 'vec'],
  P: ['reg', 'mmx'],
  Q: ['rm', 'mmx'],
  N: ['rm', 'mmx'],
  KG: ['reg', 'opmask'],
  KE: ['rm', 'opmask'],
  KR: ['rm', 'opmask'],
  KB: ['vvvv', 'opmask'],
  STi: ['rm', 'number'],
  S: ['reg', 'number'],
  C: ['reg', 'number'],
  D: ['reg', 'number'],
};
const FIELD: { readonly [source in Source]: number } = { reg: Record.REG, rm: Record.RM, vvvv: Record.VVVV };

function place(spec: OperandSpec): Placement | null {
  const found = FILE[spec.method];
  if (found === undefined) return null;
  const [source, file] = found;
  // Z names its register by the opcode's low bits, but shares the field with G.
  return { field: spec.method === 'Z' ? Record.REG : FIELD[source], source, file: file === 'gpr' && spec.type === 'b' ? 'byte' : file };
}

/** What is put into the immediate in place of the instruction's own; the vector of INT, whose immediate tells where its `SystemRecord` is, goes into the place of a register. */
type Special = 'none' | 'register' | 'offset' | 'frame' | 'field' | 'vector';

function specialOf(row: OpcodeRow): Special {
  if (row.mnemonic === 'ENTER') return 'frame';
  if (row.mnemonic === 'INT') return 'vector';
  if (row.mnemonic === 'EXTRQ' || row.mnemonic === 'INSERTQ') return 'field';
  if (row.operands.some((o) => o.method === 'L')) return 'register';
  return row.operands.some((o) => o.method === 'O') ? 'offset' : 'none';
}

/** Whether records of a row have the instruction's own immediate, as it is. */
export const keepsImmediate = (row: OpcodeRow): boolean => layoutOf(row).special === 'none';

/** How records of a row are written. */
interface Layout {
  readonly placements: readonly Placement[];
  readonly special: Special;
  /** The memory operand's index is a vector register. */
  readonly vectorIndex: boolean;
}

const layouts: (Layout | undefined)[] = [];
const layoutOf = (row: OpcodeRow): Layout =>
  (layouts[row.id] ??= {
    placements: row.operands.map(place).filter((p): p is Placement => p !== null),
    special: specialOf(row),
    vectorIndex: row.operands.some((o) => o.method === 'MV'),
  });

function registerOffset(file: File, n: number, hasRex: boolean): number {
  switch (file) {
    case 'gpr':
      return at.gpr + 8 * n;
    // Without REX, byte registers 4-7 are AH, CH, DH, BH.
    case 'byte':
      return !hasRex && n >= 4 && n < 8 ? at.gpr + 8 * (n - 4) + 1 : at.gpr + 8 * n;
    case 'vec':
      return at.vec + VEC_BYTES * n;
    case 'mmx':
      return at.fpr + FPR_BYTES * (n & 7);
    case 'opmask':
      return at.opmask + 8 * (n & 7);
    case 'number':
      return n;
  }
}

/** Writes decoded records into linear memory. */
export class RecordWriter {
  constructor(
    private readonly u8: Uint8Array,
    private readonly u16: Uint16Array,
    private readonly i32: Int32Array,
  ) {}

  /** Writes the common head of a record. */
  head(record: number, slot: number, blockOffset: number, length: number, index: number): void {
    const { i32 } = this;
    const word = record >>> 2;
    i32[word] = slot;
    i32[word + 1] = blockOffset | (length << 16) | (index << 24);
    for (let i = 2; i < Record.BYTES >>> 2; i++) i32[word + i] = 0;
  }

  /** Writes an instruction's fields after its head. */
  fields(record: number, insn: Readonly<Instruction>, blockOffset: number): void {
    const { u16, i32 } = this;
    const { placements, special, vectorIndex } = layoutOf(insn.row);
    const hasRex = (insn.prefixes & (Prefix.REX | Prefix.VEX | Prefix.EVEX)) !== 0;
    for (let i = 0; i < placements.length; i++) {
      const { field, source, file } = placements[i]!;
      u16[(record + field) >>> 1] = registerOffset(file, source === 'reg' ? insn.reg : source === 'rm' ? insn.rm : insn.vvvv, hasRex);
    }
    i32[(record + Record.IMMEDIATE) >>> 2] = insn.immediate;
    i32[(record + Record.IMMEDIATE + 4) >>> 2] = insn.immediateHigh;
    if (special !== 'none') this.specials(record, insn, special);
    this.address(record, insn, blockOffset, vectorIndex);
    this.u8[record + Record.SEGMENT] = insn.segment;
  }

  private specials(record: number, insn: Readonly<Instruction>, special: Special): void {
    const { i32 } = this;
    const word = (record + Record.IMMEDIATE) >>> 2;
    if (special === 'register') i32[word] = at.vec + VEC_BYTES * ((insn.immediate >>> 4) & 15);
    else if (special === 'vector') this.u16[(record + Record.REG) >>> 1] = insn.immediate & 0xff;
    else if (special === 'offset') {
      i32[word] = insn.displacement;
      i32[word + 1] = insn.displacementHigh;
    } else if (special === 'frame') i32[word] = (insn.immediate & 0xffff) | (insn.immediate2 << 16);
    else i32[word] = (insn.immediate & 0xff) | (insn.immediate2 << 8);
  }

  private address(record: number, insn: Readonly<Instruction>, blockOffset: number, vectorIndex: boolean): void {
    const { u16, i32, u8 } = this;
    const { base, index } = insn;
    u16[(record + Record.BASE) >>> 1] = base === NO_REGISTER ? at.zero : base === RIP_REGISTER ? at.blockRip : at.gpr + 8 * base;
    u16[(record + Record.INDEX_REGISTER) >>> 1] = index === NO_REGISTER ? at.zero : vectorIndex ? at.vec + VEC_BYTES * index : at.gpr + 8 * index;
    i32[(record + Record.DISPLACEMENT) >>> 2] = base === RIP_REGISTER ? insn.displacement + blockOffset + insn.length : insn.displacement;
    u8[record + Record.SCALE] = insn.scale;
  }

  /** Makes a direct jump of an instruction: its target relative to the block, and where its links stand. */
  jump(record: number, targetOffset: number, taken: number, next: number): void {
    this.i32[(record + Record.FAR_HOST) >>> 2] = -1;
    this.i32[(record + Record.TARGET) >>> 2] = targetOffset;
    this.i32[(record + Record.LINK_TAKEN) >>> 2] = taken;
    this.i32[(record + Record.LINK_NEXT) >>> 2] = next;
  }
}
