/**
 * X86 names and bit positions, opcode-map rows, sensitive events, CPU models.
 *
 * @packageDocumentation
 */
export { ApicRegister } from './registers/apic.js';
export { BoundConfig, BoundStatus, CetControl, ControlProtection, Cr0, Cr4, Dr6, Dr7, Efer, Rflags, Vector, Xstate } from './registers/control.js';
export { GIF_CLEAR, Gpr, GuestMode, Mode, PrivilegeClass, Segment, vcpuState } from './registers/vcpu-state.js';
export { MsrTable, msrSlot } from './registers/msr-table.js';
export { VmcsTable, vmcsSlot } from './registers/vmcs-table.js';
export type { OpcodeRow, OperandSpec } from './maps/row.js';
export { typeBits } from './maps/type-bits.js';
export type { OperandSizes } from './maps/type-bits.js';
export { opcodeRows } from './maps/index.js';
export type { LegacyOrVexMnemonic, Mnemonic } from './maps/index.js';
export type { EvexProperties, EvexTuple, OpcodeEncoding, OpcodeMap } from './maps/row.js';
export { sensitiveEvents } from './events.js';
export type { SensitiveEvent } from './events.js';
export { IsaError } from './errors.js';
export { mapDeviations } from './maps/deviations.js';
export type { MapDeviation } from './maps/deviations.js';
