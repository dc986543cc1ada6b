import { CetControl, Segment } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { deliverInterrupt } from '../src/events/deliver.js';
import { Outcome } from '../src/outcome.js';
import { EventKind } from '../src/ports/virtualization.js';
import { CPL } from '../src/words.js';
import { At, Board, Sel } from './support/board.js';
import { Shadow, STACKS, TRACKING, turnOn } from './support/cet.js';

const CALL = [0xff, 0x18];
const IRET = [0xcf];
const OLD = Shadow.SUPERVISOR + 0x800;
/** Token of the shadow stack that the new task's TSS names. */
const NEW = Shadow.INTERRUPT + 0xff8;
const TASK_IP = 0x7777;

/** A board in 32-bit protected mode without paging, where a shadow stack may be anywhere, and a task to switch to. */
function prepared(control: number, cpl: 0 | 3 = 0): Board {
  const board = new Board().protect(cpl);
  board.descriptor(Sel.TSS2, { type: 9, system: true, base: At.TSS2, limit: 0x6b });
  const put = (offset: number, value: number): void => board.view.setUint32(At.TSS2 + offset, value, true);
  put(0x20, TASK_IP);
  put(0x24, 2);
  put(0x38, At.STACK0 - 0x100);
  [Sel.DATA0, Sel.CODE0, Sel.DATA0, Sel.DATA0, 0, 0].forEach((value, i) => put(0x48 + 4 * i, value));
  put(0x68, NEW);
  board.view.setBigUint64(NEW, BigInt(NEW), true);
  board.view.setUint16(At.DATA + 4, Sel.TSS2, true);
  board.cpu.setGpr(0, BigInt(At.DATA));
  board.cpu.set64('ssp', BigInt(OLD));
  board.cpu.set64('plSsp', BigInt(Shadow.SUPERVISOR + 0xff8), 0);
  board.view.setBigUint64(Shadow.SUPERVISOR + 0xff8, BigInt(Shadow.SUPERVISOR + 0xff8), true);
  return turnOn(board, control, control);
}

const ssp = (board: Board): number => Number(board.cpu.get64('ssp'));

describe('task switches with shadow stacks', () => {
  it('CALL takes the stack that the TSS names and leaves a frame on it; IRET compares, and goes back', () => {
    const board = prepared(STACKS | TRACKING);
    expect(board.execute(...CALL)).toBe(Outcome.JUMPED);
    expect(board.quads(NEW - 24, 4)).toEqual([BigInt(OLD), BigInt(At.CODE + 2), BigInt(Sel.CODE0), BigInt(NEW) | 1n]);
    expect([ssp(board), board.cpu.get64('sCet') & BigInt(CetControl.TRACKER)]).toEqual([NEW - 24, BigInt(CetControl.TRACKER)]);
    expect(board.execute(...IRET)).toBe(Outcome.JUMPED);
    expect([ssp(board), board.quads(NEW, 1)]).toEqual([OLD, [BigInt(NEW)]]);
  });

  it('IRET to another place than the frame says is #CP in the task that it goes to', () => {
    const board = prepared(STACKS);
    board.execute(...CALL);
    board.view.setUint32(At.TSS + 0x20, At.CODE + 7, true);
    expect(() => board.execute(...IRET)).toThrow('faulted, but changed');
    expect([board.fault, board.selector(Segment.TR)]).toEqual(['21:2', Sel.TSS]);
  });

  it('a token that is not free, or a TSS without a pointer, is #TS of the new task', () => {
    for (const spoil of [
      (board: Board) => board.view.setBigUint64(NEW, BigInt(NEW) | 1n, true),
      (board: Board) => board.descriptor(Sel.TSS2, { type: 9, system: true, base: At.TSS2, limit: 0x67 }),
      (board: Board) => board.view.setUint32(At.TSS2 + 0x68, NEW - 4, true),
    ]) {
      const board = prepared(STACKS);
      spoil(board);
      expect(() => board.execute(...CALL)).toThrow('faulted, but changed');
      expect([board.fault, board.selector(Segment.TR)]).toEqual([`10:${Sel.TSS2.toString(16)}`, Sel.TSS2]);
    }
  });

  it('a task from level 3 keeps the user’s pointer', () => {
    const board = prepared(STACKS, 3);
    board.gate(At.IDT + 8 * 0x30, { selector: Sel.TSS2, offset: 0, type: 5 });
    deliverInterrupt(board.cpu, 0x30, EventKind.INTERRUPT);
    expect([ssp(board), board.cpu.get64('plSsp', 3), board.cpu.w[CPL]]).toEqual([NEW, BigInt(OLD), 0]);
  });
});

describe('virtual-8086 mode with CET', () => {
  it('IRET does not go there while level 3 has shadow stacks or tracking', () => {
    for (const control of [STACKS, TRACKING]) {
      const board = prepared(control);
      const esp = At.STACK0 - 36;
      board.cpu.setGpr(4, BigInt(esp));
      [0x100, 0, 0x20002, 0x8000, 0, 0, 0, 0, 0].forEach((value, i) => board.view.setUint32(esp + 4 * i, value, true));
      expect(board.faults(...IRET)).toBe('13:0');
    }
  });

  it('IRET there frees the supervisor’s stack, and an event takes it again', () => {
    const board = turnOn(prepared(STACKS), 0, STACKS);
    const token = Shadow.SUPERVISOR + 0xff8;
    board.cpu.set64('ssp', BigInt(token));
    board.view.setBigUint64(token, BigInt(token) | 1n, true);
    const esp = At.STACK0 - 36;
    board.cpu.setGpr(4, BigInt(esp));
    [0x100, 0, 0x20002, 0x8000, 0, 0, 0, 0, 0].forEach((value, i) => board.view.setUint32(esp + 4 * i, value, true));
    expect(board.execute(...IRET)).toBe(Outcome.JUMPED);
    expect(board.quads(token, 1)).toEqual([BigInt(token)]);
    board.gate(At.IDT + 8 * 0x30, { selector: Sel.CODE0, offset: At.HANDLER, type: 14 });
    deliverInterrupt(board.cpu, 0x30, EventKind.INTERRUPT);
    expect([ssp(board), board.quads(token, 1)]).toEqual([token, [BigInt(token) | 1n]]);
  });

  it('an event at the same level of 32-bit code has a frame too', () => {
    const board = prepared(STACKS);
    board.gate(At.IDT + 8 * 0x30, { selector: Sel.CODE0, offset: At.HANDLER, type: 14 });
    deliverInterrupt(board.cpu, 0x30, EventKind.INTERRUPT);
    expect(board.quads(OLD - 24, 3)).toEqual([BigInt(OLD), BigInt(At.CODE), BigInt(Sel.CODE0)]);
    expect(board.execute(...IRET)).toBe(Outcome.JUMPED);
    expect(ssp(board)).toBe(OLD);
  });
});
