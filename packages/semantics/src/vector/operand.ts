import { Kind, type Val } from '@nestvm/emit';
import { type OperandSpec, vcpuState } from '@nestvm/isa';
import { type Context, Vector } from '../context.js';
import { SemanticsError } from '../errors.js';
import { integerOperand, type Operand, operandWidth } from '../operand.js';
import { isAlignedMove, isUnalignedLegacy } from './alignment.js';

/**
 * A vector operand of the instruction at hand, in chunks of 128 bits, lowest first. Operands narrower than 128 bits
 * (scalars in memory, MMX registers) are one chunk whose upper bits read as zero and are dropped when written.
 */
export interface VectorOperand {
  readonly isMemory: boolean;
  /** Bytes that take part: 1 to 32. */
  readonly bytes: number;
  /** Its value. A memory operand is loaded once; later calls give the same values. */
  read(): readonly Val<128>[];
  /** Stores a result; a VEX-encoded instruction clears the rest of the register. */
  write(chunks: readonly Val<128>[]): void;
  /** Checks that memory may be written, for results that cannot be taken back; `write` then goes to the same place. */
  probe(): void;
}

/** Bytes of one slot of the vector register file. */
const SLOT = 64;

/** Vector length of the instruction in bytes. */
export const vectorBytes = (x: Context): number => (x.facts.vectorLength === 0 ? 16 : x.facts.vectorLength / 8);

/** Bytes of an operand type letter (SDM Vol. 2, Appendix A, "Codes for Operand Type"). */
export function typeBytes(x: Context, type: string): number {
  switch (type) {
    case 'b':
      return 1;
    case 'w':
      return 2;
    case 'd':
    case 'ss':
      return 4;
    case 'q':
    case 'sd':
    case 'pi':
      return 8;
    case 'dq':
      return 16;
    case 'qq':
      return 32;
    case 'x':
    case 'ps':
    case 'pd':
      return vectorBytes(x);
    case 'xh':
      return vectorBytes(x) / 2;
    case 'xl':
      return 16;
    case 'xq':
      return vectorBytes(x) / 4;
    case 'xe':
      return vectorBytes(x) / 8;
    default:
      throw new SemanticsError('unknown-operand', `operand type '${type}' of ${x.facts.row.mnemonic} is no vector type; see typeBytes`);
  }
}

/** A v128 of zeros. */
export const zero128 = (x: Context): Val<128> => x.code.constant128(new Uint8Array(16));

/** A place in the vCPU state at an offset, plus a constant. */
function place(x: Context, offset: Val<32>): (extra: number) => [Val<32>, number] {
  if (offset.node.kind === Kind.CONST) return (extra) => [x.cpu, (offset.node.value as number) + extra];
  const base = x.cpu.add(offset);
  return (extra) => [base, extra];
}

class RegisterVector implements VectorOperand {
  readonly isMemory = false;
  private readonly at: (extra: number) => [Val<32>, number];
  constructor(
    private readonly x: Context,
    offset: Val<32>,
    readonly bytes: number,
  ) {
    this.at = place(x, offset);
  }
  read(): Val<128>[] {
    const chunks: Val<128>[] = [];
    for (let i = 0; i < Math.max(this.bytes, 16); i += 16) chunks.push(this.x.code.load('v128.load', 128, ...this.at(i)));
    return chunks;
  }
  write(chunks: readonly Val<128>[]): void {
    const { code, facts } = this.x;
    const end = facts.row.encoding === 'legacy' ? 16 * chunks.length : SLOT;
    for (let i = 0; 16 * i < end; i++) {
      const [address, fixed] = this.at(16 * i);
      code.store('v128.store', address, chunks[i] ?? zero128(this.x), fixed);
    }
  }
  probe(): void {}
}

class MmxVector implements VectorOperand {
  readonly isMemory = false;
  readonly bytes = 8;
  private readonly at: (extra: number) => [Val<32>, number];
  constructor(
    private readonly x: Context,
    offset: Val<32>,
  ) {
    this.at = place(x, offset);
  }
  read(): Val<128>[] {
    return [this.x.code.load('v128.load64_zero', 128, ...this.at(0))];
  }
  /** The x87 register's sign and exponent become all ones (SDM Vol. 1, "MMX Instructions and the x87 FPU Tag Word"). */
  write([chunk]: readonly Val<128>[]): void {
    const { code } = this.x;
    const [address, fixed] = this.at(0);
    code.store('i64.store', address, low64(chunk as Val<128>), fixed);
    code.store('i32.store16', address, code.constant(32, 0xffff), fixed + 8);
  }
  probe(): void {}
}

class MemoryVector implements VectorOperand {
  readonly isMemory = true;
  private value: Val<128>[] | undefined;
  private probed: Val<64> | undefined;
  constructor(
    private readonly x: Context,
    readonly bytes: number,
  ) {}

  private address(access: 0 | 1): Val<64> {
    const { x, bytes } = this;
    const linear = x.operandAddress(bytes, access);
    const { encoding, mnemonic } = x.facts.row;
    const mustAlign = encoding === 'legacy' ? bytes === 16 && !isUnalignedLegacy(mnemonic) : isAlignedMove(mnemonic);
    if (mustAlign && bytes >= 16)
      x.faultIf(
        linear
          .trunc(32)
          .and(bytes - 1)
          .isNonzero(),
        Vector.GP,
        0,
      );
    return linear;
  }

  read(): Val<128>[] {
    this.value ??= loadVector(this.x, this.address(0), this.bytes);
    return this.value;
  }
  write(chunks: readonly Val<128>[]): void {
    storeVector(this.x, this.probed ?? this.address(1), this.bytes, chunks);
  }
  probe(): void {
    this.probed = this.address(1);
    this.x.engine.probeWrite(this.x, this.bytes, this.probed);
  }
}

/** `linear` plus a small constant; legacy modes wrap at 4 GiB. */
export function linearPlus(x: Context, linear: Val<64>, bytes: number): Val<64> {
  const sum = linear.add(bytes);
  return x.facts.long || bytes === 0 ? sum : sum.and(0xffffffffn);
}

/** Loads 1 to 32 bytes as chunks, zero-extended. */
export function loadVector(x: Context, linear: Val<64>, bytes: number): Val<128>[] {
  const { engine } = x;
  if (bytes >= 16) {
    const chunks: Val<128>[] = [];
    for (let i = 0; i < bytes; i += 16) chunks.push(engine.load(x, 128, linearPlus(x, linear, i)));
    return chunks;
  }
  if (bytes === 8) return [from64(x, engine.load(x, 64, linear))];
  const width = (8 * bytes) as 8 | 16 | 32;
  return [from32(x, engine.load(x, width, linear).as(32))];
}

/** Stores the low 1 to 32 bytes of chunks. All of a 32-byte place is checked first, so that it is never half written. */
function storeVector(x: Context, linear: Val<64>, bytes: number, chunks: readonly Val<128>[]): void {
  const { engine } = x;
  const first = chunks[0] as Val<128>;
  if (bytes >= 16) {
    if (bytes > 16) engine.probeWrite(x, bytes, linear);
    for (let i = 0; i < bytes; i += 16) engine.store(x, 128, linearPlus(x, linear, i), chunks[i / 16] as Val<128>);
  } else if (bytes === 8) engine.store(x, 64, linear, low64(first));
  else {
    const width = (8 * bytes) as 8 | 16 | 32;
    engine.store(x, width, linear, low32(first).trunc(width));
  }
}

/** Bits 63:0. */
export const low64 = (value: Val<128>): Val<64> => value.code.lane('i64x2.extract_lane', 64, 0, value);
/** Bits 127:64. */
export const high64 = (value: Val<128>): Val<64> => value.code.lane('i64x2.extract_lane', 64, 1, value);
/** Bits 31:0. */
export const low32 = (value: Val<128>): Val<32> => value.code.lane('i32x4.extract_lane', 32, 0, value);
/** A 64-bit value in the low lane, zeros above. */
export const from64 = (x: Context, value: Val<64>): Val<128> => x.code.lane('i64x2.replace_lane', 128, 0, zero128(x), value);
/** A 32-bit value in the low lane, zeros above. */
export const from32 = (x: Context, value: Val<32>): Val<128> => x.code.lane('i32x4.replace_lane', 128, 0, zero128(x), value);

const VECTOR_METHODS = new Set(['V', 'U', 'W', 'H', 'L', 'M', 'P', 'N', 'Q']);

/** True when a row's operand is a vector (or the memory form of one). */
export const isVector = (spec: OperandSpec): boolean => VECTOR_METHODS.has(spec.method);

/** The vector register, MMX register or memory operand that a row's operand means under the facts. */
function vectorOperand(x: Context, spec: OperandSpec): VectorOperand {
  const { fields, facts } = x;
  switch (spec.method) {
    case 'V':
      return new RegisterVector(x, fields.reg(), typeBytes(x, spec.type));
    case 'H':
      return new RegisterVector(x, fields.vvvv(), typeBytes(x, spec.type));
    case 'U':
      return new RegisterVector(x, fields.rm(), typeBytes(x, spec.type));
    case 'L':
      return new RegisterVector(x, fields.immediate32(), typeBytes(x, spec.type));
    case 'P':
      return new MmxVector(x, fields.reg());
    case 'N':
      return new MmxVector(x, fields.rm());
    case 'Q':
      return facts.memory ? new MemoryVector(x, typeBytes(x, spec.memoryType)) : new MmxVector(x, fields.rm());
    case 'W':
      return facts.memory ? new MemoryVector(x, typeBytes(x, spec.memoryType)) : new RegisterVector(x, fields.rm(), typeBytes(x, spec.type));
    case 'M':
      return new MemoryVector(x, typeBytes(x, spec.memoryType));
    default:
      throw new SemanticsError('unknown-operand', `operand ${spec.method}${spec.type} of ${facts.row.mnemonic} is no vector operand`);
  }
}

/** The i-th operand of the row as a vector. */
export function vectorAt(x: Context, index: number): VectorOperand {
  const spec = x.facts.row.operands[index];
  if (spec === undefined) throw new SemanticsError('unknown-operand', `${x.facts.row.mnemonic} has no operand ${index}`);
  return vectorOperand(x, spec);
}

/** The i-th operand of the row as an integer register or memory. */
export function integerAt(x: Context, index: number): Operand {
  const spec = x.facts.row.operands[index] as OperandSpec;
  return integerOperand(x, spec, operandWidth(x.facts.memory && spec.method === 'E' ? spec.memoryType : spec.type, x.facts.operandSize));
}

/** XMM0, the implicit mask and result of some legacy instructions. */
export const xmm0 = (x: Context): VectorOperand => new RegisterVector(x, x.const(32, vcpuState.offset.vec), 16);

/** Vector operands that are read, in order: of `Vx:rw Wx` both, of `Vx:w Hx Wx` the last two. */
export const inputs = (x: Context): VectorOperand[] =>
  x.facts.row.operands.filter((o) => isVector(o) && o.access.includes('r')).map((o) => vectorOperand(x, o));

/** The vector operand that is written. */
export function output(x: Context): VectorOperand {
  const spec = x.facts.row.operands.find((o) => o.access.includes('w'));
  if (spec === undefined) throw new SemanticsError('unknown-operand', `${x.facts.row.mnemonic} writes no operand`);
  return vectorOperand(x, spec);
}

/** True for an MMX form (some operand is an MMX register or its memory form). */
export const isMmx = (x: Context): boolean => x.facts.row.operands.some((o) => o.method === 'P' || o.method === 'N' || o.method === 'Q');
