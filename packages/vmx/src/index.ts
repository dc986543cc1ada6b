/**
 * Intel VMX, as an extension of cpu.
 *
 * @packageDocumentation
 */
export { F, FieldArea, FieldWidth, fieldAtWord, fieldNamed, fieldOrdinal, fields, VMCS_BYTES, VmcsHeader, wordOfOrdinal } from './fields/layout.js';
export type { Field } from './fields/layout.js';
export type { FieldName } from './fields/table.js';
export { controlGroups, Entry, Exit, Exit2, Pin, Proc1, Proc2, Proc3, VmFunction } from './controls/controls.js';
export type { Bits, ControlGroup, ControlGroupKey } from './controls/controls.js';
export type { ControlFacts, ControlRow, Generation } from './controls/table.js';
export { Basic, createCapabilities, EptVpid, generationOf, Misc } from './capabilities/capabilities.js';
export type { CapabilityOptions, ControlCapability, VmxCapabilities } from './capabilities/capabilities.js';
export { capabilityMsrs } from './capabilities/msrs.js';
export type { CapabilityMsr } from './capabilities/msrs.js';
export { EntryContext, EntryInstruction } from './checks/context.js';
export { writeValidVmcs } from './checks/arrange.js';
export { checkGroups, formatFailure } from './checks/check.js';
export type { CheckGroup, Failure, VmxCheck } from './checks/check.js';
export { firstBefore, firstFailure, firstMsrFailure, readMsrEntry, sectionsOfField, vmEntryChecks } from './checks/table.js';
export { explainEntry, failedChecks } from './explain/explain.js';
export type { FailedCheck } from './explain/explain.js';
export { describeExit, exitReasonName, qualificationLayouts } from './exits/qualification.js';
export type { QualificationField } from './exits/qualification.js';
export { vmxFeatures } from './features.js';
export { lintCurrentVmcs } from './lint/current.js';
export { lint, warningIds } from './lint/lint.js';
export type { Remark } from './lint/lint.js';
export { VmxError } from './errors.js';
export type { VmxErrorCode } from './errors.js';
export { attachVmx } from './attach.js';
export type { VmxExtension } from './extension.js';
export type { VmxClock } from './transitions/preemption-timer.js';
export type { Vmx, VmxOptions } from './vmx.js';
