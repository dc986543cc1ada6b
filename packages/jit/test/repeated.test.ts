import { Gpr } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { createBoard } from './support/board.js';

const RAM_BYTES = 24 << 20;
const HLT = 0xf4;
const [FROM, TO] = [4 << 20, 12 << 20];
const MOVSB = [0xf3, 0xa4];
const STOSQ = [0xf3, 0x48, 0xab];
const MOVSD = [0xf3, 0xa5];
const REPE_CMPSB = [0xf3, 0xa6];
const REPE_CMPSD = [0xf3, 0xa7];
const REPE_SCASQ = [0xf3, 0x48, 0xaf];

/** RCX at each stop of one repeated instruction, and the instructions that it counted as; `forget` drops translations again and again. */
function stops(
  instruction: readonly number[],
  { count, from = FROM, to = TO }: { count: number; from?: number; to?: number },
  forget: boolean,
): string[] {
  const { cpu, executor, mmu, register } = createBoard([...instruction, HLT], { ramBytes: RAM_BYTES });
  cpu.setGpr(Gpr.RSI, BigInt(from));
  cpu.setGpr(Gpr.RDI, BigInt(to));
  cpu.setGpr(Gpr.RCX, BigInt(count));
  const found: string[] = [];
  for (;;) {
    if (forget) mmu.flushAll();
    const stop = executor.run(1);
    found.push(`${stop}: ${register('RCX')} left after ${executor.retired}`);
    if (stop !== 'budget') return found;
  }
}

describe('a repeated instruction lets events in at the same elements, whatever the TLB holds', () => {
  it.each([
    ['moves of bytes', MOVSB, { count: 3_000_000 }],
    ['moves between pages that end at different elements', MOVSD, { count: 500_000, from: FROM + 0x124, to: TO + 0xa38 }],
    ['moves of elements that lie on two pages', MOVSD, { count: 300_000, from: FROM + 2, to: TO + 3 }],
    ['a pattern that repeats itself', MOVSB, { count: 600_000, from: TO - 3 }],
    ['stores', STOSQ, { count: 700_000, to: TO + 8 }],
    ['comparisons of bytes', REPE_CMPSB, { count: 3_000_000 }],
    ['comparisons on pages that end at different elements', REPE_CMPSD, { count: 500_000, from: FROM + 0x124, to: TO + 0xa38 }],
    ['comparisons of elements that lie on two pages', REPE_CMPSD, { count: 300_000, from: FROM + 2, to: TO + 3 }],
    ['scans', REPE_SCASQ, { count: 700_000, to: TO + 8 }],
  ])('%s', { timeout: 120_000 }, (_, instruction, operands) => {
    const undisturbed = stops(instruction, operands, false);
    expect(undisturbed.length).toBeGreaterThan(3);
    expect(stops(instruction, operands, true)).toEqual(undisturbed);
  });
});
