export { comparisonMask, describeMismatches, findMismatches } from './compare.js';
export { VectorError, type VectorErrorCode } from './errors.js';
export {
  testExecutor,
  type FormReport,
  type StepOutcome,
  type VectorExecutor,
  type VectorFailure,
  type VectorOptions,
  type VectorReport,
} from './executor.js';
export {
  applyPatches,
  decodeVectors,
  differences,
  encodeVectors,
  NO_EXCEPTION,
  readVectors,
  type Patch,
  type VectorCase,
  type VectorFile,
  type VectorForm,
  type VectorHeader,
} from './format.js';
export { createInterpreterExecutor, type InterpreterExecutorOptions } from './interpreter.js';
export { Image, KEPT_FLAGS, Place, selectorsOf, type VectorMode } from './image.js';
export { toleranceOf, undefinedConditions, undefinedFlags, type ShiftFacts, type Tolerance } from './undefined.js';
export { imageToVcpu, vcpuToImage } from './vcpu-image.js';
