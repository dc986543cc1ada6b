import type { FunctionDefinition } from '@nestvm/emit';
import { type CodePlaces, codeWriteIn } from './code-write.js';
import { deliverHere, deliverPlain, takeFault } from './delivery.js';
import { invalidatePage } from './page-faults.js';
import { switchBank } from './privilege.js';
import { checkSegment, dispatchFunction, enter, enterAt, goToRecord, jumpSlow, readTime, systemHere } from './runtime.js';
import { reachOf, refill, slowModify, slowProbe, slowRead, slowWrite } from './slow-paths.js';

/** The functions that handler modules share; the runtime module exports them. */
export const runtimeFunctions = (blockCache: number, codePlaces: CodePlaces): FunctionDefinition[] => [
  codeWriteIn(codePlaces),
  dispatchFunction('dispatch', blockCache, false),
  dispatchFunction('dispatchFar', blockCache, true),
  jumpSlow,
  systemHere,
  goToRecord,
  enter,
  enterAt,
  checkSegment,
  readTime,
  switchBank,
  deliverPlain,
  deliverHere,
  takeFault,
  invalidatePage,
  reachOf,
  slowRead,
  slowWrite,
  slowModify,
  slowProbe,
  refill.tlbRead,
  refill.tlbWrite,
];
