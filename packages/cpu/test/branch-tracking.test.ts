import { CetControl, Mode } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { deliverInterrupt } from '../src/events/deliver.js';
import { updateMode } from '../src/mode.js';
import { EventKind } from '../src/ports/virtualization.js';
import { MODE } from '../src/words.js';
import { At, Board, Sel } from './support/board.js';
import { run, Shadow, TRACKING, taken, turnOn } from './support/cet.js';

const ENDBR64 = [0xf3, 0x0f, 0x1e, 0xfa];
const ENDBR32 = [0xf3, 0x0f, 0x1e, 0xfb];
const HLT = 0xf4;
const NOP = 0x90;
const INT3 = 0xcc;
const JMP_RAX = [0xff, 0xe0];
const CALL_RAX = [0xff, 0xd0];
const NOTRACK_JMP_RAX = [0x3e, 0xff, 0xe0];
const TARGET = At.CODE + 0x100;

/** Runs `branch` at level 0 with RAX at `target`'s code. */
function branches(branch: readonly number[], target: readonly number[], control = TRACKING): Board {
  const board = turnOn(new Board().long(0), 0, control);
  board.cpu.setGpr(0, BigInt(TARGET));
  board.memory.write(TARGET, Uint8Array.from(target));
  return run(board, branch);
}

const waits = (board: Board): boolean => (board.cpu.get64('sCet') & BigInt(CetControl.TRACKER)) !== 0n;
/** Whether it halted behind the target's ENDBRANCH. */
const arrived = (board: Board): boolean => board.cpu.rip === BigInt(TARGET + 5);

describe('indirect branch tracking', () => {
  it('lets JMP and CALL arrive at ENDBR64, and is idle again', () => {
    for (const branch of [JMP_RAX, CALL_RAX]) {
      const board = branches(branch, [...ENDBR64, HLT]);
      expect([arrived(board), waits(board)]).toEqual([true, false]);
    }
  });

  it('CALL pushes its return address as ever', () => {
    const board = branches(CALL_RAX, [...ENDBR64, HLT]);
    expect(board.quads(At.STACK0 - 8, 1)).toEqual([BigInt(At.CODE + 2)]);
  });

  it('raises #CP(ENDBRANCH) at anything else, with RIP there', () => {
    for (const target of [
      [NOP, HLT],
      [...ENDBR32, HLT],
      [0x0f, 0xff],
      [0x0f, 0x04],
    ]) {
      const board = branches(JMP_RAX, target);
      expect(taken(board)).toBe('21:3');
      expect(board.quads(Number(board.cpu.gpr(4)) + 8, 1)).toEqual([BigInt(TARGET)]);
    }
  });

  it('raises it at bytes on two pages that are no instruction, too', () => {
    const board = turnOn(new Board().long(0), 0, TRACKING);
    const end = (TARGET | 0xfff) + 1;
    board.cpu.setGpr(0, BigInt(end - 1));
    board.memory.write(end - 1, Uint8Array.of(0x0f, 0x04));
    expect(taken(run(board, JMP_RAX))).toBe('21:3');
  });

  it('lets INT3 through, which is what debuggers put over an ENDBR64', () => {
    expect(taken(branches(JMP_RAX, [INT3]))).toBe('3');
  });

  it('takes no notice of direct branches, of returns, or of NOTRACK where that is enabled', () => {
    expect(branches([0xe9, 0xfb, 0, 0, 0], [NOP, HLT]).cpu.rip).toBe(BigInt(TARGET + 2));
    expect(branches([0x50, 0xc3], [NOP, HLT]).cpu.rip).toBe(BigInt(TARGET + 2)); // push rax; ret
    expect(branches(NOTRACK_JMP_RAX, [NOP, HLT], TRACKING | CetControl.NO_TRACK_EN).cpu.rip).toBe(BigInt(TARGET + 2));
    expect(taken(branches(NOTRACK_JMP_RAX, [NOP, HLT]))).toBe('21:3');
    // Only the last segment prefix counts.
    expect(taken(branches([0x3e, 0x65, ...JMP_RAX], [NOP, HLT], TRACKING | CetControl.NO_TRACK_EN))).toBe('21:3');
  });

  it('is off where ENDBR_EN or CR4.CET is clear, and while it is suppressed', () => {
    expect(branches(JMP_RAX, [NOP, HLT], 0).cpu.rip).toBe(BigInt(TARGET + 2));
    expect(branches(JMP_RAX, [NOP, HLT], TRACKING | CetControl.SUPPRESS).cpu.rip).toBe(BigInt(TARGET + 2));
    // An ENDBR64 ends the suppression.
    expect(taken(branches([...ENDBR64, ...JMP_RAX], [NOP, HLT], TRACKING | CetControl.SUPPRESS))).toBe('21:3');
  });

  it('begins legacy code where the bitmap says so, suppressed from there on', () => {
    const legacy = TRACKING | CetControl.LEG_IW_EN | Shadow.TABLE;
    const bitmap = (board: Board): Board => {
      board.view.setUint8(Shadow.TABLE + (TARGET >>> 15), 1 << ((TARGET >>> 12) & 7));
      board.cpu.setGpr(0, BigInt(TARGET));
      board.memory.write(TARGET, Uint8Array.of(NOP, HLT));
      return run(board, JMP_RAX);
    };
    const board = bitmap(turnOn(new Board().long(0), 0, legacy));
    expect([board.cpu.rip, board.cpu.get64('sCet')]).toEqual([BigInt(TARGET + 2), BigInt(legacy | CetControl.SUPPRESS)]);
    const kept = bitmap(turnOn(new Board().long(0), 0, legacy | CetControl.SUPPRESS_DIS));
    expect(kept.cpu.get64('sCet')).toBe(BigInt(legacy | CetControl.SUPPRESS_DIS));
    // Another page of code is not legacy.
    expect(taken(branches(JMP_RAX, [NOP, HLT], legacy))).toBe('21:3');
  });

  it('32-bit code wants ENDBR32', () => {
    const start = (target: readonly number[]): Board => {
      const board = turnOn(new Board().long(0, true), 0, TRACKING);
      board.cpu.setGpr(0, BigInt(TARGET));
      board.memory.write(TARGET, Uint8Array.from(target));
      return run(board, JMP_RAX);
    };
    expect(arrived(start([...ENDBR32, HLT]))).toBe(true);
    expect(taken(start([...ENDBR64, HLT]))).toBe('21:3');
  });
});

describe('tracking across privilege levels', () => {
  it('an event makes the handler begin with ENDBR64, and keeps the user’s state apart', () => {
    const board = turnOn(new Board().long(3), TRACKING | CetControl.TRACKER, TRACKING | CetControl.SUPPRESS);
    board.longGate(0x30);
    deliverInterrupt(board.cpu, 0x30, EventKind.INTERRUPT);
    expect(board.cpu.get64('uCet')).toBe(BigInt(TRACKING | CetControl.TRACKER));
    expect(board.cpu.get64('sCet')).toBe(BigInt(TRACKING | CetControl.TRACKER));
    expect(board.cpu.w[MODE]! & (Mode.IBT | Mode.ENDBRANCH)).toBe(Mode.IBT | Mode.ENDBRANCH);
    // IRETQ finds the user where it was.
    board.execute(0x48, 0xcf);
    expect(board.cpu.w[MODE]! & Mode.ENDBRANCH).toBe(Mode.ENDBRANCH);
    expect(board.cpu.get64('uCet')).toBe(BigInt(TRACKING | CetControl.TRACKER));
  });

  it('SYSCALL and far transfers want one too; SYSRET and RETF do not', () => {
    const board = turnOn(new Board().long(3), TRACKING, TRACKING);
    board.cpu.set64('star', 0x0020_0028n << 32n);
    board.cpu.set64('lstar', BigInt(TARGET));
    board.execute(0x0f, 0x05);
    expect(waits(board)).toBe(true);
    const far = turnOn(new Board().long(0), 0, TRACKING);
    far.view.setBigUint64(At.DATA, BigInt(TARGET), true);
    far.view.setUint16(At.DATA + 8, Sel.LONG0, true);
    far.cpu.setGpr(0, BigInt(At.DATA));
    far.execute(0x48, 0xff, 0x18);
    expect(waits(far)).toBe(true);
    far.cpu.set64('sCet', BigInt(TRACKING));
    updateMode(far.cpu);
    far.execute(0x48, 0xcb);
    expect([waits(far), far.cpu.rip]).toEqual([false, BigInt(At.CODE + 3)]);
  });
});
