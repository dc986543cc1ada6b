/**
 * The real CPU, through harness.c. A request file is the background image, then per case: u8 mode, u8 length, the instruction, u16 count of
 * patches, and per patch u16 offset, u16 length, bytes. A response is u8 vector (0xff none, 0xfe given up), u32 error code, u64 CR2, and patches from
 * before to after.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  applyPatches,
  differences,
  Image,
  NO_EXCEPTION,
  type Patch,
  Place,
  type VectorCase,
  type VectorHeader,
  type VectorMode,
} from '../../packages/conformance/src/index.js';
import type { Question } from './cases.js';

const here = dirname(fileURLToPath(import.meta.url));
const work = join(here, '../../build/vectors');
const GIVEN_UP = 0xfe;

/** Compiles the harness. */
export function buildHarness(): string {
  mkdirSync(work, { recursive: true });
  const path = join(work, 'harness');
  execFileSync(
    'gcc',
    ['-O2', '-mno-red-zone', '-fno-stack-protector', '-mfsgsbase', '-fno-builtin', '-Wall', '-Wextra', '-o', path, join(here, 'harness.c')],
    { stdio: 'inherit' },
  );
  return path;
}

/** Which CPU this is. */
export function readCpu(harness: string): VectorHeader['cpu'] {
  return JSON.parse(execFileSync(harness, ['cpu'], { encoding: 'utf8' })) as VectorHeader['cpu'];
}

function request(mode: VectorMode, question: Question, before: readonly Patch[]): Uint8Array {
  const length = 2 + question.code.length + 2 + before.reduce((sum, { bytes }) => sum + 4 + bytes.length, 0);
  const out = new Uint8Array(length);
  const view = new DataView(out.buffer);
  out[0] = mode;
  out[1] = question.code.length;
  out.set(question.code, 2);
  let at = 2 + question.code.length;
  view.setUint16(at, before.length, true);
  at += 2;
  for (const { offset, bytes } of before) {
    view.setUint16(at, offset, true);
    view.setUint16(at + 2, bytes.length, true);
    out.set(bytes, at + 4);
    at += 4 + bytes.length;
  }
  return out;
}

/** Reads responses one after the other. */
class Responses {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  next(): { vector: number; error: number; cr2: bigint; patches: Patch[] } {
    const vector = this.#bytes.readUInt8(this.#at);
    const error = this.#bytes.readUInt32LE(this.#at + 1);
    const cr2 = this.#bytes.readBigUInt64LE(this.#at + 5);
    let count = this.#bytes.readUInt16LE(this.#at + 13);
    this.#at += 15;
    const patches: Patch[] = [];
    for (; count > 0; count--) {
      const length = this.#bytes.readUInt16LE(this.#at + 2);
      patches.push({ offset: this.#bytes.readUInt16LE(this.#at), bytes: this.#bytes.subarray(this.#at + 4, this.#at + 4 + length) });
      this.#at += 4 + length;
    }
    return { vector, error, cr2, patches };
  }
}

/** Vectors whose error code is meaningful (SDM Vol. 3, "Exception and Interrupt Reference"). */
const WITH_ERROR = new Set([8, 10, 11, 12, 13, 14, 17]);

/** Puts an answer together; null where the harness gave up on the case. */
function answer(background: Uint8Array, question: Question, before: Patch[], response: ReturnType<Responses['next']>): VectorCase | null {
  if (response.vector === GIVEN_UP) return null;
  const exception = response.vector === 0xff ? NO_EXCEPTION : response.vector;
  const after = question.image.slice();
  applyPatches(after, response.patches);
  const expected = question.image.slice();
  if (exception === NO_EXCEPTION) new DataView(expected.buffer).setBigUint64(Image.rip, BigInt(Place.start + question.code.length), true);
  return {
    code: question.code,
    before,
    exception,
    errorCode: WITH_ERROR.has(exception) ? response.error : 0,
    cr2: response.cr2,
    after: differences(expected, after),
    ignore: question.ignore.map(({ offset, length }) => ({ offset, bytes: new Uint8Array(length) })),
  };
}

/** Runs cases on this CPU; the result has null where there is no answer. */
export function execute(harness: string, mode: VectorMode, background: Uint8Array, questions: readonly Question[]): (VectorCase | null)[] {
  const before = questions.map((question) => differences(background, question.image));
  const requests = join(work, 'requests.bin');
  const responses = join(work, 'responses.bin');
  writeFileSync(requests, Buffer.concat([background, ...questions.map((question, i) => request(mode, question, before[i] as Patch[]))]));
  execFileSync(harness, [requests, responses], { stdio: ['ignore', 'inherit', 'inherit'] });
  const input = new Responses(readFileSync(responses));
  return questions.map((question, i) => answer(background, question, before[i] as Patch[], input.next()));
}
