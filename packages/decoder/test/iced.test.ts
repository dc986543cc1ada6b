import { opcodeRows } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import type { Space } from './byte-strings.js';
import { randomBytes, sweepBytes } from './byte-strings.js';
import { deviationCounts } from './deviations.js';
import type { WitnessReport } from './run.js';
import { formatReport, runWitness } from './run.js';
import { type Bits, NEWER } from './witness.js';

const MODES: readonly Bits[] = [16, 32, 64];
/** Every how many strings of each space, odd so that all ModRM values are met; `pnpm sweep` takes them all. */
const EVERY: Record<Space, Record<Bits, number>> = {
  legacy: { 16: 3, 32: 3, 64: 9 },
  vex: { 16: 61, 32: 41, 64: 37 },
  evex: { 16: 101, 32: 61, 64: 27 },
};
const RANDOM = 1_000_000;
const met = new Set<number>();

function check(name: string, report: WitnessReport): void {
  console.log(formatReport(name, report));
  for (const id of report.rows) met.add(id);
  expect(Object.fromEntries(report.differences)).toEqual({});
}

describe('iced-x86 agrees on validity, length, mnemonic, operands and text', () => {
  for (const bits of MODES) {
    for (const space of ['legacy', 'vex', 'evex'] as const) {
      it(`sweep of ${space}, ${bits}-bit`, { timeout: 900_000 }, () => {
        check(`${space} ${bits}`, runWitness(sweepBytes(bits, space, EVERY[space][bits]), bits, { textEvery: 61 }));
      });
    }
    it(`random strings, ${bits}-bit`, { timeout: 900_000 }, () => {
      check(`random ${bits}`, runWitness(randomBytes(RANDOM, 0x2545f491 + bits), bits, { textEvery: 31 }));
    });
  }

  it('meets every opcode row', () => {
    expect(
      opcodeRows
        .filter((row) => !met.has(row.id) && !NEWER.has(row.features[0]!))
        .map((row) => `${row.mnemonic} ${row.encoding} ${row.code.opcode.toString(16)}`),
    ).toEqual([]);
    console.log(`deviations used: ${[...deviationCounts].map(([id, count]) => `${id} ${count}`).join(', ')}`);
  });
});
