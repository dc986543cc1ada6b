export { VectorError, type VectorErrorCode } from './errors.js';
export {
  applyPatches, decodeVectors, differences, encodeVectors, NO_EXCEPTION, readVectors,
  type Patch, type VectorCase, type VectorFile, type VectorForm, type VectorHeader,
} from './format.js';
export { Image, KEPT_FLAGS, Place, selectorsOf, type VectorMode } from './image.js';
