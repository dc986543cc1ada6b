/**
 * Takes the golden snapshots of machines with devices: `pnpm exec tsx --conditions=@nestvm/source apps/cli/test/golden/make.ts`. Only for a new version of what
 * devices save, under a new name: what is there must keep loading.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { createMemorySink, saveSnapshot } from '@nestvm/migration';
import { AFTER, createGolden, goldens, putToUse } from './machines.js';

for (const golden of goldens) {
  const file = new URL(`${golden.file}.snapshot`, import.meta.url);
  if (existsSync(file)) continue;
  let text = '';
  const machine = createGolden(golden, (more) => {
    text += more;
    if (text.endsWith(AFTER)) machine.stop();
  });
  const outcome = await machine.run();
  if (golden.board === 'microvm') putToUse(machine, golden.packed);
  const sink = createMemorySink();
  await saveSnapshot(machine.migratable, sink);
  writeFileSync(file, sink.bytes());
  console.log(golden.file, outcome.kind, sink.bytes().length);
}
