/**
 * Calls and text to bytes, by the same opcode rows that the decoder reads.
 *
 * @packageDocumentation
 */
export { asm16, asm32, asm64, assemble, createAssembler, Program } from './program.js';
export type { Assembled, Assembler, ProgramOptions } from './program.js';
export { decorate, far, memory } from './operand.js';
export type {
  Decoration,
  FarPointer,
  Memory,
  MemoryOptions,
  Operand,
  OperandLike,
  Register,
  RegisterFile,
  RelativeTarget,
  Rounding,
} from './operand.js';
export { label } from './expression.js';
export type { Expression, LabelValue, Resolve } from './expression.js';
export { parseOperand } from './parse-operand.js';
export { findRegister } from './registers.js';
export {
  ax,
  al,
  bl,
  bp,
  bpl,
  bx,
  cl,
  cx,
  di,
  dil,
  dl,
  dx,
  eax,
  ebp,
  ebx,
  ecx,
  edi,
  edx,
  esi,
  esp,
  r8,
  r9,
  r10,
  r11,
  r12,
  r13,
  r14,
  r15,
} from './registers.js';
export { rax, rbp, rbx, rcx, rdi, rdx, rsi, rsp, si, sil, sp, spl } from './registers.js';
export { encodeForm } from './encode.js';
export type { EncodeContext, Encoding, Prefixes } from './encode.js';
export type { CodeBits, Shape } from './fields.js';
export { shapesOf } from './shapes.js';
export { findName, mnemonicNames } from './names.js';
export type { NamedRows } from './names.js';
export { AssemblerError } from './errors.js';
export type { AssemblerErrorCode } from './errors.js';
