import { Segment } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { Outcome } from '../src/outcome.js';
import { CPL, INTERRUPTIBILITY, SEG_ATTRIBUTES, SEG_BASE, SEG_SELECTOR } from '../src/words.js';
import { At, Board, Sel } from './support/board.js';

const IRETQ = [0x48, 0xcf];
const FRAME = At.STACK0 - 40;

/** A 64-bit IRET frame on the level-0 stack. */
function frame(board: Board, rip: bigint, cs: number, flags: number, rsp: bigint, ss: number): void {
  const values = [rip, BigInt(cs), BigInt(flags), rsp, BigInt(ss)];
  values.forEach((value, i) => board.view.setBigUint64(FRAME + 8 * i, value, true));
  board.cpu.setGpr(4, BigInt(FRAME));
}

describe('IRETQ', () => {
  it('returns to level 3 and drops data segments of inner levels', () => {
    const board = new Board().long(0);
    const { cpu } = board;
    cpu.writeRflags(2);
    frame(board, 0x12345n, Sel.LONG3, 0x3a57, 0x30008n, Sel.DATA3);
    expect(board.execute(...IRETQ)).toBe(Outcome.JUMPED);
    expect([cpu.rip, cpu.gpr(4), cpu.w[CPL]]).toEqual([0x12345n, 0x30008n, 3]);
    expect([board.selector(Segment.CS), board.selector(Segment.SS), board.selector(Segment.DS), board.selector(Segment.FS)]).toEqual([
      Sel.LONG3,
      Sel.DATA3,
      0,
      0,
    ]);
    expect(cpu.readRflags()).toBe(0x3a57);
    expect(cpu.attention).toBe(1);
  });

  it('keeps the base of FS, which a hypervisor has left usable with DPL 0 and a null selector', () => {
    const board = new Board().long(0);
    const { cpu } = board;
    cpu.h[SEG_SELECTOR + Segment.FS] = 0;
    cpu.w[SEG_ATTRIBUTES + Segment.FS] = 0xc093;
    cpu.w[SEG_BASE + 2 * Segment.FS] = 0x7000;
    frame(board, 0x12345n, Sel.LONG3, 0x202, 0x30008n, Sel.DATA3);
    expect(board.execute(...IRETQ)).toBe(Outcome.JUMPED);
    expect(cpu.w[SEG_BASE + 2 * Segment.FS]).toBe(0x7000);
    expect(cpu.w[SEG_ATTRIBUTES + Segment.FS]! & 0x10000).toBe(0x10000);
  });

  it('keeps IOPL and IF of a program that must not change them', () => {
    const board = new Board().long(3);
    const { cpu } = board;
    cpu.writeRflags(0x202);
    const at = At.STACK3 - 40;
    [0x555n, BigInt(Sel.LONG3), 0x3000n, 0x30010n, BigInt(Sel.DATA3)].forEach((value, i) => board.view.setBigUint64(at + 8 * i, value, true));
    cpu.setGpr(4, BigInt(at));
    expect(board.execute(...IRETQ)).toBe(Outcome.JUMPED);
    expect(cpu.readRflags()).toBe(0x202);
  });

  it('unblocks NMIs, and loads a null SS for level 0 in 64-bit mode', () => {
    const board = new Board().long(0);
    const { cpu } = board;
    cpu.w[INTERRUPTIBILITY] = 4;
    frame(board, 0x999n, Sel.LONG0, 2, 0x20000n, 0);
    expect(board.execute(...IRETQ)).toBe(Outcome.JUMPED);
    expect(cpu.w[INTERRUPTIBILITY]).toBe(0);
    expect(cpu.w[SEG_ATTRIBUTES + Segment.SS]! & 0x10000).toBe(0x10000);
    expect(cpu.gpr(4)).toBe(0x20000n);
  });

  it('goes to compatibility mode with a 32-bit stack', () => {
    const board = new Board().long(0);
    frame(board, 0x8000n, Sel.CODE3, 0x202, 0x30000n, Sel.DATA3);
    expect(board.execute(...IRETQ)).toBe(Outcome.JUMPED);
    expect(board.cpu.rip).toBe(0x8000n);
    expect(board.cpu.gpr(4)).toBe(0x30000n);
  });

  const refusals: readonly [string, (board: Board) => void, string][] = [
    [
      'NT in 64-bit mode',
      (b) => {
        frame(b, 0n, Sel.LONG0, 2, 0n, Sel.DATA0);
        b.cpu.writeRflags(0x4002);
      },
      '13:0',
    ],
    ['a null CS', (b) => frame(b, 0n, 0, 2, 0n, Sel.DATA0), '13:0'],
    ['a CS beyond the table', (b) => frame(b, 0n, 0x3000, 2, 0n, Sel.DATA0), '13:3000'],
    ['a data segment as CS', (b) => frame(b, 0n, Sel.DATA0, 2, 0n, Sel.DATA0), '13:10'],
    ['CS whose DPL is not its RPL', (b) => frame(b, 0n, Sel.LONG0 | 3, 2, 0n, Sel.DATA3), '13:28'],
    [
      'a CS that is not present',
      (b) => {
        b.descriptor(Sel.FREE, { type: 11, long: true, present: false });
        frame(b, 0n, Sel.FREE, 2, 0n, Sel.DATA0);
      },
      '11:90',
    ],
    ['a null SS for level 3', (b) => frame(b, 0n, Sel.LONG3, 2, 0n, 3), '13:0'],
    ['a null SS for 32-bit code', (b) => frame(b, 0n, Sel.CODE0, 2, 0n, 0), '13:0'],
    ['SS of another level', (b) => frame(b, 0n, Sel.LONG3, 2, 0n, Sel.DATA0), '13:10'],
    ['SS that is code', (b) => frame(b, 0n, Sel.LONG3, 2, 0n, Sel.LONG3), '13:30'],
    [
      'SS that is not present',
      (b) => {
        b.descriptor(Sel.FREE, { type: 3, dpl: 3, present: false });
        frame(b, 0n, Sel.LONG3, 2, 0n, Sel.FREE | 3);
      },
      '12:90',
    ],
    ['a RIP that is not canonical', (b) => frame(b, 0x800000000000n, Sel.LONG3, 2, 0n, Sel.DATA3), '13:0'],
    [
      'an EIP beyond the limit of 32-bit code',
      (b) => {
        b.descriptor(Sel.FREE, { type: 11, dpl: 3, big: true, limit: 0xfff });
        frame(b, 0x1000n, Sel.FREE | 3, 2, 0n, Sel.DATA3);
      },
      '13:0',
    ],
    [
      'a frame whose end is not mapped',
      (b) => {
        const at = 0x22000 - 16;
        [0x10n, BigInt(Sel.LONG3)].forEach((value, i) => b.view.setBigUint64(at + 8 * i, value, true));
        b.cpu.setGpr(4, BigInt(at));
        b.unmap(0x22000);
      },
      '14:0',
    ],
    ['a stack pointer that is not canonical', (b) => b.cpu.setGpr(4, 0x800000000000n), '12:0'],
  ];
  for (const [name, prepare, fault] of refusals) {
    it(`refuses ${name}`, () => {
      const board = new Board().long(0);
      prepare(board);
      expect(board.faults(...IRETQ)).toBe(fault);
    });
  }
});

describe('SYSCALL and SYSRET', () => {
  const prepared = (model: string, cpl: 0 | 3, compatibility = false): Board => {
    const board = new Board(model).long(cpl, compatibility);
    board.cpu.set64('star', (0x23n << 48n) | (BigInt(Sel.LONG0) << 32n) | 0x1234n);
    board.cpu.set64('lstar', 0xffffffff81000000n);
    board.cpu.set64('cstar', 0xffffffff82000000n);
    board.cpu.set64('fmask', 0x47700n);
    return board;
  };

  it('enters level 0 with RCX, R11 and the masked flags', () => {
    const board = prepared('max', 3);
    const { cpu } = board;
    cpu.writeRflags(0x10ad7);
    expect(board.execute(0x0f, 0x05)).toBe(Outcome.JUMPED);
    expect([cpu.rip, cpu.gpr(1), cpu.gpr(11), cpu.w[CPL]]).toEqual([0xffffffff81000000n, BigInt(At.CODE + 2), 0xad7n, 0]);
    expect(cpu.readRflags()).toBe(0xad7 & ~0x47700);
    expect([board.selector(Segment.CS), board.selector(Segment.SS)]).toEqual([Sel.LONG0, Sel.LONG0 + 8]);
    // Base and limit are flat whatever the descriptor table says.
    expect(cpu.get64('segBase', Segment.SS)).toBe(0n);
  });

  it('is #UD without EFER.SCE, and on Intel in compatibility mode; AMD takes CSTAR there', () => {
    const off = prepared('max', 3);
    off.cpu.set64('efer', 0xd00n);
    expect(off.faults(0x0f, 0x05)).toBe('6');
    expect(prepared('Skylake-Client', 3, true).faults(0x0f, 0x05)).toBe('6');
    const amd = prepared('EPYC', 3, true);
    expect(amd.execute(0x0f, 0x05)).toBe(Outcome.JUMPED);
    expect(amd.cpu.rip).toBe(0xffffffff82000000n);
  });

  it('returns to 64-bit and to 32-bit code', () => {
    const board = prepared('max', 0);
    const { cpu } = board;
    cpu.setGpr(1, 0x7fff12345678n);
    cpu.setGpr(11, 0x3f7fd7n | 0x10000n | 0x20000n);
    expect(board.execute(0x48, 0x0f, 0x07)).toBe(Outcome.JUMPED);
    expect([cpu.rip, cpu.w[CPL], board.selector(Segment.CS), board.selector(Segment.SS)]).toEqual([0x7fff12345678n, 3, 0x33, 0x2b]);
    // RF and VM are not loaded.
    expect(cpu.readRflags()).toBe(0x3c7fd7 | 2);
    const to32 = prepared('max', 0);
    to32.cpu.setGpr(1, 0x7fff12345678n);
    expect(to32.execute(0x0f, 0x07)).toBe(Outcome.JUMPED);
    expect([to32.cpu.rip, to32.selector(Segment.CS)]).toEqual([0x12345678n, 0x23]);
  });

  it('refuses a non-canonical RCX at level 0, and level 3 altogether', () => {
    const board = prepared('max', 0);
    board.cpu.setGpr(1, 0x800000000000n);
    expect(board.faults(0x48, 0x0f, 0x07)).toBe('13:0');
    expect(prepared('max', 3).faults(0x48, 0x0f, 0x07)).toBe('13:0');
  });

  it('keeps the hidden part of SS on AMD', () => {
    const board = prepared('EPYC', 0);
    board.cpu.set32('segLimit', 0x1234, Segment.SS);
    board.cpu.setGpr(1, 0x1000n);
    board.execute(0x48, 0x0f, 0x07);
    expect(board.cpu.get32('segLimit', Segment.SS)).toBe(0x1234);
  });
});

describe('SYSENTER and SYSEXIT', () => {
  it('goes to level 0 and back', () => {
    const board = new Board().long(3);
    const { cpu } = board;
    cpu.set64('sysenterCs', BigInt(Sel.LONG0));
    cpu.set64('sysenterEsp', BigInt(At.STACK0));
    cpu.set64('sysenterEip', 0xffffffff83000000n);
    expect(board.execute(0x0f, 0x34)).toBe(Outcome.JUMPED);
    expect([cpu.rip, cpu.gpr(4), cpu.w[CPL], board.selector(Segment.SS)]).toEqual([0xffffffff83000000n, BigInt(At.STACK0), 0, Sel.LONG0 + 8]);
    cpu.setGpr(2, 0x4000n);
    cpu.setGpr(1, 0x5000n);
    expect(board.execute(0x48, 0x0f, 0x35)).toBe(Outcome.JUMPED);
    expect([cpu.rip, cpu.gpr(4), cpu.w[CPL], board.selector(Segment.CS)]).toEqual([0x4000n, 0x5000n, 3, (Sel.LONG0 + 32) | 3]);
  });

  it('needs a CS, and on AMD a mode without EFER.LMA', () => {
    expect(new Board().long(3).faults(0x0f, 0x34)).toBe('13:0');
    expect(new Board('EPYC').long(3).faults(0x0f, 0x34)).toBe('6');
    expect(new Board().long(3).faults(0x0f, 0x35)).toBe('13:0');
  });
});
