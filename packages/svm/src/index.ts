/**
 * AMD SVM, as an extension of cpu.
 *
 * @packageDocumentation
 */
export { attachSvm, Svm } from './svm.js';
export type { SvmOptions } from './svm.js';
export { Vmcb, IntControl, NestedControl, TlbControl, EventInfo, VMCB_BYTES } from './vmcb/layout.js';
export { ExitCode, exitCodeName } from './exits/codes.js';
export { explainEntry, lintVmcb } from './explain/explain.js';
export { vmrunChecks } from './checks/rows.js';
export type { VmrunView } from './checks/view.js';
export { interceptMap } from './intercepts/map.js';
export { svmFeatures } from './reference.js';
export { svmState } from './state.js';
