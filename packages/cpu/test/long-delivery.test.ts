import { Segment } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { Activity, deliverFault, deliverInterrupt, isDoubleFault, softwareInterrupt } from '../src/events/deliver.js';
import { Outcome } from '../src/outcome.js';
import { EventKind } from '../src/ports/virtualization.js';
import { ACTIVITY, CPL, SEG_ATTRIBUTES } from '../src/words.js';
import { At, Board, Sel } from './support/board.js';

const raise = (board: Board, vector: number, error?: number): void => {
  board.cpu.raise(vector, error);
  deliverFault(board.cpu);
};

describe('delivery through a 64-bit IDT', () => {
  it('switches to RSP0 from level 3, with SS null and the frame of the manual', () => {
    const board = new Board().long(3);
    const { cpu } = board;
    board.longGate(0x30);
    cpu.writeRflags(0x3246 | 0x100);
    deliverInterrupt(cpu, 0x30, EventKind.INTERRUPT);
    expect(cpu.rip).toBe(BigInt(At.HANDLER + 0x300));
    expect(cpu.w[CPL]).toBe(0);
    expect(board.selector(Segment.CS)).toBe(Sel.LONG0);
    expect(board.selector(Segment.SS)).toBe(0);
    expect(cpu.w[SEG_ATTRIBUTES + Segment.SS]! & 0x10000).toBe(0x10000);
    expect(cpu.gpr(4)).toBe(BigInt(At.STACK0 - 40));
    expect(board.quads(At.STACK0 - 40, 5)).toEqual([BigInt(At.CODE), BigInt(Sel.LONG3), 0x3346n, BigInt(At.STACK3), BigInt(Sel.DATA3)]);
    // IF and TF are cleared; the arithmetic flags stay.
    expect(cpu.readRflags()).toBe(0x3046);
  });

  it('keeps IF through a trap gate', () => {
    const board = new Board().long(0);
    board.longGate(0x31, { type: 15 });
    deliverInterrupt(board.cpu, 0x31, EventKind.INTERRUPT);
    expect(board.cpu.readRflags() & 0x200).toBe(0x200);
  });

  it('aligns the stack to 16 bytes at the same level, and pushes the error code last', () => {
    const board = new Board().long(0);
    const { cpu } = board;
    board.longGate(13);
    cpu.setGpr(4, BigInt(At.STACK0 - 3));
    raise(board, 13, 0x18);
    expect(cpu.gpr(4)).toBe(BigInt(At.STACK0 - 16 - 48));
    // RF is set in the image of a fault.
    expect(board.quads(At.STACK0 - 16 - 48, 6)).toEqual([
      0x18n,
      BigInt(At.CODE),
      BigInt(Sel.LONG0),
      0x10202n,
      BigInt(At.STACK0 - 3),
      BigInt(Sel.DATA0),
    ]);
    expect(board.selector(Segment.SS)).toBe(Sel.DATA0);
  });

  it('takes the IST stack even at the same level', () => {
    const board = new Board().long(0);
    board.longGate(2, { ist: 1 });
    deliverInterrupt(board.cpu, 2, EventKind.NMI);
    expect(board.cpu.gpr(4)).toBe(BigInt(At.IST1 - 40));
  });

  it('writes CR2 when a page fault is delivered', () => {
    const board = new Board().long(3);
    board.longGate(14);
    board.cpu.setPageFaultAddress(0x12345678, -1);
    raise(board, 14, 6);
    expect(board.cpu.get64('cr2')).toBe(0xffffffff12345678n);
    expect(board.quads(At.STACK0 - 48, 1)).toEqual([6n]);
  });

  it('leaves compatibility mode for 64-bit mode', () => {
    const board = new Board().long(3, true);
    board.longGate(0x80, { dpl: 3 });
    expect(softwareInterrupt(board.cpu, 0x80, EventKind.SOFTWARE_INTERRUPT, 2)).toBe(Outcome.JUMPED);
    expect(board.quads(At.STACK0 - 40, 2)).toEqual([BigInt(At.CODE + 2), BigInt(Sel.CODE3)]);
    expect(board.selector(Segment.CS)).toBe(Sel.LONG0);
  });

  const refusals: readonly [string, (board: Board) => void, EventKind, string][] = [
    ['a vector beyond the limit', (b) => b.cpu.set32('idtrLimit', 0x30 * 16 + 14), EventKind.SOFTWARE_INTERRUPT, '13:182'],
    ['a gate of a wrong type', (b) => b.longGate(0x30, { type: 12, dpl: 3 }), EventKind.SOFTWARE_INTERRUPT, '13:182'],
    ['INT n through a gate of level 0', (b) => b.longGate(0x30), EventKind.SOFTWARE_INTERRUPT, '13:182'],
    ['a gate that is not present', (b) => b.longGate(0x30, { present: false, dpl: 3 }), EventKind.SOFTWARE_INTERRUPT, '11:182'],
    ['a null code selector', (b) => b.longGate(0x30, { selector: 0, dpl: 3 }), EventKind.SOFTWARE_INTERRUPT, '13:0'],
    [
      'a data segment as handler',
      (b) => b.longGate(0x30, { selector: Sel.DATA0, dpl: 3 }),
      EventKind.SOFTWARE_INTERRUPT,
      `13:${Sel.DATA0.toString(16)}`,
    ],
    ['a 32-bit handler', (b) => b.longGate(0x30, { selector: Sel.CODE0, dpl: 3 }), EventKind.SOFTWARE_INTERRUPT, `13:${Sel.CODE0.toString(16)}`],
    [
      'a code segment that is not present',
      (b) => {
        b.descriptor(Sel.FREE, { type: 11, long: true, present: false });
        b.longGate(0x30, { selector: Sel.FREE, dpl: 3 });
      },
      EventKind.SOFTWARE_INTERRUPT,
      `11:${Sel.FREE.toString(16)}`,
    ],
    ['a selector beyond the GDT', (b) => b.longGate(0x30, { selector: 0x2000, dpl: 3 }), EventKind.SOFTWARE_INTERRUPT, '13:2000'],
    [
      'a TSS that ends before RSP0',
      (b) => {
        b.longGate(0x30, { dpl: 3 });
        b.cpu.set32('segLimit', 10, Segment.TR);
      },
      EventKind.SOFTWARE_INTERRUPT,
      `10:${Sel.TSS.toString(16)}`,
    ],
    [
      'an RSP0 that is not canonical',
      (b) => {
        b.longGate(0x30, { dpl: 3 });
        b.view.setBigUint64(At.TSS + 4, 0x800000000000n, true);
      },
      EventKind.SOFTWARE_INTERRUPT,
      '12:0',
    ],
    [
      'a stack that is not mapped',
      (b) => {
        b.longGate(0x30, { dpl: 3 });
        b.unmap(At.STACK0 - 8);
      },
      EventKind.SOFTWARE_INTERRUPT,
      '14:2',
    ],
    ['an IDT that is not mapped', (b) => b.unmap(At.IDT), EventKind.SOFTWARE_INTERRUPT, '14:0'],
    ['an offset that is not canonical', (b) => b.longGate(0x30, { dpl: 3, offsetHigh: 0x8000 }), EventKind.SOFTWARE_INTERRUPT, '13:0'],
  ];
  for (const [name, prepare, kind, fault] of refusals) {
    it(`refuses ${name}, and changes nothing`, () => {
      const board = new Board().long(3);
      prepare(board);
      const before = board.cpu.b.slice();
      expect(softwareInterrupt(board.cpu, 0x30, kind, 2)).toBe(Outcome.FAULT);
      expect(board.fault).toBe(fault);
      board.assertUnchanged(before, name);
    });
  }

  it('checks the whole frame before anything moves when it crosses into an unmapped page', () => {
    const board = new Board().long(3);
    board.longGate(0x30, { dpl: 3 });
    board.view.setBigUint64(At.TSS + 4, BigInt(0x22010), true);
    board.unmap(0x21ff0);
    const before = board.cpu.b.slice();
    expect(softwareInterrupt(board.cpu, 0x30, EventKind.SOFTWARE_INTERRUPT, 2)).toBe(Outcome.FAULT);
    expect(board.fault).toBe('14:2');
    board.assertUnchanged(before, 'frame across pages');
  });

  it('sets EXT in the error code when an external interrupt cannot be delivered', () => {
    const board = new Board().long(3);
    board.longGate(0x30, { present: false });
    board.longGate(11);
    deliverInterrupt(board.cpu, 0x30, EventKind.INTERRUPT);
    expect(board.cpu.rip).toBe(BigInt(At.HANDLER + 11 * 16));
    expect(board.quads(At.STACK0 - 48, 1)).toEqual([0x183n]);
  });

  it('ignores the DPL of gates for exceptions, external interrupts and INT1', () => {
    for (const kind of [EventKind.EXCEPTION, EventKind.INTERRUPT, EventKind.PRIVILEGED_SOFTWARE_EXCEPTION]) {
      const board = new Board().long(3);
      board.longGate(0x30);
      expect(softwareInterrupt(board.cpu, 0x30, kind, 1)).toBe(Outcome.JUMPED);
    }
  });

  it('turns a page fault while pushing a page fault into #DF with a zero error code', () => {
    const board = new Board().long(3);
    board.longGate(14);
    board.longGate(8, { ist: 1 });
    board.unmap(At.STACK0 - 8);
    board.cpu.setPageFaultAddress(0x1000, 0);
    raise(board, 14, 4);
    expect(board.cpu.rip).toBe(BigInt(At.HANDLER + 8 * 16));
    expect(board.quads(At.IST1 - 48, 2)).toEqual([0n, BigInt(At.CODE)]);
    // CR2 is the second fault's.
    expect(board.cpu.get64('cr2')).toBe(BigInt(At.STACK0 - 8));
  });

  it('serves a page fault met while delivering #UD, which is benign', () => {
    const board = new Board().long(3);
    board.longGate(6);
    board.longGate(14, { ist: 1 });
    board.unmap(At.STACK0 - 8);
    raise(board, 6);
    expect(board.cpu.rip).toBe(BigInt(At.HANDLER + 14 * 16));
  });

  it('shuts down when #DF cannot be delivered', () => {
    const board = new Board().long(3);
    board.cpu.set32('idtrLimit', 0);
    raise(board, 13, 0);
    expect(board.cpu.w[ACTIVITY]).toBe(Activity.SHUTDOWN);
    expect(board.platform).toEqual(['shutdown']);
  });

  it('classifies pairs of exceptions as the manual does', () => {
    const contributory = [0, 10, 11, 12, 13, 21];
    const page = [14, 20];
    for (let first = 0; first < 22; first++) {
      for (let second = 0; second < 22; second++) {
        const expected = contributory.includes(first)
          ? contributory.includes(second)
          : page.includes(first) && (contributory.includes(second) || page.includes(second));
        expect(isDoubleFault(first, second), `${first} then ${second}`).toBe(expected);
      }
    }
  });
});
