import { describe, expect, it } from 'vitest';
import { Activity } from '../src/events/deliver.js';
import { serviceEvents } from '../src/events/service.js';
import { Shadow } from '../src/mode.js';
import { Outcome } from '../src/outcome.js';
import { registerState } from '../src/saved-state.js';
import { ACTIVITY, INTERRUPTIBILITY } from '../src/words.js';
import { At, Board } from './support/board.js';

const UMONITOR_RCX = [0xf3, 0x0f, 0xae, 0xf1];
const UMWAIT_EBX = [0xf2, 0x0f, 0xae, 0xf3];
const TPAUSE_EBX = [0x66, 0x0f, 0xae, 0xf3];
const MONITOR = [0x0f, 0x01, 0xc8];
const MWAIT = [0x0f, 0x01, 0xc9];
const CF = 1;
const TSD = 4n;
const UMWAIT_CONTROL = 0xe1;

/** At a privilege level, with EDX:EAX `ticks` from now and EBX 0. */
function arrange(cpl: 0 | 3 = 3, ticks = 5000): Board {
  const board = new Board().long(cpl);
  board.cpu.setGpr(0, BigInt(board.nowNs + ticks));
  board.cpu.setGpr(2, 0n);
  board.cpu.setGpr(3, 0n);
  board.cpu.setGpr(1, BigInt(At.DATA + 8));
  return board;
}

const waits = (board: Board): boolean => {
  serviceEvents(board.cpu);
  return board.cpu.w[ACTIVITY] === Activity.MWAIT;
};
const carry = (board: Board): number => board.cpu.readRflags() & CF;

describe('TPAUSE', () => {
  it('waits at any privilege level until the TSC reaches EDX:EAX, and clears the arithmetic flags', () => {
    for (const cpl of [0, 3] as const) {
      const board = arrange(cpl);
      board.cpu.writeRflags(0x202 | 0x8d5);
      expect(board.execute(...TPAUSE_EBX)).toBe(Outcome.NEXT);
      expect(waits(board)).toBe(true);
      board.nowNs += 4999;
      expect(waits(board)).toBe(true);
      board.nowNs++;
      expect(waits(board)).toBe(false);
      expect(board.cpu.readRflags() & 0x8d5).toBe(0);
    }
  });

  it('ends with GIF clear too, as KVM uses it before VMRUN', () => {
    const board = arrange(0);
    board.cpu.w[INTERRUPTIBILITY] = Shadow.GIF;
    board.execute(...TPAUSE_EBX);
    board.nowNs += 4999;
    expect(waits(board)).toBe(true);
    board.nowNs++;
    expect(waits(board)).toBe(false);
  });

  it('does not wait for a time that is past', () => {
    const board = arrange(3, 0);
    board.execute(...TPAUSE_EBX);
    expect(waits(board)).toBe(false);
  });

  it('waits no longer than IA32_UMWAIT_CONTROL allows, and says so in CF', () => {
    const board = arrange();
    expect(board.cpu.msrs.write(UMWAIT_CONTROL, 2, 0), 'reserved bit').toBe(false);
    expect(board.cpu.msrs.write(UMWAIT_CONTROL, 0, 1), 'high half').toBe(false);
    expect(board.cpu.msrs.write(UMWAIT_CONTROL, 1001, 0)).toBe(true);
    board.execute(...TPAUSE_EBX);
    board.nowNs += 999;
    expect(waits(board)).toBe(true);
    board.nowNs++;
    expect(waits(board)).toBe(false);
    expect(carry(board)).toBe(CF);
  });

  it('ends at an interrupt, even one that RFLAGS.IF holds back', () => {
    for (const flags of [0x202, 2]) {
      const board = arrange();
      board.longGate(0x30);
      board.cpu.writeRflags(flags);
      board.execute(...TPAUSE_EBX);
      board.interrupts.vector = 0x30;
      expect(waits(board)).toBe(false);
      expect(board.cpu.rip === BigInt(At.HANDLER + 0x300)).toBe(flags !== 2);
    }
  });

  it('faults on reserved bits of its operand, and on CR4.TSD above level 0', () => {
    const board = arrange();
    board.cpu.setGpr(3, 2n);
    expect(board.faults(...TPAUSE_EBX)).toBe('13:0');
    board.cpu.setGpr(3, 1n);
    board.cpu.set64('cr4', board.cpu.get64('cr4') | TSD);
    expect(board.faults(...TPAUSE_EBX)).toBe('13:0');
    expect(board.faults(...UMWAIT_EBX)).toBe('13:0');
  });

  it('tells the clock when it ends, and goes on after a snapshot is loaded', () => {
    const board = arrange();
    const armed: number[] = [];
    Object.assign(board.cpu.clock, { createTimer: () => ({ arm: (ns: number) => armed.push(ns), cancel: () => {} }) });
    board.execute(...TPAUSE_EBX);
    const unit = registerState(board.cpu);
    const saved = unit.save();
    board.nowNs += 5000;
    expect(waits(board)).toBe(false);
    unit.load(saved);
    expect(armed).toEqual([6000, 6000]);
    expect(waits(board), 'the time is over').toBe(false);
    board.nowNs -= 5000;
    unit.load(saved);
    expect(waits(board)).toBe(true);
  });
});

describe('UMONITOR and UMWAIT', () => {
  it('wait for a store to the line', () => {
    const board = arrange();
    expect(board.execute(...UMONITOR_RCX)).toBe(Outcome.NEXT);
    board.execute(...UMWAIT_EBX);
    expect(waits(board)).toBe(true);
    board.memory.write8(At.DATA + 63, 1);
    expect(waits(board)).toBe(false);
    expect(carry(board)).toBe(0);
  });

  it('end by time too', () => {
    const board = arrange();
    board.execute(...UMONITOR_RCX);
    board.execute(...UMWAIT_EBX);
    board.nowNs += 5000;
    expect(waits(board)).toBe(false);
  });

  it('do not wait unless a line is armed by UMONITOR and still unwritten', () => {
    const board = arrange(0);
    board.execute(...UMWAIT_EBX);
    expect(waits(board)).toBe(false);
    board.execute(...UMONITOR_RCX);
    board.memory.write8(At.DATA, 1);
    board.execute(...UMWAIT_EBX);
    expect(waits(board)).toBe(false);
    // MONITOR goes with MWAIT, UMONITOR with UMWAIT.
    board.cpu.setGpr(0, BigInt(At.DATA));
    board.cpu.setGpr(1, 0n);
    board.execute(...MONITOR);
    board.cpu.setGpr(0, BigInt(board.nowNs + 100));
    board.execute(...UMWAIT_EBX);
    expect(waits(board)).toBe(false);
    board.cpu.setGpr(1, BigInt(At.DATA));
    board.execute(...UMONITOR_RCX);
    board.cpu.setGpr(1, 0n);
    board.execute(...MWAIT);
    expect(waits(board)).toBe(false);
  });

  it('UMONITOR faults as a load does', () => {
    const board = arrange();
    board.unmap(At.DATA);
    expect(board.faults(...UMONITOR_RCX)).toBe('14:4');
    board.cpu.setGpr(1, 0x8000_0000_0000n);
    expect(board.faults(...UMONITOR_RCX)).toBe('13:0');
  });
});

it('the registers of a snapshot of version 1 have no deadline', () => {
  const board = arrange();
  const unit = registerState(board.cpu);
  const { waitDeadline: _, ...old } = unit.save() as Record<string, never>;
  unit.load(old);
  expect(board.cpu.get64('waitDeadline')).toBe(0n);
});
