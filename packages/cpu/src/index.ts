/**
 * One vCPU: state, fetch and dispatch, exceptions, events, CPUID and MSRs, the interpreter, ports.
 *
 * @packageDocumentation
 */
export { Vcpu } from './vcpu.js';
export type { PortAccess, VcpuOptions } from './vcpu.js';
export { Engine } from './engine.js';
export { Interpreter } from './executor.js';
export { reset } from './reset.js';
export { msrState, registerState } from './saved-state.js';
export { updateMode } from './mode.js';
export { Activity, injectEvent } from './events/deliver.js';
export { injectMachineCheck } from './events/machine-check.js';
export type { MachineCheck, MachineCheckOutcome } from './events/machine-check.js';
export { allFailures, explainFailure, firstFailure } from './ports/entry-check.js';
export type { EntryCheck, EntryCheckStatus, NestedFeature } from './ports/entry-check.js';
export type { Executor, Stop } from './ports/executor.js';
export { createNullInterruptSource } from './ports/interrupts.js';
export type { InterruptSource } from './ports/interrupts.js';
export type { CpuidResult, CpuidState, CpuModel } from './ports/model.js';
export type { KeptCode } from './ports/kept-code.js';
export { createDeterministicRandom } from './ports/random.js';
export type { DeterministicRandom, RandomSource } from './ports/random.js';
export { Access } from './ports/translation.js';
export type { PhysicalAccess, Translation } from './ports/translation.js';
export { EventKind } from './ports/virtualization.js';
export type { TransitionCounters, Virtualization } from './ports/virtualization.js';
export { GRACE_NS, isEmptyRoot, NestedLedger, nestedGuestIsGone, QUIET_NS } from './ports/ledger.js';
export type { NestedClass, NestedContext, NestedReport, NestedVerdict } from './ports/ledger.js';
export { inspectNested } from './ports/nested-activity.js';
export type { SystemInstruction } from './system/index.js';
export { explainDecoded } from './explain.js';
export { instructionAddress } from './instruction-address.js';
export { Outcome } from './outcome.js';
export { CpuError } from './errors.js';
