import type { Emitter, Meanings } from '../emitter.js';
import { fusedMeanings } from '../avx/fused.js';
import { maskedMeanings } from '../avx/masked.js';
import { permuteMeanings } from '../avx/permute.js';
import { EMMS, entersMmx } from '../mmx/state.js';
import { aesMeanings } from '../sse/aes.js';
import { approximateMeanings } from '../sse/approximate.js';
import { arithmeticMeanings } from '../sse/arithmetic.js';
import { bitFieldMeanings } from '../sse/bitfields.js';
import { carrylessMeanings } from '../sse/carryless.js';
import { compareMeanings } from '../sse/compare.js';
import { convertMeanings } from '../sse/convert.js';
import { dotMeanings } from '../sse/dot.js';
import { integerMeanings } from '../sse/integer.js';
import { moveMeanings } from '../sse/moves.js';
import { shaMeanings } from '../sse/sha.js';
import { shiftMeanings } from '../sse/shifts.js';
import { shuffleMeanings } from '../sse/shuffles.js';
import { stringMeanings } from '../sse/strings.js';

const all: Record<string, Emitter> = {
  ...integerMeanings,
  ...shiftMeanings,
  ...moveMeanings,
  ...shuffleMeanings,
  ...stringMeanings,
  ...aesMeanings,
  ...bitFieldMeanings,
  ...carrylessMeanings,
  ...shaMeanings,
  ...permuteMeanings,
  ...maskedMeanings,
  ...arithmeticMeanings,
  ...compareMeanings,
  ...convertMeanings,
  ...fusedMeanings,
  ...dotMeanings,
  ...approximateMeanings,
};

/** Meanings of MMX, SSE, SSE4a, AES, PCLMULQDQ, SHA, AVX, AVX2, FMA and F16C by mnemonic. EVEX-encoded rows of the same mnemonics are not meant. */
export const vectorMeanings: Meanings = {
  ...Object.fromEntries(Object.entries(all).map(([name, emitter]) => [name, entersMmx(emitter)])),
  EMMS,
  FEMMS: EMMS,
};
