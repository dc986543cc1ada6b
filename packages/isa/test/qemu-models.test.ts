import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { type CpuFeature, type CpuidRegister, cpuidFeatureRows, cpuModelNames, cpuSignature, parseCpu } from '../src/models/index.js';

interface QemuModel {
  readonly vendor: string;
  readonly family: number;
  readonly model: number;
  readonly stepping: number;
  readonly level: number;
  readonly xlevel: number;
  readonly 'model-id': string;
  /** `leaf:subleaf:register` → the bits that the model's definition has there. */
  readonly words: Readonly<Record<string, number>>;
}
const file = JSON.parse(readFileSync(new URL('./qemu-models.json', import.meta.url), 'utf8')) as {
  readonly source: string;
  readonly models: Readonly<Record<string, QemuModel>>;
};
const state = { apicId: 0, apicEnabled: true, cr4: 0, xcr0: 1, xss: 0, limitMaximum: false };
const versions = /-v\d+$/;

/** Bits where ours may differ from QEMU's definition, beside features that Nestvm does not have: [word, bit, why]. */
const exceptions: readonly (readonly [word: string, feature: CpuFeature, why: string])[] = [
  ['1:0:edx', 'vme', 'QEMU switches it off for TCG, which lacks it; every one of these processors has it'],
  ['2147483649:0:ecx', 'perfctr-core', 'QEMU announces these counters without pmu=on too, where nothing counts'],
  ['1:0:edx', 'ht', 'says how many threads there are, and is made from -smp'],
];

/** Bits of leaf 1 EDX that leaf 0x80000001 EDX repeats on AMD and Hygon (APM Vol. 3, appendix E): QEMU leaves VME out there, and all of them for Hygon. */
const REPEATED = 0x0183f3ff;

/** Differences of one CPUID word, bit by bit. */
function wordDifferences(name: string, key: string, theirs: number, ours: number): string[] {
  const [leaf, subleaf, register] = key.split(':');
  const out: string[] = [];
  for (let bit = 0; bit < 32; bit++) {
    const row = cpuidFeatureRows.find(([, l, s, r, b]) => l === Number(leaf) && s === Number(subleaf) && r === register && b === bit);
    const [has, should] = [(ours >>> bit) & 1, (theirs >>> bit) & 1];
    if (has === should) continue;
    const allowed = row !== undefined && exceptions.some(([word, feature]) => word === key && feature === row[0]);
    const lacking = row !== undefined && should === 1 && parseCpu(name, undefined, { nested: true }).missing.includes(row[0]);
    const repeated = key === '2147483649:0:edx' && row === undefined && has === 1 && ((REPEATED >>> bit) & 1) === 1;
    if (!allowed && !lacking && !repeated) out.push(`${name} ${key} bit ${bit} (${row?.[0] ?? 'no name'}): QEMU ${should}, ours ${has}`);
  }
  return out;
}

it('every CPU model of QEMU is known, and says of itself what its definition there says, as far as Nestvm has it', () => {
  const differences: string[] = [];
  let bits = 0;
  for (const [name, theirs] of Object.entries(file.models)) {
    const cpu = parseCpu(name, undefined, { nested: true });
    const identity = { vendor: cpu.vendorId, family: cpu.family, model: cpu.model, stepping: cpu.stepping, 'model-id': cpu.modelId };
    for (const [key, value] of Object.entries(identity)) {
      const should = theirs[key as keyof typeof identity];
      if ((typeof should === 'string' ? should.trim() : should) !== value) differences.push(`${name} ${key}: QEMU ${should}, ours ${value}`);
    }
    if (cpu.cpuid(1, 0, state).eax !== cpuSignature(cpu)) differences.push(`${name}: signature`);
    for (const key of ['level', 'xlevel'] as const)
      if (cpu[key] !== theirs[key]) differences.push(`${name} ${key}: QEMU ${theirs[key].toString(16)}, ours ${cpu[key].toString(16)}`);
    for (const [key, word] of Object.entries(theirs.words)) {
      const [leaf, subleaf, register] = key.split(':');
      if (key === '13:0:eax') continue;
      differences.push(...wordDifferences(name, key, word, cpu.cpuid(Number(leaf), Number(subleaf), state)[register as CpuidRegister]));
      bits += 32;
    }
  }
  console.log(
    `CPU models: ${Object.keys(file.models).length} of ${file.source}, ${bits} bits of CPUID, ${differences.length} unexplained differences`,
  );
  expect(differences).toEqual([]);
});

it('has no further names than QEMU and the models that are newer than that version', () => {
  const further = cpuModelNames.filter((name) => !Object.hasOwn(file.models, name) && !versions.test(name));
  expect(further).toEqual(['base', 'EPYC-Genoa', 'host', 'max', 'SapphireRapids']);
});
