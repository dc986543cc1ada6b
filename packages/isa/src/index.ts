/**
 * X86 names and bit positions, opcode-map rows, sensitive events, CPU models.
 *
 * @packageDocumentation
 */
export { Gpr, Mode, Segment, vcpuState } from './registers/vcpu-state.js';
export type { OpcodeRow, OperandSpec } from './maps/row.js';
