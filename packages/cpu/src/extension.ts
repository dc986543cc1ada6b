/**
 * What hypervisor extensions (VMX, SVM) work with beside the ordinary interface: the words of the vCPU state, operands, events, and modes.
 *
 * @packageDocumentation
 */

export type { Instruction } from '@nestvm/decoder';
export { dataAddress, operandAddress, segmentAddress, uncheckedAddress } from './address.js';
export { enterDebugException, raiseDebugFault } from './events/debug.js';
export { Activity, deliverFault, deliverInterrupt, injectEvent, isFault, writeCr2 } from './events/deliver.js';
export { machineCheckAtEntry } from './events/machine-check.js';
export { endPhysicalInterrupt, sendPhysicalIpi } from './events/own-apic.js';
export { PendingEvent } from './events/pending.js';
export { SECOND_STAGE_VECTOR } from './linear.js';
export { canonicalShift, isCanonical, Shadow, updateMode, updateModeBits } from './mode.js';
export { readHostTsc, readTsc } from './msr/time.js';
export { isRegisterForm, readLinear, readRm, writeGpr, writeLinear, writeRm } from './operands.js';
export { Outcome } from './outcome.js';
export { recentNs } from './ports/clock.js';
export { EventKind, ListedWrite, Place } from './ports/virtualization.js';
export { loadRegisters } from './saved-state.js';
export { Attribute, setNullSegment } from './segments/descriptor.js';
export { syncBreakpoints } from './system/debug-registers.js';
export type { SystemInstruction } from './system/index.js';
export { SYSTEM_INSTRUCTIONS } from './system/index.js';
export { attributesOf, baseOf, type Conversion, compileTransfers, limitOf, type Move, moveQuad, selectorOf, type Transfer } from './transfers.js';
export { isUserNotification, processNotification as processUserNotification } from './user-interrupts/notification.js';
export * from './words.js';
