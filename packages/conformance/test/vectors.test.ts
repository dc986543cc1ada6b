import { readdirSync, readFileSync } from 'node:fs';
import { vcpuState } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import {
  applyPatches,
  decodeVectors,
  differences,
  encodeVectors,
  Image,
  imageToVcpu,
  KEPT_FLAGS,
  NO_EXCEPTION,
  Place,
  readVectors,
  type StepOutcome,
  testExecutor,
  undefinedFlags,
  type VectorCase,
  VectorError,
  type VectorExecutor,
  vcpuToImage,
} from '../src/index.js';

const root = new URL('../../../vectors/', import.meta.url);
const directory = readdirSync(root, { withFileTypes: true }).find((entry) => entry.isDirectory());
const captured = (name: string): Uint8Array => readFileSync(new URL(`${directory?.name ?? ''}/${name}.vec.gz`, root));

/** Answers from the file itself, so that the suite's own machinery can be tested; `corrupt` spoils an answer. */
class Replay implements VectorExecutor {
  readonly #answers = new Map<string, VectorCase>();
  readonly #image = new Uint8Array(Image.size);
  readonly #corrupt: (image: Uint8Array, test: VectorCase) => void;
  #test: VectorCase | undefined;

  constructor(answers: readonly (readonly [string, VectorCase])[], corrupt: (image: Uint8Array, test: VectorCase) => void = () => {}) {
    this.#answers = new Map(answers);
    this.#corrupt = corrupt;
  }

  static key(image: Uint8Array, code: Uint8Array): string {
    return `${Buffer.from(code).toString('hex')}${Buffer.from(image).toString('latin1')}`;
  }

  begin(): void {}

  load(image: Uint8Array, code: Uint8Array): void {
    this.#image.set(image);
    this.#test = this.#answers.get(Replay.key(image, code));
  }

  step(): StepOutcome {
    const test = this.#test as VectorCase;
    if (test.exception === NO_EXCEPTION) new DataView(this.#image.buffer).setBigUint64(Image.rip, BigInt(Place.start + test.code.length), true);
    applyPatches(this.#image, test.after);
    this.#corrupt(this.#image, test);
    return { exception: test.exception, errorCode: test.errorCode, cr2: test.cr2 };
  }

  read(image: Uint8Array): void {
    image.set(this.#image);
  }
}

async function answersOf(name: string): Promise<(readonly [string, VectorCase])[]> {
  const { file, forms } = await readVectors(captured(name));
  const result: (readonly [string, VectorCase])[] = [];
  for (const form of forms) {
    for (const test of form.cases) {
      const image = file.background.slice();
      applyPatches(image, test.before);
      result.push([Replay.key(image, test.code), test]);
    }
  }
  return result;
}

describe('vector files', () => {
  it('come back from their encoding as they were', () => {
    const background = Uint8Array.from({ length: Image.size }, (_, i) => i & 0xff);
    const test: VectorCase = {
      code: Uint8Array.of(0x48, 1, 0xd8),
      before: [
        { offset: 3, bytes: Uint8Array.of(9, 8) },
        { offset: 9000, bytes: Uint8Array.of(1) },
      ],
      exception: 14,
      errorCode: 6,
      cr2: 0xffff_8000_0000_9fffn,
      after: [{ offset: 0, bytes: new Uint8Array(300).fill(5) }],
      ignore: [{ offset: 840, bytes: new Uint8Array(8) }],
    };
    const cpu = { vendor: 'X', family: 1, model: 2, stepping: 3, name: 'x' };
    const bytes = encodeVectors({ mode: 64, cpu }, background, [
      { name: 'ADD', cases: [test, { ...test, exception: NO_EXCEPTION, errorCode: 0, cr2: 0n }] },
    ]);
    const { file, forms } = decodeVectors(bytes);
    expect(file.background).toEqual(background);
    expect(file.cpu).toEqual(cpu);
    expect([...forms][0]?.cases[0]).toEqual(test);
  });

  it('are refused when they are something else or end early', () => {
    expect(() => decodeVectors(Uint8Array.of(1, 2, 3))).toThrow(VectorError);
    const bytes = encodeVectors({ mode: 64, cpu: { vendor: '', family: 0, model: 0, stepping: 0, name: '' } }, new Uint8Array(Image.size), [
      { name: 'A', cases: [{ code: Uint8Array.of(0x90), before: [], exception: NO_EXCEPTION, errorCode: 0, cr2: 0n, after: [], ignore: [] }] },
    ]);
    expect(() => [...decodeVectors(bytes.subarray(0, bytes.length - 2)).forms]).toThrow(/ends at byte/);
  });

  it('hold what ADD r/m64, r64 must do', async () => {
    const { file, forms } = await readVectors(captured('general-64'));
    const form = [...forms].find(({ name }) => name.startsWith('ADD r/m64, r64'));
    let checked = 0;
    for (const test of form?.cases ?? []) {
      const modrm = test.code[test.code.length - 1];
      const rex = test.code[test.code.length - 3];
      if (test.code.length !== 3 || modrm < 0xc0 || test.code[1] !== 0x01) continue;
      const before = file.background.slice();
      applyPatches(before, test.before);
      const after = before.slice();
      applyPatches(after, test.after);
      const gpr = (image: Uint8Array, index: number): bigint => new DataView(image.buffer).getBigUint64(8 * index, true);
      const destination = (modrm & 7) | ((rex & 1) << 3);
      const source = ((modrm >> 3) & 7) | ((rex & 4) << 1);
      const sum = gpr(before, destination) + gpr(before, source);
      expect(gpr(after, destination)).toBe(BigInt.asUintN(64, sum));
      expect(after[Image.rflags] & 1).toBe(sum >> 64n ? 1 : 0);
      checked++;
    }
    expect(checked).toBeGreaterThan(10);
  });
});

describe('testExecutor', () => {
  it('passes an executor that answers as the CPU did, on every file of a mode', async () => {
    const report = await testExecutor(new Replay(await answersOf('bits-64')), [captured('bits-64')]);
    expect(report.failed).toBe(0);
    expect(report.passed).toBeGreaterThan(3000);
  });

  it('names the register that is wrong', async () => {
    const spoil = (image: Uint8Array): void => {
      image[Image.gpr + 8 * 13 + 2] ^= 0x10;
    };
    const report = await testExecutor(new Replay(await answersOf('bits-64'), spoil), [captured('bits-64')], { every: 25 });
    expect(report.passed).toBe(0);
    expect(report.failures[0]?.differences.join()).toMatch(/R13 is/);
  });

  it('sees a carry flag, a status bit of the x87, and a byte of memory', async () => {
    const count = async (name: string, spoil: (image: Uint8Array) => void, select = (_form: string): boolean => true): Promise<number> =>
      (await testExecutor(new Replay(await answersOf(name), spoil), [captured(name)], { every: 7, select })).passed;
    // Their last place may differ, and with it PE: see toleranceOf.
    const isExact = (form: string): boolean => !/^F(2XM1|YL2X|PATAN|PTAN|SIN|COS)/.test(form);
    expect(
      await count('sse3-64', (image) => {
        image[Image.rflags] ^= 1;
      }),
    ).toBe(0);
    expect(
      await count(
        'x87-32',
        (image) => {
          image[Image.fsw] ^= 0x20;
        },
        isExact,
      ),
    ).toBe(0);
    expect(
      await count('x87-32', (image) => {
        image[Image.fsw] ^= 0x01;
      }),
    ).toBe(0);
    expect(
      await count('sse3-64', (image) => {
        image[Image.size - 1] ^= 1;
      }),
    ).toBe(0);
  });

  it('lets undefined flags be', () => {
    expect(undefinedFlags('SHL', { mnemonic: 'SHL', bits: 32, count: 33 })).toBe(0x10);
    expect(undefinedFlags('SHL', { mnemonic: 'SHL', bits: 32, count: 32 })).toBe(0);
    expect(undefinedFlags('SHR', { mnemonic: 'SHR', bits: 8, count: 9 })).toBe(0x811);
    expect(undefinedFlags('SAR', { mnemonic: 'SAR', bits: 8, count: 9 })).toBe(0x810);
    expect(undefinedFlags('ADC', null)).toBe(0);
  });
});

describe('images and vCPU states', () => {
  it('carry the same registers, for every combination of the arithmetic flags', () => {
    const memory = new Uint8Array(vcpuState.size + 64);
    const image = new Uint8Array(Image.size);
    for (let i = 0; i < Image.memory; i++) image[i] = (i * 37 + 11) & 0xff;
    for (let i = 0; i < 8; i++) image.fill(0, Image.fpr + 16 * i + 10, Image.fpr + 16 * i + 16);
    image.fill(0, 169, 176);
    image.fill(0, Image.vec + 512);
    const view = new DataView(image.buffer);
    for (let bits = 0; bits < 64; bits++) {
      const status = [1, 4, 0x10, 0x40, 0x80, 0x800].reduce((sum, flag, i) => sum | (bits & (1 << i) ? flag : 0), 0);
      view.setBigUint64(Image.rflags, BigInt((KEPT_FLAGS & 0x200600) | status | 2), true);
      imageToVcpu(image, memory, 64);
      const back = new Uint8Array(Image.size);
      vcpuToImage(memory, 64, back);
      expect(differences(image, back)).toEqual([]);
    }
  });
});
