import type { Expression } from './expression.js';

/** Register files. */
export type RegisterFile = 'general' | 'segment' | 'control' | 'debug' | 'vector' | 'mmx' | 'mask' | 'bound' | 'x87';

/** EVEX static rounding, or exceptions suppressed only. */
export type Rounding = 'rne-sae' | 'rd-sae' | 'ru-sae' | 'rz-sae' | 'sae';

/** What EVEX can add to an operand. */
export interface Decoration {
  /** Opmask register 1 to 7 that masks the destination. */
  readonly mask?: number;
  /** Masked elements become zero. */
  readonly zeroing?: boolean;
  readonly rounding?: Rounding;
}

/** A register operand. */
export interface Register extends Decoration {
  readonly kind: 'register';
  readonly name: string;
  readonly file: RegisterFile;
  /** Number as encoded: 0 to 31; AH CH DH BH are 4 to 7 with `high`. */
  readonly number: number;
  /** Size in bits; 0 for control and debug registers and opmasks. */
  readonly bits: number;
  readonly high: boolean;
}

/** A memory operand. */
export interface Memory extends Decoration {
  readonly kind: 'memory';
  /** Bits of what is accessed (of one element with `broadcast`), 0: as the instruction says. */
  readonly bits: number;
  /** Segment override: 0 to 5 for ES CS SS DS FS GS, -1 none. */
  readonly segment: number;
  readonly base: Register | 'rip' | 'eip' | null;
  readonly index: Register | null;
  readonly scale: 1 | 2 | 4 | 8;
  /** Displacement; with base `rip` and a label: the address of the label. */
  readonly displacement: Expression;
  /** Address size in bits, 0: from the registers, else the mode's. */
  readonly addressSize: 0 | 16 | 32 | 64;
  /** EVEX embedded broadcast: to how many elements, 0 none. */
  readonly broadcast: number;
}

/** A far pointer in the instruction: `0x10:0x1000`. */
export interface FarPointer {
  readonly kind: 'far';
  readonly selector: number;
  readonly offset: Expression;
  /** Size of the offset in bits, 0: by the mode, and 32 where 16 do not hold it. */
  readonly bits: 0 | 16 | 32;
}

/** A branch target relative to the first byte of the instruction: `.+0x10`. */
export interface RelativeTarget {
  readonly kind: 'relative';
  readonly delta: number;
}

/** An operand as the encoder takes it; a number is an immediate, or the address of a branch target. */
export type Operand = Register | Memory | FarPointer | RelativeTarget | Expression;

/** An operand as calls take it: a string is Intel text (`rax`, `qword ptr [rbx+8]`, a label). */
export type OperandLike = Operand | string;

/** Fields of a memory operand; what is left out is absent. */
export interface MemoryOptions {
  readonly bits?: number;
  readonly segment?: number;
  readonly base?: Register | 'rip' | 'eip' | null;
  readonly index?: Register | null;
  readonly scale?: 1 | 2 | 4 | 8;
  readonly displacement?: Expression;
  readonly addressSize?: 0 | 16 | 32 | 64;
  readonly broadcast?: number;
}

/** Makes a memory operand. */
export const memory = (options: MemoryOptions): Memory => ({
  kind: 'memory',
  bits: 0,
  segment: -1,
  base: null,
  index: null,
  scale: 1,
  displacement: 0,
  addressSize: 0,
  broadcast: 0,
  ...options,
});

/** Makes a far pointer. */
export const far = (selector: number, offset: Expression, bits: 0 | 16 | 32 = 0): FarPointer => ({ kind: 'far', selector, offset, bits });

/** Adds an EVEX mask, zeroing or rounding to an operand. */
export const decorate = <T extends Register | Memory>(operand: T, decoration: Decoration): T => ({ ...operand, ...decoration });
