import { updateMode } from '@nestvm/cpu';
import { describe, expect, it } from 'vitest';
import { CODE, realMode as machineOf } from './support/real-mode.js';

const COUNTER = 0x3000;

/** pushf; pop ax; or ah, 1; push ax; popf, then the instruction under test, then HLT. */
const stepping = (...instruction: number[]): number[] => [0x9c, 0x58, 0x80, 0xcc, 0x01, 0x50, 0x9d, ...instruction, 0xf4];
const FIRST = CODE + 7;

/**
 * inc word [COUNTER]; push bp; mov bp, sp; push ax; mov ax, [bp+2]; mov [COUNTER+2], ax; cmp ax, FIRST; je past; and byte [bp+7], 0xfe; past: pop ax; pop bp; iret:
 * stepping ends behind the instruction.
 */
const HANDLER_CODE = [
  [0xff, 0x06, 0x00, 0x30, 0x55, 0x89, 0xe5, 0x50, 0x8b, 0x46, 0x02, 0xa3, 0x02, 0x30],
  [0x3d, FIRST & 0xff, FIRST >> 8, 0x74, 0x04, 0x80, 0x66, 0x07, 0xfe, 0x58, 0x5d, 0xcf],
].flat();

const realMode = (code: readonly number[]) => machineOf(code, HANDLER_CODE);

describe('single-stepping a repeated string instruction', () => {
  it('traps after each iteration, with IP at the instruction until the last', () => {
    const machine = realMode(stepping(0xf3, 0xa4));
    const { cpu } = machine;
    cpu.setGpr(1, 5n);
    cpu.setGpr(6, 0x4000n);
    cpu.setGpr(7, 0x5000n);
    machine.run();
    expect(machine.word(COUNTER)).toBe(5);
    expect(machine.word(COUNTER + 2)).toBe(FIRST + 2);
    expect(cpu.gpr(1)).toBe(0n);
    expect(cpu.gpr(7)).toBe(0x5005n);
  });

  it('traps once when the count is zero', () => {
    const machine = realMode(stepping(0xf3, 0xaa));
    machine.cpu.setGpr(1, 0n);
    machine.run();
    expect(machine.word(COUNTER)).toBe(1);
  });

  it('stops with REPE CMPS where the strings differ', () => {
    const machine = realMode(stepping(0xf3, 0xa6));
    const { cpu } = machine;
    cpu.setGpr(1, 9n);
    cpu.setGpr(6, 0x4000n);
    cpu.setGpr(7, 0x1000n);
    machine.run();
    expect(machine.word(COUNTER)).toBe(1);
    expect(cpu.gpr(1)).toBe(8n);
  });

  it('traps for each iteration of REP OUTS', () => {
    const machine = realMode(stepping(0xf3, 0x6e));
    machine.cpu.setGpr(1, 4n);
    machine.cpu.setGpr(6, 0x4000n);
    machine.cpu.setGpr(2, 0x80n);
    machine.run();
    expect(machine.word(COUNTER)).toBe(4);
    expect(machine.cpu.gpr(1)).toBe(0n);
  });
});

describe('a repeated string instruction under RF', () => {
  // As behind a page fault or an EPT violation, which is where the time of a guest that touches its memory for the first time would go.
  it('is not stepped through: nothing traps between its elements', () => {
    const machine = machineOf([0xf3, 0xaa, 0xf4], []);
    const { cpu } = machine;
    cpu.setGpr(0, 0x5an);
    cpu.setGpr(1, 0x1000n);
    cpu.setGpr(7, 0x5000n);
    cpu.set32('rflags', 0x10002);
    updateMode(cpu);
    expect(machine.runFor(100)).toBe('idle');
    expect(machine.word(0x5ffe)).toBe(0x5a5a);
    expect(cpu.get32('rflags') & 0x10000, 'RF ends with the instruction').toBe(0);
  });
});
