import { describeMismatches, findMismatches, mnemonicOf } from './compare.js';
import { applyPatches, NO_EXCEPTION, readVectors, type VectorCase, type VectorFile, type VectorForm } from './format.js';
import { Image, Place, type VectorMode } from './image.js';
import { faultsByParts } from './undefined.js';

/** What one instruction came to. */
export interface StepOutcome {
  /** Vector of the exception that it raised, or -1. */
  readonly exception: number;
  /** Error code of that exception, 0 when it has none. */
  readonly errorCode: number;
  /** Linear address of a page fault, 0 otherwise. */
  readonly cr2: bigint;
}

/**
 * The adapter between vectors and something that executes instructions. The machine it stands for is in protected mode at CPL 3 with IF set, IOPL 0, CR0.AM
 * and CR0.NE set, CR4.OSFXSR, OSXMMEXCPT, OSXSAVE and FSGSBASE set, and XCR0 = 7; linear addresses of `Place` are mapped for the user, their neighbours are not, and
 * everything below 2^47 that is not in `Place` is absent.
 */
export interface VectorExecutor {
  /** Called before the cases of a file: sets up segments (`selectorsOf`) and paging for this mode. */
  begin(mode: VectorMode): void;
  /** Says which cases will come, for executors that compile: called for some forms at a time, before their first case. */
  foresee?(cases: Iterable<VectorCase>): void;
  /** Puts an instruction at `Place.start` (all other code bytes are INT3) and the whole image into registers and memory. */
  load(image: Uint8Array, code: Uint8Array): void;
  /** Executes one instruction to its end: a repeated string instruction through all its iterations, or up to an exception, which is reported and not delivered. */
  step(): StepOutcome;
  /** Fills the image from registers and memory. */
  read(image: Uint8Array): void;
}

/** A case that came out differently. */
export interface VectorFailure {
  readonly form: string;
  readonly mode: VectorMode;
  /** Index of the case within its form. */
  readonly index: number;
  readonly code: Uint8Array;
  /** What differs, in words. */
  readonly differences: readonly string[];
}

/** Counts of one form. */
export interface FormReport {
  readonly name: string;
  readonly mode: VectorMode;
  readonly passed: number;
  readonly failed: number;
}

/** Counts of everything that was run. */
export interface VectorReport {
  readonly passed: number;
  readonly failed: number;
  readonly forms: readonly FormReport[];
  /** The first failures of each form, at most `keep` of them. */
  readonly failures: readonly VectorFailure[];
}

/** Which cases to run and how much to remember. */
export interface VectorOptions {
  /** Runs only forms for which this is true. */
  readonly select?: (form: string, mode: VectorMode) => boolean;
  /** Failures kept for each form; 3 by default. */
  readonly keep?: number;
  /** Runs every n-th case only; 1 by default. */
  readonly every?: number;
}

function outcomeDifferences(form: string, test: VectorCase, outcome: StepOutcome): string[] {
  if (outcome.exception !== test.exception) {
    const say = (vector: number): string => (vector === NO_EXCEPTION ? 'no exception' : `exception ${vector}`);
    return [`it came to ${say(outcome.exception)}, should be ${say(test.exception)}`];
  }
  if (test.exception === NO_EXCEPTION) return [];
  const result: string[] = [];
  if (outcome.errorCode !== test.errorCode)
    result.push(`error code is 0x${outcome.errorCode.toString(16)}, should be 0x${test.errorCode.toString(16)}`);
  const ignored = faultsByParts(mnemonicOf(form)) ? 12n : 0n;
  if (outcome.cr2 >> ignored !== test.cr2 >> ignored) result.push(`CR2 is 0x${outcome.cr2.toString(16)}, should be 0x${test.cr2.toString(16)}`);
  return result;
}

/** Runs cases of one file, with buffers that are used again. */
class CaseRunner {
  readonly #file: VectorFile;
  readonly #executor: VectorExecutor;
  readonly #before = new Uint8Array(Image.size);
  readonly #expected = new Uint8Array(Image.size);
  readonly #actual = new Uint8Array(Image.size);

  constructor(file: VectorFile, executor: VectorExecutor) {
    this.#file = file;
    this.#executor = executor;
  }

  /** What is wrong, in words; empty when all is right. */
  run(form: string, test: VectorCase): string[] {
    this.#before.set(this.#file.background);
    applyPatches(this.#before, test.before);
    this.#expected.set(this.#before);
    if (test.exception === NO_EXCEPTION) {
      new DataView(this.#expected.buffer).setBigUint64(Image.rip, BigInt(Place.start + test.code.length), true);
    }
    applyPatches(this.#expected, test.after);
    this.#executor.load(this.#before, test.code);
    const outcome = this.#executor.step();
    this.#actual.fill(0);
    this.#executor.read(this.#actual);
    const wrong = outcomeDifferences(form, test, outcome);
    const images = { before: this.#before, expected: this.#expected, actual: this.#actual };
    return [...wrong, ...describeMismatches(findMismatches(form, test, images, this.#file.mode), this.#expected, this.#actual)];
  }
}

/** Forms that are foreseen together. */
const BATCH = 128;

/** The chosen cases of the chosen forms, some forms at a time. */
function* batches(
  forms: Iterable<VectorForm>,
  select: NonNullable<VectorOptions['select']>,
  mode: VectorMode,
  every: number,
): Generator<readonly VectorForm[]> {
  let batch: VectorForm[] = [];
  for (const { name, cases } of forms) {
    if (select(name, mode)) batch.push({ name, cases: cases.filter((_, index) => index % every === 0) });
    if (batch.length < BATCH) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

/**
 * Runs every case of the given files (gzip) on an executor and counts. The suite of the `Executor` contract: interpreter, JIT and real CPU must all pass it.
 */
export async function testExecutor(
  executor: VectorExecutor,
  files: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  options: VectorOptions = {},
): Promise<VectorReport> {
  const { select = () => true, keep = 3, every = 1 } = options;
  const reports: FormReport[] = [];
  const failures: VectorFailure[] = [];
  for await (const bytes of files) {
    const { file, forms } = await readVectors(bytes);
    const runner = new CaseRunner(file, executor);
    executor.begin(file.mode);
    for (const batch of batches(forms, select, file.mode, every)) {
      executor.foresee?.(batch.flatMap(({ cases }) => cases));
      for (const { name, cases } of batch) {
        const counts = { passed: 0, failed: 0 };
        for (const [i, test] of cases.entries()) {
          const differences = runner.run(name, test);
          if (differences.length === 0) counts.passed++;
          else if (counts.failed++ < keep) failures.push({ form: name, mode: file.mode, index: i * every, code: test.code, differences });
        }
        reports.push({ name, mode: file.mode, ...counts });
      }
    }
  }
  const sum = (pick: (report: FormReport) => number): number => reports.reduce((total, report) => total + pick(report), 0);
  return { passed: sum((report) => report.passed), failed: sum((report) => report.failed), forms: reports, failures };
}
