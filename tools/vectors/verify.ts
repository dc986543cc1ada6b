/**
 * Runs the captured vectors again on the CPU of this machine and compares as every executor is compared: `tsx tools/vectors/verify.ts [DIRECTORY]`. On the CPU
 * that they come from it shows that they are repeatable; on another one, what the table of undefined results has to know.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  applyPatches,
  describeMismatches,
  findMismatches,
  Image,
  NO_EXCEPTION,
  Place,
  readVectors,
  type VectorCase,
  type VectorFile,
} from '../../packages/conformance/src/index.js';
import type { Question } from './cases.js';
import { buildHarness, execute } from './machine.js';

interface Captured {
  name: string;
  test: VectorCase;
}

function beforeImage(file: VectorFile, test: VectorCase): Uint8Array {
  const image = file.background.slice();
  applyPatches(image, test.before);
  return image;
}

function afterImage(before: Uint8Array, test: VectorCase): Uint8Array {
  const image = before.slice();
  if (test.exception === NO_EXCEPTION) new DataView(image.buffer).setBigUint64(Image.rip, BigInt(Place.start + test.code.length), true);
  applyPatches(image, test.after);
  return image;
}

function check(file: VectorFile, { name, test }: Captured, again: VectorCase | null): string[] {
  if (!again) return ['no answer'];
  if (again.exception !== test.exception) return [`exception ${again.exception}, was ${test.exception}`];
  const before = beforeImage(file, test);
  const expected = afterImage(before, test);
  const actual = afterImage(before, again);
  return describeMismatches(findMismatches(name, test, { before, expected, actual }, file.mode), expected, actual);
}

async function verifyFile(harness: string, path: string): Promise<number> {
  const { file, forms } = await readVectors(readFileSync(path));
  const captured: Captured[] = [];
  for (const { name, cases } of forms) for (const test of cases) captured.push({ name, test });
  const questions: Question[] = captured.map(({ test }) => ({ code: test.code, image: beforeImage(file, test), ignore: [] }));
  const answers = execute(harness, file.mode, file.background, questions);
  let wrong = 0;
  captured.forEach((entry, i) => {
    const differences = check(file, entry, answers[i] ?? null);
    if (differences.length > 0 && wrong++ < 5) console.log(`  ${entry.name}: ${differences.slice(0, 3).join('; ')}`);
  });
  console.log(`${path}: ${captured.length - wrong} of ${captured.length} the same`);
  return wrong;
}

async function main(): Promise<void> {
  const roots = process.argv.slice(2);
  const base = join(dirname(fileURLToPath(import.meta.url)), '../../vectors');
  const directories =
    roots.length > 0
      ? roots
      : readdirSync(base, { withFileTypes: true })
          .filter((entry) => entry.isDirectory())
          .map((entry) => join(base, entry.name));
  const harness = buildHarness();
  let wrong = 0;
  for (const directory of directories) {
    for (const name of readdirSync(directory).filter((file) => file.endsWith('.vec.gz'))) wrong += await verifyFile(harness, join(directory, name));
  }
  if (wrong > 0) process.exitCode = 1;
}

void main();
