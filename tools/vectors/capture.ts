/**
 * Captures vectors on the CPU of this machine: `pnpm vectors [--mode 64,32,16] [--family general,x87] [--cases 60] [--out vectors/NAME]`.
 * The same seed asks the same questions.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { constants, gzipSync } from 'node:zlib';
import { encodeVectors, type VectorForm, type VectorMode } from '../../packages/conformance/src/index.js';
import { makeCase, type Question } from './cases.js';
import { type Form, listForms } from './forms.js';
import { buildHarness, execute, readCpu } from './machine.js';
import { makePortable } from './portability.js';
import { Random } from './random.js';
import { makeBackground } from './state.js';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/** Cases per form by mode: more in 64-bit mode where operands and flags are many; 16-bit code has nothing of its own beyond the integer instructions. */
function caseCount(mode: VectorMode, family: string, base: number): number {
  const whole = family === 'general' || family === 'bits';
  if (mode === 64) return family === 'x87' || whole ? base * 2 : base;
  return mode === 32 || whole ? base : 0;
}

/** Questions asked for each case wanted, since some answers are not portable. */
const SPARE = 2.4;

function ask(form: Form, mode: VectorMode, background: Uint8Array, count: number): Question[] {
  const random = new Random(`${mode}:${form.shape.name}:${form.shape.code}`);
  const questions: Question[] = [];
  for (let attempt = 0; attempt < count * 12 && questions.length < count; attempt++) {
    const question = makeCase(random, form.shape, mode, background, form.family);
    if (question) questions.push(question);
  }
  return questions;
}

function captureFamily(harness: string, family: string, mode: VectorMode, base: number): { background: Uint8Array; forms: VectorForm[] } {
  const background = makeBackground(new Random(`background:${mode}:${family}`), mode);
  const forms = listForms(mode).filter((form) => form.family === family);
  const wanted = caseCount(mode, family, base);
  const questions = forms.map((form) => ask(form, mode, background, Math.ceil(wanted * SPARE)));
  const answers = execute(harness, mode, background, questions.flat());
  const result: VectorForm[] = [];
  let at = 0;
  forms.forEach((form, i) => {
    const asked = questions[i].length;
    const name = `${form.shape.name} | ${form.shape.encoding}`;
    const cases = answers
      .slice(at, at + asked)
      .map((test, index) => test && makePortable(name, mode, questions[i][index], test))
      .filter((test) => test !== null)
      .slice(0, wanted);
    at += asked;
    const missing = form.mnemonic.startsWith('UD') ? false : cases.every((test) => test.exception === 6);
    if (asked === 0) console.log(`  ${mode} ${family}: no encoding of ${name}`);
    else if (missing) console.log(`  ${mode} ${family}: this CPU has no ${form.shape.name}`);
    else if (cases.length > 0) result.push({ name, cases });
    if (asked > 0 && cases.length < wanted) console.log(`  ${mode} ${family}: ${cases.length} cases of ${name}, not ${wanted}`);
  });
  return { background, forms: result };
}

function usage(): void {
  const families = [...new Set(listForms(64).map((form) => form.family))].join(', ');
  console.log(
    `usage: pnpm vectors [--mode 64,32,16] [--family NAME,NAME…] [--cases N] [--out FOLDER]\n` +
      `  --family  of ${families} (default all)\n` +
      `  --cases   so many for each form, twice as many where operands and flags are many (default 60)\n` +
      `  --out     where the files go (default vectors/ and this CPU's name)`,
  );
}

function main(): void {
  const { values } = parseArgs({
    options: {
      help: { type: 'boolean', short: 'h', default: false },
      mode: { type: 'string' },
      family: { type: 'string' },
      cases: { type: 'string' },
      out: { type: 'string' },
    },
  });
  if (values.help) return usage();
  const harness = buildHarness();
  const cpu = readCpu(harness);
  const output = resolve(
    values.out ?? join(root, 'vectors', `${cpu.vendor.toLowerCase().replace(/genuine|authentic/, '')}-${cpu.family}-${cpu.model}`),
  );
  mkdirSync(output, { recursive: true });
  const wanted = values.family?.split(',');
  let bytes = 0;
  for (const mode of (values.mode ?? '64,32,16').split(',').map(Number) as VectorMode[]) {
    for (const family of new Set(listForms(mode).map((form) => form.family))) {
      const base = Number(values.cases ?? 60);
      if ((wanted && !wanted.includes(family)) || caseCount(mode, family, base) === 0) continue;
      const { background, forms } = captureFamily(harness, family, mode, base);
      const packed = gzipSync(encodeVectors({ mode, cpu }, background, forms), { level: constants.Z_BEST_COMPRESSION });
      writeFileSync(join(output, `${family}-${mode}.vec.gz`), packed);
      bytes += packed.length;
      const cases = forms.reduce((sum, form) => sum + form.cases.length, 0);
      console.log(`${family}-${mode}: ${forms.length} forms, ${cases} cases, ${Math.round(packed.length / 1024)} KiB`);
    }
  }
  console.log(`${output}: ${(bytes / 1048576).toFixed(1)} MiB`);
}

main();
