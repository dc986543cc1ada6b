/**
 * CPU models under QEMU's names, as data, and what CPUID answers on them.
 *
 * @packageDocumentation
 */
export { cpuModelNames, CpuModel, parseCpu } from './parse.js';
export type { CpuOptions } from './parse.js';
export { cpuidLeaf, cpuSignature, featureMsr, supportedXcr0, xsaveComponents } from './cpuid.js';
export { featureNames, featureRequires, findFeature, implementedFeatures } from './features.js';
export type { CpuFeature } from './features.js';
export type { CpuDescription, CpuIdentity, CpuidDynamicState, CpuidRegisters, CpuTopology } from './cpu-model.js';
export { cpuidFeatureRows, msrFeatureRows } from './cpuid-features.js';
export { modelAliases, modelRows } from './model-data.js';
export type { CpuidFeatureRow, CpuidRegister, ModelRow, MsrFeatureRow } from './feature-rows.js';
export { virtualizationFeatures } from './nesting.js';
export type { Nesting } from './nesting.js';
export { nearestName } from './nearest.js';
export { CpuModelError } from './errors.js';
export type { CpuModelErrorCode } from './errors.js';
