import { vcpuState } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { LENT } from '../support/marked-engine.js';
import { excusedFlags } from './exceptions.js';
import { type Form, forms } from './forms.js';
import { CPU, DATA, DATA_BYTES, EvaluatingMachine, WasmMachine } from './machines.js';
import { randomState, randomStream, readFlags, writeFlags } from './random-state.js';
import { type DocumentedFlags, documentedFlags } from './witness.js';

const { offset } = vcpuState;
const BATCH = 200;
const ARITHMETIC = 0x8d5;
const rounds = process.env.NESTVM_VECTORS === 'full' ? 20 : 2;

const batches = Array.from({ length: Math.ceil(forms.length / BATCH) }, (_, i) => forms.slice(i * BATCH, (i + 1) * BATCH));

const compiled: WasmMachine[] = [];
const machineOf = (batch: number): WasmMachine => (compiled[batch] ??= new WasmMachine(batches[batch]!));

/** What of a memory counts: all but scratch, and but the lazy flags where `flags` says so. */
function visible(memory: ArrayBuffer, flags: boolean): Uint8Array {
  const bytes = new Uint8Array(memory.slice(CPU, DATA + DATA_BYTES + 64));
  bytes.fill(0, offset.scratch, offset.scratch + 64);
  bytes.fill(0, LENT, LENT + 512);
  if (!flags) bytes.fill(0, offset.flagResult, offset.flagAux + 4);
  return bytes;
}

/** Offset of the first difference, or -1. */
function difference(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return i;
  return -1;
}

const left = (log: readonly string[], how: string): boolean => log.some((line) => line.startsWith(how));

describe('every row in every form', () => {
  it('means the same statement by statement and as WebAssembly', { timeout: 900_000 }, () => {
    const next = randomStream(1);
    const wrong: string[] = [];
    let runs = 0;
    for (const [i, batch] of batches.entries()) {
      const [wasm, plain] = [machineOf(i), new EvaluatingMachine()];
      for (const form of batch) {
        randomState(wasm.memory, form, next);
        new Uint8Array(plain.memory).set(new Uint8Array(wasm.memory));
        const immediate = BigInt(next() & 0xff);
        const [a, b] = [wasm.run(form, immediate), plain.run(form, immediate)];
        runs++;
        const at = difference(visible(wasm.memory, true), visible(plain.memory, true));
        if (at >= 0 || a.join() !== b.join()) wrong.push(`${form.name}: at ${at}, ${a.join()} or ${b.join()}`);
      }
    }
    expect(wrong).toEqual([]);
    console.log(`evaluation: ${runs} runs of ${forms.length} forms agree`);
  });

  it('changes nothing when it faults, and flags only as documented', { timeout: 900_000 }, () => {
    const next = randomStream(2);
    const wrong = new Set<string>();
    const count = { runs: 0, faults: 0, unknown: 0 };
    for (const [i, batch] of batches.entries()) {
      const wasm = machineOf(i);
      for (const form of batch) {
        const documented = documentedFlags(form);
        if (documented === null) count.unknown++;
        for (let round = 0; round < rounds; round++) {
          count.runs++;
          for (const complaint of complaints(wasm, form, documented, next, count)) {
            const exception = excusedFlags.find((e) => e.mnemonic.test(form.row.mnemonic) && e.complaint.test(complaint));
            if (!exception) wrong.add(`${form.name}: ${complaint}`);
          }
        }
      }
    }
    expect([...wrong]).toEqual([]);
    expect(count.faults).toBeGreaterThan(100 * rounds);
    expect(count.unknown).toBeLessThan(forms.length / 50);
    console.log(`flags: ${count.runs} runs, ${count.faults} of them with faults; ${count.unknown} forms without a witness`);
  });
});

function complaints(wasm: WasmMachine, form: Form, documented: DocumentedFlags | null, next: () => number, count: { faults: number }): string[] {
  const view = new DataView(wasm.memory);
  randomState(wasm.memory, form, next);
  const before = wasm.memory.slice(0);
  const flagsBefore = readFlags(view);
  const immediate = BigInt(next() & 0xff);
  const log = wasm.run(form, immediate);
  if (left(log, 'trap')) return ['trap'];
  if (left(log, 'flow.system')) return [];
  if (left(log, 'guest.fault')) {
    count.faults++;
    // #XM leaves its cause in MXCSR.
    if (left(log, 'guest.fault 19')) view.setUint32(CPU + offset.mxcsr, new DataView(before).getUint32(CPU + offset.mxcsr, true), true);
    const at = difference(visible(wasm.memory, true), visible(before, true));
    return at < 0 ? [] : [`${log.join()} with a change at ${at}`];
  }
  if (documented === null) return [];
  return flagComplaints(wasm, form, documented, { before, flagsBefore, immediate });
}

function flagComplaints(
  wasm: WasmMachine,
  form: Form,
  { read, modified, cleared, set }: DocumentedFlags,
  { before, flagsBefore, immediate }: { before: ArrayBuffer; flagsBefore: number; immediate: bigint },
): string[] {
  const view = new DataView(wasm.memory);
  const flags = readFlags(view);
  const result = visible(wasm.memory, false);
  const wrong: string[] = [];
  const say = (what: string, bits: number): void => void (bits !== 0 && wrong.push(`${what} 0x${bits.toString(16)}`));
  say('changes flags', (flags ^ flagsBefore) & ARITHMETIC & ~modified);
  say('does not clear', flags & cleared);
  say('does not set', ~flags & set);
  // Flags that it does not read may not matter.
  new Uint8Array(wasm.memory).set(new Uint8Array(before));
  writeFlags(view, flagsBefore ^ (ARITHMETIC & ~read));
  wasm.run(form, immediate);
  if (difference(result, visible(wasm.memory, false)) >= 0) wrong.push('depends on flags that it does not read');
  return wrong;
}
