import type { SensitiveEvent } from '../events.js';

/**
 * One row of the opcode maps (SDM Vol. 2, Appendix A): an encoding and all that is not meaning.
 * `M` is the literal mnemonic, so that a table keyed by mnemonic can be checked for completeness by the compiler.
 */
export interface OpcodeRow<M extends string = string> {
  /** Dense index of this row among all rows; stable within one build. */
  readonly id: number;
  /**
   * Upper-case mnemonic as the manual prints it, without size suffix letters that operand size implies: `MOVS CMPS STOS LODS SCAS INS OUTS`,
   * `CBW CWD PUSHF POPF IRET PUSHA POPA JCXZ FXSAVE …`. Where one printed name means different instructions, the system one has a suffix: `MOV_CR`, `MOV_DR`,
   * `MOV_SREG`, `PUSH_SREG`, `POP_SREG`, `RDMSR_IMM`, `WRMSRNS_IMM`; far transfers are `CALLF JMPF RETF`. The text is made by `@nestvm/decoder/format`.
   */
  readonly mnemonic: M;
  /** Operands in Intel order; only those that are printed. */
  readonly operands: readonly OperandSpec[];
  /** May take LOCK with a memory destination. */
  readonly lock: boolean;
  /** REP family: `rep` (MOVS STOS LODS INS OUTS), `repz` (CMPS SCAS), or none. */
  readonly rep: 'none' | 'rep' | 'repz';
  /** Needs CPL 0 (#GP otherwise). */
  readonly cpl0: boolean;
  /** Checked against IOPL in protected mode (and the I/O bitmap where it applies): CLI STI IN OUT INS OUTS. The virtual-8086 rules of PUSHF POPF INT IRET are their own. */
  readonly iopl: boolean;
  /** Not encodable / only encodable in 64-bit mode; default or forced 64-bit operand size there. */
  readonly mode64: 'any' | 'invalid' | 'only' | 'default64' | 'force64';
  /** Only in protected mode (#UD in real and virtual-8086 mode). */
  readonly protectedOnly: boolean;
  /** CPUID feature that must be offered, in QEMU's feature names (`sse2`, `bmi1`, `avx2`), or null for the 8086-to-i486 base. Several: all needed. */
  readonly features: readonly string[];
  /** The event that a hypervisor can intercept (VMX exit or SVM intercept), or null. */
  readonly sensitive: SensitiveEvent | null;
  /** True where the instruction ends a block: it may change RIP, mode, translation, or must be followed by an event check. */
  readonly endsBlock: boolean;
  /** Encoding space. */
  readonly encoding: 'legacy' | 'vex' | 'evex';
  /** For VEX and EVEX: required vector length in bits, 0 when both/all lengths or ignored. */
  readonly vectorLength: 0 | 128 | 256 | 512;
  /** How the row is recognised and encoded. */
  readonly code: OpcodeEncoding;
  /** For EVEX: tuple and what EVEX.b, aaa and z may do. */
  readonly evex: EvexProperties | null;
}

/** The opcode map that follows the escape bytes, or that VEX.mmmmm / EVEX.mmm names. */
export type OpcodeMap = '' | '0F' | '0F38' | '0F3A' | 'MAP5' | 'MAP6' | 'MAP7';

/** The bits that select a row. -1 in a number means: any value. */
export interface OpcodeEncoding {
  readonly map: OpcodeMap;
  /** Opcode byte; with `zOperand` the first of eight, the register in the low three bits. */
  readonly opcode: number;
  readonly zOperand: boolean;
  /** Mandatory prefix: 0 none allowed, 0x66, 0xf3, 0xf2; `any`: prefixes keep their usual meaning; `nfx`: 66 is operand size, F2 and F3 belong to other rows or are #UD. */
  readonly prefix: 'any' | 'nfx' | 0 | 0x66 | 0xf3 | 0xf2;
  /** A ModRM byte follows. */
  readonly hasModRm: boolean;
  /** ModRM.reg as opcode extension. */
  readonly reg: number;
  readonly mod: 'any' | 'memory' | 'register';
  /** ModRM.rm as opcode extension. */
  readonly rm: number;
  /** REX.W / VEX.W / EVEX.W; -1 also where it is ignored or means operand size. */
  readonly w: number;
  /** `w` counts only in 64-bit mode (VMOVD and its kin). */
  readonly wIgnored32: boolean;
  /** VEX.L / EVEX.L'L must be 0, 1, 2; -1 any. */
  readonly l: number;
  /** Only with this effective operand size, 0 any. */
  readonly operandSize: 0 | 16 | 32 | 64;
  /** Mod is ignored and the operand is a register (MOV to and from CR and DR). */
  readonly modIgnored: boolean;
}

/** EVEX properties (SDM Vol. 2, "EVEX Encoding"). */
export interface EvexProperties {
  /** disp8*N and the memory operand's shape. */
  readonly tuple: EvexTuple;
  /** Element bytes for broadcast and for tuples that depend on W: 1, 2, 4, 8. */
  readonly elementBytes: number;
  /** EVEX.b with a memory operand broadcasts one element. */
  readonly broadcast: boolean;
  /** EVEX.b with register operands: static rounding, suppress-all-exceptions, rounding that changes nothing (exact conversions), or #UD. */
  readonly rounding: 'none' | 'er' | 'sae' | 'ignored';
  /** `none`: aaa must be 0; `merge`: no zeroing; `required`: aaa must not be 0 (gathers, scatters). */
  readonly mask: 'none' | 'merge' | 'zero' | 'required';
}

/** Tuple types of the SDM's disp8*N tables. */
export type EvexTuple =
  | 'full'
  | 'half'
  | 'quarter'
  | 'full-mem'
  | 'half-mem'
  | 'quarter-mem'
  | 'eighth-mem'
  | 'scalar'
  | 't2'
  | 't4'
  | 't8'
  | 'mem128'
  | 'movddup'
  | 'none';

/**
 * An operand in the notation of SDM Vol. 2, Appendix A.2 ("Key to Abbreviations").
 *
 * Methods: `A` far pointer; `B` general register by VEX.vvvv; `C` control register; `D` debug register; `E` general register or memory; `G` general
 * register by reg; `H` vector register by vvvv; `I` immediate, `sI` sign-extended immediate byte; `J` relative; `L` vector register in imm8[7:4];
 * `M` memory; `MV` memory with a vector index; `N`, `P`, `Q` MMX register by rm, by reg, by rm or memory; `O` moffs; `R` general register by rm; `S` segment register;
 * `U`, `V`, `W` vector register by rm, by reg, by rm or memory; `X` DS:rSI; `Y` ES:rDI; `Z` register in the low three opcode bits;
 * `BG`, `BE` bound register by reg, by rm or memory; `KG`, `KR`, `KE`, `KB` opmask by reg, by rm, by rm or memory, by vvvv; `STi` x87 register by rm; or a fixed register or constant:
 * `AL`, `CL`, `DX`, `AX`, `rAX` (16, 32 or 64 by operand size), `eAX` (16 or 32), `1`, `ST`, `ES`, `CS`, `SS`, `DS`, `FS`, `GS`.
 */
export interface OperandSpec {
  readonly method: string;
  /**
   * Type letters: b 8, w 16, d 32, q 64, dq 128, qq 256, oq 512 bits; v 16/32/64, y 32/64, z 16/32 by operand size; x, ps, pd a whole vector; xl the half of it that a narrowing
   * conversion writes (128 bits for 128 and 256, else half); ss, sd a scalar
   * float; xh, xq, xe half, quarter, eighth of a vector; p far pointer (16:16, 16:32, 16:64 by operand size); s GDTR/IDTR image; a BOUND pair; fs fd ft m32/64/80
   * real; fb packed BCD; fe x87 environment (14/28); fx x87 state (94/108); fxsave 512 bytes; xsave the XSAVE area; empty for fixed registers and address-only operands.
   * For `MV`: 32 or 64 (index bits) and x y z (index register length); its `memoryType` is the element.
   */
  readonly type: string;
  /** Type letters of the memory form; the same as `type` for most (`Ev/w` stores a 16-bit word, but a whole register). */
  readonly memoryType: string;
  /** What the instruction does with it; `none`: only the address or nothing (LEA, NOP, INVLPG). */
  readonly access: 'r' | 'w' | 'rw' | 'none';
}
