import { createDeterministicRandom } from '@nestvm/cpu';
import { GUEST_MODE } from '@nestvm/cpu/extension';
import { expect, it } from 'vitest';
import { ExitCode, exitCodeName, Vmcb } from '../src/index.js';
import { At, Board } from './support/board.js';

/** How many rounds; `SVM_FUZZ=1000000` for the long run. */
const ROUNDS = Number(process.env['SVM_FUZZ'] ?? 10_000);
const TABLES = [At.NESTED, At.NESTED + 0x1000, At.NESTED + 0x2000, At.NESTED + 0x3000] as const;
/** A device, the end of RAM, the end of the first 4 GiB. */
const NOWHERE = [0xfee0_0000, 0x20_0000, 0xffff_f000];
/** A device whose every read gives something else: now and then an entry that leads to a table. */
const NOISE = 0xfeb0_0000;
const NOISE_BYTES = 0x1_0000;
const STILL_RUNNING = -2;
/** cpuid; mov [rsp], eax; hlt */
const GUEST = [0x0f, 0xa2, 0x89, 0x04, 0x24, 0xf4];
/** What that may end with, whatever its nested tables are. */
const ALLOWED = new Set<number>([ExitCode.HLT, ExitCode.NPF, ExitCode.SHUTDOWN, ExitCode.INVALID]);

it.each([
  ['tables that loop, lead to devices or are garbage', false],
  ['roots in devices or in nothing at all', true],
])(`${ROUNDS} guests under nested %s`, { timeout: 60 * 60_000 }, (what, nowhere) => {
  const board = new Board();
  const { memory, cpu } = board;
  const random = createDeterministicRandom(Number(process.env['SVM_SEED'] ?? 13));
  const next = (bound: number): number => (random.next() >>> 0) % bound;
  board.code(At.GUEST, ...GUEST);
  board.code(At.HOST, 0x0f, 0x01, 0xd8, 0xf4);
  const vmcb = board.arena.i32.slice(board.v, board.v + 1024);
  const state = cpu.w.slice();
  const put = (address: number, lo: number, hi = 0): void => {
    memory.write32(address, lo >>> 0);
    memory.write32(address + 4, hi >>> 0);
  };
  const entry = (): [number, number] => {
    const kind = next(10);
    // A table, maybe its own: a loop.
    if (kind < 4) return [TABLES[next(4)]! | 7, 0];
    if (kind < 6) return [0x87, 0];
    if (kind < 7) return [NOWHERE[next(3)]! | 7, 0];
    return [random.next() | (next(2) === 0 ? 7 : 0), next(3) === 0 ? random.next() : 0];
  };
  const read = (): number => (next(2) === 0 ? 0 : next(2) === 0 ? TABLES[next(4)]! | 7 : random.next() >>> 0);
  memory.mmio.claim({ name: 'noise', base: NOISE, size: NOISE_BYTES, read, write: () => {} });
  /** A root that is no RAM: the device, nothing, or anything below 2^40. */
  const misplaced = (): [number, number] => {
    if (next(2) === 0) return [NOISE + 0x1000 * next(NOISE_BYTES >> 12), 0];
    return next(2) === 0 ? [NOWHERE[next(3)]!, 0] : [random.next() & ~0xfff, 1 + next(0xff)];
  };
  const seen = new Map<number, number>();
  for (let round = 0; round < ROUNDS; round++) {
    cpu.w.set(state);
    board.svm.context.mmu.reset();
    board.arena.i32.set(vmcb, board.v);
    TABLES.forEach((table, i) => put(table, i < 2 ? TABLES[i + 1]! | 7 : 0x87));
    for (let n = 1 + next(4); n > 0; n--) put(TABLES[next(4)]! + (next(3) === 0 ? 8 * next(512) : 0), ...entry());
    if (nowhere || next(12) === 0) board.set(Vmcb.NCR3, ...misplaced());
    board.set(Vmcb.EXIT_CODE, STILL_RUNNING);
    cpu.attention = 1;
    board.interpreter.run(40);
    const code = board.get(Vmcb.EXIT_CODE) | 0;
    seen.set(code, (seen.get(code) ?? 0) + 1);
    // Tables that lead the guest to other code may keep it busy.
    expect(ALLOWED.has(code) || (code === STILL_RUNNING && cpu.w[GUEST_MODE] !== 0), `round ${round}: ${exitCodeName(code)}`).toBe(true);
  }
  console.info(`nested ${what}: ${ROUNDS} rounds: ${[...seen].map(([code, count]) => `${count} ${exitCodeName(code)}`).join(', ')}`);
  for (const code of nowhere ? [ExitCode.NPF] : [ExitCode.HLT, ExitCode.NPF]) expect(seen.get(code) ?? 0).toBeGreaterThan(ROUNDS / 100);
});
