import { updateMode } from '@nestvm/cpu';
import { BoundConfig, Cr4, Mode, vcpuState, Xstate } from '@nestvm/isa';
import { expect, it } from 'vitest';
import { attachJit } from '../src/index.js';
import { At, type Board, createBoard } from './support/board.js';

/**
 * mov ecx, 3000; again: bndmk bnd0, [rbx+15]; bnd call f; bndmov bnd1, bnd0; bndmov [rsp-64], bnd1; call f; add rsi, rbx; dec ecx; jnz again; hlt; f: add rbx, 1; bnd ret.
 * Each turn there are bounds, which the second call forgets.
 */
const PROGRAM = [
  0xb9, 0xb8, 0x0b, 0, 0, 0xf3, 0x0f, 0x1b, 0x43, 0x0f, 0xf2, 0xe8, 0x17, 0, 0, 0, 0x66, 0x0f, 0x1a, 0xc8, 0x66, 0x0f, 0x1b, 0x4c, 0x24, 0xc0, 0xe8,
  8, 0, 0, 0, 0x48, 0x01, 0xde, 0xff, 0xc9, 0x75, 0xdf, 0xf4, 0x48, 0x83, 0xc3, 0x01, 0xf2, 0xc3,
];
const KEPT = At.STACK - 64;

function arrange(on: boolean): Board {
  const board = createBoard(PROGRAM, { model: 'max,mpx=on' });
  const { cpu } = board;
  cpu.set64('cr4', cpu.get64('cr4') | BigInt(Cr4.OSXSAVE));
  cpu.set64('xcr0', BigInt(Xstate.X87 | Xstate.BNDREGS | Xstate.BNDCSR));
  cpu.set64('bndCfgS', BigInt(on ? BoundConfig.EN : 0));
  updateMode(cpu);
  return board;
}

it.each([
  ['on', true],
  ['off', false],
])('compiled or not, bounds are kept and forgotten as written: MPX %s', (_name, on) => {
  const boards = [arrange(on), arrange(on)] as const;
  const jit = attachJit(boards[1].engine, { threshold: 2 });
  for (const { cpu, executor, memory } of boards) {
    expect(executor.run(100_000)).toBe('idle');
    expect([cpu.gpr(3) & 0xffffn, cpu.get64('bounds', 2), memory.read32(KEPT)]).toEqual([6000n, 0n, on ? 5998 : 0]);
    expect(cpu.w[vcpuState.offset.mode / 4]! & (Mode.MPX | Mode.BOUNDS)).toBe(on ? Mode.MPX : 0);
  }
  expect(boards[0].register('RSI')).toBe(boards[1].register('RSI'));
  expect(jit.counters.regions).toBeGreaterThan(0);
});
