/**
 * Takes the golden snapshots anew: `pnpm exec tsx --conditions=@nestvm/source packages/migration/test/make-golden.ts`. Only for a new version of a schema, under a new
 * name: what is there must keep loading.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { createMemorySink, saveSnapshot } from '../src/index.js';
import { createGolden, goldens, holdBlocks, migratableGolden } from './golden.js';

for (const golden of goldens) {
  const file = new URL(`golden/${golden.file}.snapshot`, import.meta.url);
  if (existsSync(file)) continue;
  const machine = createGolden(golden, { text: '' });
  const outcome = await machine.run();
  const sink = createMemorySink();
  const { machine: saved, held } = migratableGolden(golden, machine);
  holdBlocks(held, golden.blocks);
  await saveSnapshot(saved, sink);
  writeFileSync(file, sink.bytes());
  console.log(golden.file, outcome.kind, sink.bytes().length);
}
