import { createDeterministicRandom } from '@nestvm/cpu';
import { expect, it } from 'vitest';
import { ExitCode, exitCodeName, IntControl, Vmcb } from '../src/index.js';
import { At, Board } from './support/board.js';

const ROUNDS = Number(process.env['SVM_FUZZ'] ?? 10_000);
const APIC = 0x48000;
const PAGE = 0x49000;
const LOGICAL = 0x4a000;
const PHYSICAL = 0x4b000;
/** mov [rbx], eax; mov eax, [rbx]; wrmsr; rdmsr; sti; nop; xchg [rbx], ax; movdqu [rbx], xmm0; hlt */
const GUEST = [0x89, 0x03, 0x8b, 0x03, 0x0f, 0x30, 0x0f, 0x32, 0xfb, 0x90, 0x66, 0x87, 0x03, 0xf3, 0x0f, 0x7f, 0x03, 0xf4];
/** Where a round begins in it. */
const STARTS = [0, 2, 4, 6, 8, 10, 13, 17] as const;

it(`${ROUNDS} random accesses to a virtual APIC with random pages and tables`, { timeout: 30 * 60_000 }, () => {
  const board = new Board();
  const { memory, cpu } = board;
  const random = createDeterministicRandom(Number(process.env['SVM_SEED'] ?? 11));
  const next = (bound: number): number => (random.next() >>> 0) % bound;
  const table = (at: number): void => {
    for (let i = 0; i < 16; i++) {
      // Pages here, anywhere, beyond RAM; valid, running, or neither.
      memory.write32(at + 8 * i, next(3) === 0 ? PAGE + 0x1000 * next(8) : random.next() >>> 0);
      memory.write32(at + 8 * i + 4, next(2) === 0 ? (next(4) << 30) >>> 0 : random.next() >>> 0);
    }
  };
  const seen = new Map<number, number>();
  board.gdt();
  board.code(At.GUEST, ...GUEST);
  board.code(At.HOST, 0x0f, 0x01, 0xd8, 0xf4);
  const vmcb = board.arena.i32.slice(board.v, board.v + 1024);
  const state = cpu.w.slice();
  for (let round = 0; round < ROUNDS; round++) {
    cpu.w.set(state);
    board.svm.context.mmu.reset();
    board.arena.i32.set(vmcb, board.v);
    for (let n = next(24); n > 0; n--) memory.write32(PAGE + 16 * next(256), random.next() >>> 0);
    table(LOGICAL);
    table(PHYSICAL);
    board.set(Vmcb.INT_CONTROL, IntControl.AVIC_ENABLE | (next(2) === 0 ? IntControl.X2AVIC_ENABLE : 0) | (next(2) << 24) | (next(4) << 8));
    board.set(Vmcb.CR4, 0x620);
    board.set(Vmcb.AVIC_BAR, APIC);
    board.set(Vmcb.AVIC_BACKING_PAGE, next(32) === 0 ? random.next() & ~0xfff : PAGE);
    board.set(Vmcb.AVIC_LOGICAL_TABLE, LOGICAL);
    board.set(Vmcb.AVIC_PHYSICAL_TABLE, PHYSICAL | next(16));
    board.set(Vmcb.RIP, At.GUEST + STARTS[next(STARTS.length)]!);
    board.set(Vmcb.RAX, next(4) === 0 ? random.next() : next(0x10_0000) & (next(2) === 0 ? 0xff8ff : -1));
    cpu.setGpr(1, BigInt(next(4) === 0 ? 0x830 : 0x800 + next(64)));
    cpu.setGpr(2, BigInt(next(2) === 0 ? 0 : random.next() >>> 0));
    cpu.setGpr(3, BigInt(APIC + (next(4) === 0 ? next(4096) : next(3) === 0 ? 0x300 : 16 * next(64))));
    cpu.attention = 1;
    board.interpreter.run(14);
    const code = board.get(Vmcb.EXIT_CODE);
    seen.set(code, (seen.get(code) ?? 0) + 1);
    if (code === ExitCode.AVIC_NOACCEL) expect(board.get(Vmcb.EXIT_INFO1) & ~0xff0).toBe(0);
    if (code === ExitCode.AVIC_INCOMPLETE_IPI) expect(board.get(Vmcb.EXIT_INFO2 + 1)).toBeLessThan(5);
  }
  console.info(`virtual APIC accesses: ${ROUNDS} rounds: ${[...seen].map(([code, count]) => `${count} ${exitCodeName(code | 0)}`).join(', ')}`);
  for (const code of [ExitCode.AVIC_NOACCEL, ExitCode.AVIC_INCOMPLETE_IPI, ExitCode.SHUTDOWN, ExitCode.HLT])
    expect(seen.get(code)).toBeGreaterThan(ROUNDS / 500);
});
