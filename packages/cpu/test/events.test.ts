import { Segment } from '@nestvm/isa';
import { Access, createGuestSpace, type Mmu } from '@nestvm/mmu';
import { describe, expect, it } from 'vitest';
import { afterInstruction, beforeInstruction, noteDataAccess } from '../src/events/debug.js';
import { Activity, deliverFault } from '../src/events/deliver.js';
import { serviceEvents } from '../src/events/service.js';
import { updateMode } from '../src/mode.js';
import { Outcome } from '../src/outcome.js';
import { reset } from '../src/reset.js';
import { ACTIVITY, INTERRUPTIBILITY, MODE, SMM } from '../src/words.js';
import { At, Board, Sel } from './support/board.js';

const SINGLE = 0x40;

/** One instruction as the dispatcher runs it: alone when the mode says so, then the events. False when a code breakpoint came first. */
function step(board: Board, ...bytes: number[]): boolean {
  const { cpu } = board;
  const single = (cpu.w[MODE]! & SINGLE) !== 0;
  if (single && !beforeInstruction(cpu)) {
    deliverFault(cpu);
    return false;
  }
  const outcome = board.execute(...bytes);
  if (outcome === Outcome.FAULT) deliverFault(cpu);
  else if (single) afterInstruction(cpu);
  return true;
}

function longBoard(cpl: 0 | 3 = 0): Board {
  const board = new Board().long(cpl);
  for (let vector = 0; vector < 0x40; vector++) board.longGate(vector, { dpl: 3 });
  return board;
}

const vectorTaken = (board: Board): number => (Number(board.cpu.rip) - At.HANDLER) / 16;

describe('events between instructions', () => {
  it('come in the order of the manual: SMI, INIT, debug trap, NMI, interrupt', () => {
    const board = longBoard();
    const { cpu, interrupts } = board;
    interrupts.nmi = true;
    interrupts.vector = 0x30;
    cpu.addPendingDebug(0x4000);
    serviceEvents(cpu);
    expect(vectorTaken(board)).toBe(1);
    expect(cpu.get64('dr', 6) & 0xffffn).toBe(0x4ff0n);
    serviceEvents(cpu);
    expect(vectorTaken(board)).toBe(2);
    expect(serviceEvents(cpu), 'IF is 0 in the handler').toBe(false);
    cpu.writeRflags(0x202);
    serviceEvents(cpu);
    expect(vectorTaken(board)).toBe(0x30);
  });

  it('NMI blocks NMI until IRET', () => {
    const board = longBoard();
    const { cpu, interrupts } = board;
    interrupts.nmi = true;
    serviceEvents(cpu);
    interrupts.nmi = true;
    cpu.rip = 0x1000n;
    expect(serviceEvents(cpu)).toBe(false);
    expect(cpu.get32('pendingEvents')).toBe(1);
    board.execute(0x48, 0xcf);
    expect(serviceEvents(cpu)).toBe(true);
    expect(vectorTaken(board)).toBe(2);
  });

  it('STI holds interrupts off for one instruction', () => {
    const board = longBoard();
    const { cpu, interrupts } = board;
    cpu.writeRflags(2);
    interrupts.vector = 0x30;
    step(board, 0xfb);
    expect(cpu.w[MODE]! & SINGLE).toBe(SINGLE);
    expect(serviceEvents(cpu)).toBe(false);
    step(board, 0xf4);
    expect(cpu.w[INTERRUPTIBILITY]).toBe(0);
    expect(serviceEvents(cpu)).toBe(true);
    expect(vectorTaken(board)).toBe(0x30);
    // The frame returns past HLT.
    expect(board.quads(At.STACK0 - 40, 1)).toEqual([BigInt(At.CODE + 2)]);
    expect(cpu.w[ACTIVITY]).toBe(Activity.ACTIVE);
  });

  it('STI with IF set begins no shadow; a second STI in the shadow does not extend it', () => {
    const board = longBoard();
    step(board, 0xfb);
    expect(board.cpu.w[INTERRUPTIBILITY]).toBe(0);
    board.cpu.writeRflags(2);
    step(board, 0xfb);
    step(board, 0xfb);
    expect(board.cpu.w[INTERRUPTIBILITY]).toBe(0);
  });

  it('MOV SS holds off even NMI and debug traps', () => {
    const board = longBoard();
    const { cpu, interrupts } = board;
    cpu.setGpr(0, BigInt(Sel.DATA0));
    step(board, 0x8e, 0xd0);
    interrupts.nmi = true;
    cpu.addPendingDebug(1);
    expect(serviceEvents(cpu)).toBe(false);
    step(board, 0xfa);
    expect(serviceEvents(cpu)).toBe(true);
    expect(vectorTaken(board)).toBe(1);
  });

  it('HLT sleeps until an interrupt that IF lets through, or an NMI', () => {
    const board = longBoard();
    const { cpu, interrupts } = board;
    cpu.writeRflags(2);
    step(board, 0xf4);
    interrupts.vector = 0x30;
    expect(serviceEvents(cpu)).toBe(false);
    expect(cpu.w[ACTIVITY]).toBe(Activity.HLT);
    interrupts.nmi = true;
    expect(serviceEvents(cpu)).toBe(true);
    expect([cpu.w[ACTIVITY], vectorTaken(board)]).toEqual([Activity.ACTIVE, 2]);
  });

  it('INIT resets the architecture and keeps x87, MSRs and caching bits; SIPI starts an application processor', () => {
    const board = longBoard();
    const { cpu, interrupts } = board;
    cpu.set64('lstar', 0x1234n);
    cpu.set64('cr0', 0xe0050033n);
    interrupts.init = true;
    expect(serviceEvents(cpu)).toBe(true);
    expect([cpu.rip, board.selector(Segment.CS), cpu.get64('cr0'), cpu.get64('lstar')]).toEqual([0xfff0n, 0xf000, 0x60000010n, 0x1234n]);
    cpu.w[ACTIVITY] = Activity.WAIT_FOR_SIPI;
    interrupts.nmi = true;
    expect(serviceEvents(cpu), 'NMI waits').toBe(false);
    interrupts.sipi = 0x9a;
    expect(serviceEvents(cpu)).toBe(true);
    expect([cpu.rip, board.selector(Segment.CS), cpu.get64('segBase', Segment.CS)]).toEqual([0n, 0x9a00, 0x9a000n]);
  });

  it('RESET forgets the translations of every address space, of guest mode too', () => {
    const { cpu, memory } = longBoard();
    const mmu = cpu.mmu as Mmu;
    const space = { ...createGuestSpace(), tag: 3 };
    const read = (): number => {
      mmu.enterGuest(space);
      expect(mmu.translate(At.DATA, 0, Access.READ, false)).toBe(true);
      mmu.leaveGuest();
      return mmu.physical;
    };
    const before = read();
    const registers = cpu.w.slice();
    const leaf = mmu.shadow(At.DATA, 0).steps.at(-1)!;
    memory.write32(leaf.address, Number(leaf.entry & 0xffff_ffffn) ^ 0x20_0000);
    reset(cpu);
    cpu.w.set(registers);
    expect(read()).toBe(before ^ 0x20_0000);
  });

  it('MWAIT waits for the line that MONITOR armed', () => {
    const board = longBoard();
    const { cpu } = board;
    cpu.setGpr(0, BigInt(At.DATA + 4));
    cpu.setGpr(1, 0n);
    step(board, 0x0f, 0x01, 0xc8);
    step(board, 0x0f, 0x01, 0xc9);
    expect(cpu.w[ACTIVITY]).toBe(Activity.MWAIT);
    expect(serviceEvents(cpu)).toBe(false);
    expect(cpu.attention, 'looks again').toBe(1);
    board.view.setUint8(At.DATA + 63, 1);
    serviceEvents(cpu);
    expect(cpu.w[ACTIVITY]).toBe(Activity.ACTIVE);
    step(board, 0x0f, 0x01, 0xc9);
    expect(cpu.w[ACTIVITY], 'not armed: no wait').toBe(Activity.ACTIVE);
  });

  it('MWAIT with ECX = 1 ends for an interrupt that IF masks', () => {
    const board = longBoard();
    const { cpu, interrupts } = board;
    cpu.writeRflags(2);
    cpu.setGpr(0, BigInt(At.DATA));
    cpu.setGpr(1, 0n);
    step(board, 0x0f, 0x01, 0xc8);
    cpu.setGpr(1, 1n);
    step(board, 0x0f, 0x01, 0xc9);
    interrupts.vector = 0x30;
    serviceEvents(cpu);
    expect([cpu.w[ACTIVITY], interrupts.vector]).toEqual([Activity.ACTIVE, 0x30]);
  });
});

describe('debugging', () => {
  it('TF traps after each instruction, and the handler runs without it', () => {
    const board = longBoard(3);
    const { cpu } = board;
    cpu.writeRflags(0x302);
    updateMode(cpu);
    step(board, 0xf3, 0x90);
    expect(serviceEvents(cpu)).toBe(true);
    expect(vectorTaken(board)).toBe(1);
    expect(cpu.get64('dr', 6) & 0xf00fn).toBe(0x4000n);
    expect(board.quads(At.STACK0 - 40, 3)).toEqual([BigInt(At.CODE + 2), BigInt(Sel.LONG3), 0x302n]);
    expect(cpu.w[MODE]! & SINGLE).toBe(0);
  });

  it('POPF that sets TF traps after the next instruction; INT n drops the trap', () => {
    const board = longBoard();
    const { cpu } = board;
    board.view.setBigUint64(At.STACK0, 0x302n, true);
    step(board, 0x9d);
    expect(serviceEvents(cpu)).toBe(false);
    step(board, 0xcd, 0x21);
    expect(serviceEvents(cpu)).toBe(false);
    expect(vectorTaken(board)).toBe(0x21);
  });

  it('SYSCALL with TF masked does not trap', () => {
    const board = longBoard(3);
    const { cpu } = board;
    cpu.set64('star', BigInt(Sel.LONG0) << 32n);
    cpu.set64('lstar', 0x1000n);
    cpu.set64('fmask', 0x100n);
    cpu.writeRflags(0x102);
    updateMode(cpu);
    step(board, 0x0f, 0x05);
    expect(serviceEvents(cpu)).toBe(false);
  });

  it('a code breakpoint is a fault before the instruction; RF passes it once', () => {
    const board = longBoard();
    const { cpu } = board;
    cpu.set64('dr', BigInt(At.CODE), 0);
    cpu.setGpr(0, 0x401n);
    board.execute(0x0f, 0x23, 0xf8);
    cpu.rip = BigInt(At.CODE);
    expect(cpu.w[MODE]! & SINGLE).toBe(SINGLE);
    expect(step(board, 0xf3, 0x90)).toBe(false);
    expect(vectorTaken(board)).toBe(1);
    expect(cpu.get64('dr', 6) & 0xfn).toBe(1n);
    expect(board.quads(At.STACK0 - 40, 1)).toEqual([BigInt(At.CODE)]);
    // The handler returns with RF set in the image.
    board.view.setBigUint64(At.STACK0 - 24, 0x10202n, true);
    step(board, 0x48, 0xcf);
    expect(cpu.rip).toBe(BigInt(At.CODE));
    expect(step(board, 0xf3, 0x90)).toBe(true);
    expect(cpu.readRflags() & 0x10000).toBe(0);
    cpu.rip = BigInt(At.CODE);
    expect(step(board, 0xf3, 0x90), 'armed again').toBe(false);
  });

  it('data breakpoints match by overlap, length and kind', () => {
    const board = longBoard();
    const { cpu } = board;
    cpu.set64('dr', 0x1004n, 1);
    // L1, R/W1 = write, LEN1 = 4 bytes.
    cpu.setGpr(0, BigInt(0x404 | (0b1101 << 20)));
    board.execute(0x0f, 0x23, 0xf8);
    noteDataAccess(cpu, 0x1007, 0, 1, false);
    expect(cpu.get32('pendingDebug'), 'read').toBe(0);
    noteDataAccess(cpu, 0x1008, 0, 4, true);
    noteDataAccess(cpu, 0x1000, 0, 4, true);
    noteDataAccess(cpu, 0x1004, 1, 4, true);
    expect(cpu.get32('pendingDebug')).toBe(0);
    noteDataAccess(cpu, 0x1000, 0, 8, true);
    expect(cpu.get32('pendingDebug')).toBe(2);
  });

  it('GD guards the debug registers', () => {
    const board = longBoard();
    const { cpu } = board;
    cpu.setGpr(0, 0x2400n);
    board.execute(0x0f, 0x23, 0xf8);
    expect(board.faults(0x0f, 0x21, 0xc0)).toBe('1');
    deliverFault(cpu);
    expect(cpu.get64('dr', 6) & 0x2000n).toBe(0x2000n);
    expect(cpu.get64('dr', 7) & 0x2000n, 'cleared for the handler').toBe(0n);
  });

  it('DR4 and DR5 are DR6 and DR7 unless CR4.DE; upper halves of DR6 and DR7 must be zero', () => {
    const board = longBoard();
    const { cpu } = board;
    board.execute(0x0f, 0x21, 0xe0);
    expect(cpu.gpr(0)).toBe(0xffff0ff0n);
    cpu.set64('cr4', 0x6a8n);
    expect(board.faults(0x0f, 0x21, 0xe0)).toBe('6');
    cpu.setGpr(0, 1n << 32n);
    expect(board.faults(0x0f, 0x23, 0xf8)).toBe('13:0');
    expect(board.faults(0x0f, 0x23, 0xf0)).toBe('13:0');
    expect(new Board().long(3).faults(0x0f, 0x21, 0xc0)).toBe('13:0');
  });
});

describe('system-management mode', () => {
  it('saves everything, and RSM gives it back', () => {
    const board = longBoard(3);
    const { cpu, interrupts } = board;
    for (let i = 0; i < 16; i++) if (i !== 4) cpu.setGpr(i, 0x1111111111111111n * BigInt(i));
    cpu.set64('smbase', 0x60000n);
    cpu.writeRflags(0x3ed7);
    updateMode(cpu);
    const before = cpu.b.slice();
    interrupts.smi = true;
    expect(serviceEvents(cpu)).toBe(true);
    expect([cpu.w[SMM], cpu.rip, cpu.get64('segBase', Segment.CS), cpu.get64('cr0') & 0x80000001n]).toEqual([1, 0x8000n, 0x60000n, 0n]);
    expect(board.view.getBigUint64(0x6fe00 + 0x178, true)).toBe(BigInt(At.CODE));
    interrupts.smi = true;
    expect(serviceEvents(cpu), 'SMI waits in SMM').toBe(false);
    cpu.set32('pendingEvents', 0);
    expect(board.execute(0x0f, 0xaa)).toBe(Outcome.JUMPED);
    expect(cpu.readRflags()).toBe(0x3ed7);
    // Lazy flags may be another representation of the same: compare the rest.
    cpu.writeRflags(0);
    const after = cpu.b.slice();
    cpu.b.set(before);
    cpu.writeRflags(0);
    expect(Buffer.compare(after, cpu.b.slice()), 'state before and after').toBe(0);
    expect(board.platform).toEqual(['smm-enter', 'smm-leave']);
  });

  it('RSM is #UD elsewhere', () => {
    expect(longBoard().faults(0x0f, 0xaa)).toBe('6');
  });
});
