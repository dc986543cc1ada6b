import type { Val } from '@nestvm/emit';

/**
 * The parts of one instruction that vary under the same facts. The interpreter loads them from the decoded record; the JIT
 * gives constants. Register fields are byte offsets into the vCPU state.
 */
export interface Fields {
  /** Offset of the operand that ModRM.reg (or the opcode's low bits, or a fixed register) names. */
  reg(): Val<32>;
  /** Offset of the operand that ModRM.rm names in its register form. */
  rm(): Val<32>;
  /** Offset of the operand that VEX.vvvv names. */
  vvvv(): Val<32>;
  /** Offsets of base and index registers of the memory operand. */
  base(): Val<32>;
  index(): Val<32>;
  /** Left shift of the index, 0 to 3. */
  scale(): Val<32>;
  /** Displacement, sign-extended from 32 bits. */
  displacement(): Val<32>;
  /** Number of the memory operand's segment register. */
  segment(): Val<32>;
  /** Immediate, extended as the row says; 64-bit moffs too. */
  immediate(): Val<64>;
  /** Low 32 bits of the immediate. */
  immediate32(): Val<32>;
  /** Offset of this instruction's first byte from the start of the block. */
  blockOffset(): Val<32>;
  length(): Val<32>;
  /** Target of a direct jump, as an offset from the start of the block. */
  targetOffset(): Val<32>;
}
