import { Segment } from '@nestvm/isa';
import { beforeEach, describe, expect, it } from 'vitest';
import { deliverFault, deliverInterrupt, softwareInterrupt } from '../src/events/deliver.js';
import { Outcome } from '../src/outcome.js';
import { EventKind } from '../src/ports/virtualization.js';
import { CPL, MODE, SEG_ATTRIBUTES } from '../src/words.js';
import { At, Board, Sel } from './support/board.js';

let board: Board;

/** An 8-byte gate in the IDT. */
const idt = (vector: number, shape: Partial<Parameters<Board['gate']>[1]> = {}): void =>
  board.gate(At.IDT + 8 * vector, { selector: Sel.CODE0, offset: At.HANDLER + vector, type: 14, ...shape });

/** A far pointer in memory at DATA, for CALL and JMP through [EAX]. */
function pointer(selector: number, offset = 0): void {
  board.view.setUint32(At.DATA, offset, true);
  board.view.setUint16(At.DATA + 4, selector, true);
  board.cpu.setGpr(0, BigInt(At.DATA));
}
const CALL = [0xff, 0x18];
const JMP = [0xff, 0x28];

describe('delivery in protected mode', () => {
  it('goes to level 0 on the stack of a 32-bit TSS', () => {
    board = new Board().protect(3);
    idt(0x30);
    deliverInterrupt(board.cpu, 0x30, EventKind.INTERRUPT);
    expect(board.dwords(At.STACK0 - 20, 5)).toEqual([At.CODE, Sel.CODE3, 0x202, At.STACK3, Sel.DATA3]);
    expect([board.cpu.rip, board.cpu.gpr(4), board.cpu.w[CPL], board.selector(Segment.SS)]).toEqual([
      BigInt(At.HANDLER + 0x30),
      BigInt(At.STACK0 - 20),
      0,
      Sel.DATA0,
    ]);
    // Data segments stay.
    expect(board.selector(Segment.DS)).toBe(Sel.DATA3);
  });

  it('pushes 16-bit values through a 16-bit gate, and an error code too', () => {
    board = new Board().protect(0);
    idt(13, { type: 6, offset: 0xabcd1234 });
    board.cpu.raise(13, 0x50);
    deliverFault(board.cpu);
    expect(board.words(At.STACK0 - 8, 4)).toEqual([0x50, At.CODE & 0xffff, Sel.CODE0, 0x202]);
    expect(board.cpu.rip).toBe(0x1234n);
  });

  it('stays at the level through a conforming handler', () => {
    board = new Board().protect(3);
    idt(0x30, { selector: Sel.CONFORMING });
    deliverInterrupt(board.cpu, 0x30, EventKind.INTERRUPT);
    expect([board.cpu.w[CPL], board.selector(Segment.CS)]).toEqual([3, Sel.CONFORMING | 3]);
    expect(board.cpu.gpr(4)).toBe(BigInt(At.STACK3 - 12));
  });

  const refusals: readonly [string, () => void, string][] = [
    ['an SS of another level in the TSS', () => board.view.setUint32(At.TSS + 8, Sel.DATA3, true), '10:20'],
    ['a null SS in the TSS', () => board.view.setUint32(At.TSS + 8, 0, true), '10:0'],
    ['an SS beyond the table', () => board.view.setUint32(At.TSS + 8, 0x3000, true), '10:3000'],
    [
      'an SS that is not present',
      () => {
        board.descriptor(Sel.FREE, { type: 3, big: true, present: false, limit: 0xffff });
        board.view.setUint32(At.TSS + 8, Sel.FREE, true);
      },
      '12:90',
    ],
    ['an SS that is code', () => board.view.setUint32(At.TSS + 8, Sel.CODE0, true), '10:8'],
    [
      'a stack beyond its limit',
      () => {
        board.descriptor(Sel.FREE, { type: 3, big: true, limit: 0xfff });
        board.view.setUint32(At.TSS + 8, Sel.FREE, true);
      },
      '12:90',
    ],
    [
      'a handler beyond its limit',
      () => {
        board.descriptor(Sel.FREE, { type: 11, big: true, limit: 0xfff });
        idt(0x30, { dpl: 3, selector: Sel.FREE });
      },
      '13:0',
    ],
    ['a TSS that ends inside of SS0', () => board.cpu.set32('segLimit', 8, Segment.TR), '10:40'],
  ];
  for (const [name, prepare, fault] of refusals) {
    it(`refuses ${name}`, () => {
      board = new Board().protect(3);
      idt(0x30, { dpl: 3 });
      prepare();
      const before = board.cpu.b.slice();
      expect(softwareInterrupt(board.cpu, 0x30, EventKind.SOFTWARE_INTERRUPT, 2)).toBe(Outcome.FAULT);
      expect(board.fault).toBe(fault);
      board.assertUnchanged(before, name);
    });
  }

  it('leaves virtual-8086 mode with all segments on the stack, and IRET goes back', () => {
    board = new Board().protect(0);
    const { cpu } = board;
    // IRET with VM set in the image.
    const at = At.STACK0 - 36;
    [0x100, 0x2000, 0x20202 | 0x3000, 0xff00, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000].forEach((v, i) => board.view.setUint32(at + 4 * i, v, true));
    cpu.setGpr(4, BigInt(at));
    expect(board.execute(0xcf)).toBe(Outcome.JUMPED);
    expect(cpu.w[MODE]! & 0x10, 'V8086').toBe(0x10);
    expect([cpu.w[CPL], cpu.rip, cpu.gpr(4)]).toEqual([3, 0x100n, 0xff00n]);
    expect([Segment.ES, Segment.DS, Segment.FS, Segment.GS].map((s) => board.selector(s))).toEqual([0x4000, 0x5000, 0x6000, 0x7000]);
    expect(cpu.get64('segBase', Segment.CS)).toBe(0x20000n);
    idt(0x30);
    deliverInterrupt(cpu, 0x30, EventKind.INTERRUPT);
    expect(board.dwords(At.STACK0 - 36, 9)).toEqual([0x100, 0x2000, 0x23202, 0xff00, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000]);
    expect([cpu.w[CPL], board.selector(Segment.DS), cpu.w[SEG_ATTRIBUTES + Segment.GS]! & 0x10000]).toEqual([0, 0, 0x10000]);
    expect(cpu.readRflags() & 0x20000).toBe(0);
  });
});

describe('virtual-8086 mode', () => {
  const virtual = (iopl: number, cr4 = 0n): Board => {
    board = new Board().protect(0);
    const at = At.STACK0 - 36;
    [0x100, 0x2000, 0x20202 | (iopl << 12), 0xff00, 0x3000, 0, 0, 0, 0].forEach((v, i) => board.view.setUint32(at + 4 * i, v, true));
    board.cpu.set64('cr4', cr4);
    board.cpu.setGpr(4, BigInt(at));
    board.execute(0xcf);
    return board;
  };

  it('keeps CLI, PUSHF, POPF, IRET and INT n for IOPL 3', () => {
    virtual(0);
    for (const bytes of [[0xfa], [0xfb], [0x9c], [0x9d], [0xcf], [0xcd, 0x21]]) expect(board.faults(...bytes), bytes[0]!.toString(16)).toBe('13:0');
    virtual(3);
    expect(board.execute(0xfa)).toBe(Outcome.NEXT);
    expect(board.cpu.readRflags() & 0x200).toBe(0);
  });

  it('works on VIF under VME', () => {
    virtual(0, 1n);
    expect(board.execute(0xfb), 'STI').toBe(Outcome.NEXT);
    expect(board.cpu.readRflags() & 0x80200).toBe(0x80200);
    expect(board.execute(0x9c), 'PUSHF').toBe(Outcome.NEXT);
    // IF shows VIF, IOPL shows 3.
    expect(board.words(0x30000 + 0xfefe, 1)).toEqual([0x3202]);
    expect(board.execute(0xfa), 'CLI').toBe(Outcome.NEXT);
    expect(board.cpu.readRflags() & 0x80200).toBe(0x200);
    expect(board.execute(0x9d), 'POPF').toBe(Outcome.NEXT);
    expect(board.cpu.readRflags() & 0x83200).toBe(0x80200);
    board.cpu.writeRflags((board.cpu.readRflags() & ~0x80000) | 0x100000);
    expect(board.faults(0xfb), 'STI with VIP').toBe('13:0');
    expect(board.faults(0x66, 0x9c), 'PUSHFD').toBe('13:0');
  });

  it('redirects INT n by the bitmap in the TSS', () => {
    virtual(0, 1n);
    const { cpu } = board;
    board.view.setUint16(At.TSS + 0x66, 0x88 + 32, true);
    board.view.setUint32(0x21 * 4, 0x12345678, true);
    expect(board.execute(0xcd, 0x21)).toBe(Outcome.JUMPED);
    expect([cpu.rip, board.selector(Segment.CS)]).toEqual([0x5678n, 0x1234]);
    expect(board.words(0x30000 + 0xfefa, 3)).toEqual([0x102, 0x2000, 0x3002]);
    // A set bit goes to the protected-mode handler, which needs IOPL 3.
    virtual(0, 1n);
    board.view.setUint16(At.TSS + 0x66, 0x88 + 32, true);
    board.view.setUint8(At.TSS + 0x88 + 4, 2);
    expect(board.faults(0xcd, 0x21)).toBe('13:0');
  });
});

describe('far transfers', () => {
  beforeEach(() => {
    board = new Board().protect(3);
  });

  it('call and return at one level', () => {
    pointer(Sel.CODE3 & ~3, 0x1234);
    expect(board.execute(...CALL)).toBe(Outcome.JUMPED);
    expect([board.cpu.rip, board.selector(Segment.CS)]).toEqual([0x1234n, Sel.CODE3]);
    expect(board.dwords(At.STACK3 - 8, 2)).toEqual([At.CODE + 2, Sel.CODE3]);
    expect(board.execute(0xcb)).toBe(Outcome.JUMPED);
    expect([board.cpu.rip, board.cpu.gpr(4)]).toEqual([BigInt(At.CODE + 2), BigInt(At.STACK3)]);
  });

  it('a conforming segment keeps the level', () => {
    pointer(Sel.CONFORMING, 0x10);
    expect(board.execute(...JMP)).toBe(Outcome.JUMPED);
    expect([board.selector(Segment.CS), board.cpu.w[CPL]]).toEqual([Sel.CONFORMING | 3, 3]);
  });

  it('a call gate copies parameters to the inner stack, and RETF n releases both', () => {
    board.gate(At.GDT + 0x90, { selector: Sel.CODE0, offset: 0x4444, type: 12, dpl: 3, count: 2 });
    board.view.setUint32(At.STACK3 - 8, 0x11111111, true);
    board.view.setUint32(At.STACK3 - 4, 0x22222222, true);
    board.cpu.setGpr(4, BigInt(At.STACK3 - 8));
    pointer(0x93, 0xdeadbeef);
    expect(board.execute(...CALL)).toBe(Outcome.JUMPED);
    expect([board.cpu.rip, board.cpu.w[CPL], board.selector(Segment.CS), board.selector(Segment.SS)]).toEqual([0x4444n, 0, Sel.CODE0, Sel.DATA0]);
    expect(board.dwords(At.STACK0 - 24, 6)).toEqual([At.CODE + 2, Sel.CODE3, 0x11111111, 0x22222222, At.STACK3 - 8, Sel.DATA3]);
    expect(board.execute(0xca, 8, 0)).toBe(Outcome.JUMPED);
    expect([board.cpu.rip, board.cpu.w[CPL], board.cpu.gpr(4)]).toEqual([BigInt(At.CODE + 2), 3, BigInt(At.STACK3)]);
  });

  const refusals: readonly [string, () => void, string][] = [
    ['a null selector', () => pointer(0), '13:0'],
    ['a selector beyond the table', () => pointer(0x4000), '13:4000'],
    ['a more privileged code segment', () => pointer(Sel.CODE0), '13:8'],
    ['a data segment', () => pointer(Sel.DATA3), '13:20'],
    [
      'an offset beyond the limit',
      () => {
        board.descriptor(Sel.FREE, { type: 11, dpl: 3, big: true, limit: 0xfff });
        pointer(Sel.FREE, 0x1000);
      },
      '13:0',
    ],
    [
      'code that is not present',
      () => {
        board.descriptor(Sel.FREE, { type: 11, dpl: 3, big: true, limit: 0xfff, present: false });
        pointer(Sel.FREE, 0);
      },
      '11:90',
    ],
    [
      'a gate of level 0',
      () => {
        board.gate(At.GDT + 0x90, { selector: Sel.CODE0, offset: 0, type: 12 });
        pointer(0x90);
      },
      '13:90',
    ],
    [
      'a gate that is not present',
      () => {
        board.gate(At.GDT + 0x90, { selector: Sel.CODE0, offset: 0, type: 12, dpl: 3, present: false });
        pointer(0x90);
      },
      '11:90',
    ],
    [
      'a gate to data',
      () => {
        board.gate(At.GDT + 0x90, { selector: Sel.DATA0, offset: 0, type: 12, dpl: 3 });
        pointer(0x90);
      },
      '13:10',
    ],
    ['a TSS of level 0', () => pointer(Sel.TSS2), '13:50'],
    ['an LDT', () => pointer(Sel.LDT), '13:60'],
  ];
  for (const [name, prepare, fault] of refusals) {
    it(`refuse ${name}`, () => {
      prepare();
      expect(board.faults(...CALL)).toBe(fault);
      expect(board.faults(...JMP)).toBe(fault);
    });
  }

  it('JMP may not go inwards through a gate', () => {
    board.gate(At.GDT + 0x90, { selector: Sel.CODE0, offset: 0, type: 12, dpl: 3 });
    pointer(0x90);
    expect(board.faults(...JMP)).toBe('13:8');
  });

  it('a 64-bit call gate takes RSP0 and a null SS', () => {
    board = new Board().long(3);
    board.gate(At.GDT + 0x90, { selector: Sel.LONG0, offset: 0x81000000, type: 12, dpl: 3, wide: true, offsetHigh: -1 });
    pointer(0x93);
    expect(board.execute(...CALL)).toBe(Outcome.JUMPED);
    expect([board.cpu.rip, board.cpu.w[CPL], board.cpu.gpr(4), board.selector(Segment.SS)]).toEqual([
      0xffffffff81000000n,
      0,
      BigInt(At.STACK0 - 32),
      0,
    ]);
    expect(board.quads(At.STACK0 - 32, 4)).toEqual([BigInt(At.CODE + 2), BigInt(Sel.LONG3), BigInt(At.STACK3), BigInt(Sel.DATA3)]);
    expect(board.execute(0x48, 0xcb)).toBe(Outcome.JUMPED);
    expect([board.cpu.w[CPL], board.cpu.gpr(4)]).toEqual([3, BigInt(At.STACK3)]);
  });
});

describe('task switches', () => {
  /** A task at TSS2 with its own registers. */
  const prepareTask = (flags = 2): void => {
    const put = (offset: number, value: number): void => board.view.setUint32(At.TSS2 + offset, value, true);
    put(0x20, 0x7777);
    put(0x24, flags);
    [1, 2, 3, 4, At.STACK0 - 0x100, 6, 7, 8].forEach((v, i) => put(0x28 + 4 * i, v));
    [Sel.DATA0, Sel.CODE0, Sel.DATA0, Sel.DATA0, 0, 0].forEach((v, i) => put(0x48 + 4 * i, v));
    put(0x60, Sel.LDT);
  };
  const busy = (selector: number): boolean => (board.view.getUint8(At.GDT + selector + 5) & 2) !== 0;

  it('CALL links, saves and loads; IRET with NT goes back', () => {
    board = new Board().protect(0);
    const { cpu } = board;
    prepareTask();
    pointer(Sel.TSS2);
    cpu.setGpr(3, 0xabcdn);
    cpu.setGpr(2, 0n);
    expect(board.execute(...CALL)).toBe(Outcome.JUMPED);
    expect([cpu.rip, cpu.gpr(0), cpu.gpr(1), cpu.gpr(4), cpu.gpr(7)]).toEqual([0x7777n, 1n, 2n, BigInt(At.STACK0 - 0x100), 8n]);
    expect([board.selector(Segment.TR), board.selector(Segment.LDTR), cpu.get64('segBase', Segment.LDTR)]).toEqual([
      Sel.TSS2,
      Sel.LDT,
      BigInt(At.LDT),
    ]);
    expect(cpu.readRflags() & 0x4000, 'NT').toBe(0x4000);
    expect(cpu.get64('cr0') & 8n, 'TS').toBe(8n);
    expect([busy(Sel.TSS), busy(Sel.TSS2)]).toEqual([true, true]);
    expect(board.words(At.TSS2, 1)).toEqual([Sel.TSS]);
    expect(board.dwords(At.TSS + 0x20, 6)).toEqual([At.CODE + 2, 0x202, At.DATA, 0, 0, 0xabcd]);
    expect(board.execute(0xcf)).toBe(Outcome.JUMPED);
    expect([cpu.rip, cpu.gpr(3), board.selector(Segment.TR)]).toEqual([BigInt(At.CODE + 2), 0xabcdn, Sel.TSS]);
    expect([busy(Sel.TSS), busy(Sel.TSS2)]).toEqual([true, false]);
    expect(cpu.readRflags() & 0x4000).toBe(0);
    // The image of the task that ended has NT clear.
    expect(board.dwords(At.TSS2 + 0x24, 1)).toEqual([2]);
  });

  it('JMP leaves the old task idle and links nothing', () => {
    board = new Board().protect(0);
    prepareTask();
    pointer(Sel.TSS2);
    expect(board.execute(...JMP)).toBe(Outcome.JUMPED);
    expect([busy(Sel.TSS), busy(Sel.TSS2), board.cpu.readRflags() & 0x4000]).toEqual([false, true, 0]);
    pointer(Sel.TSS2);
    expect(board.faults(...JMP), 'itself, busy').toBe('13:50');
  });

  it('a task gate in the IDT gives the new task the error code', () => {
    board = new Board().protect(3);
    prepareTask();
    idt(13, { type: 5, selector: Sel.TSS2, offset: 0 });
    board.cpu.raise(13, 0x1234);
    deliverFault(board.cpu);
    expect([board.cpu.rip, board.cpu.w[CPL], board.selector(Segment.TR)]).toEqual([0x7777n, 0, Sel.TSS2]);
    expect(board.cpu.gpr(4)).toBe(BigInt(At.STACK0 - 0x104));
    expect(board.dwords(At.STACK0 - 0x104, 1)).toEqual([0x1234]);
  });

  it('faults in the new task belong to it', () => {
    board = new Board().protect(0);
    prepareTask();
    board.view.setUint32(At.TSS2 + 0x54, Sel.CODE0, true);
    board.view.setUint32(At.TSS2 + 0x50, Sel.DATA3, true);
    pointer(Sel.TSS2);
    board.cpu.setGpr(0, BigInt(At.DATA));
    expect(() => board.execute(...CALL)).toThrow('faulted, but changed');
    expect([board.fault, board.selector(Segment.TR)]).toEqual(['10:20', Sel.TSS2]);
  });

  it('saves to a 16-bit TSS in its own layout', () => {
    board = new Board().protect(0);
    prepareTask();
    board.cpu.w[SEG_ATTRIBUTES + Segment.TR] = 0x83;
    board.view.setUint8(At.GDT + Sel.TSS + 5, 0x83);
    pointer(Sel.TSS2);
    expect(board.execute(...CALL)).toBe(Outcome.JUMPED);
    expect(board.words(At.TSS + 0x0e, 3)).toEqual([(At.CODE + 2) & 0xffff, 0x202, At.DATA & 0xffff]);
    expect(board.words(At.TSS + 0x22, 4)).toEqual([Sel.DATA0, Sel.CODE0, Sel.DATA0, Sel.DATA0]);
  });

  it('the T bit makes a debug trap', () => {
    board = new Board().protect(0);
    prepareTask();
    board.view.setUint16(At.TSS2 + 0x64, 1, true);
    pointer(Sel.TSS2);
    expect(board.execute(...CALL)).toBe(Outcome.JUMPED);
    expect(board.cpu.get32('pendingDebug')).toBe(0x8000);
  });
});

describe('real mode', () => {
  it('goes through the vector table and back', () => {
    board = new Board().real();
    board.view.setUint32(0x21 * 4, 0x20000010, true);
    expect(board.execute(0xcd, 0x21)).toBe(Outcome.JUMPED);
    expect([board.cpu.rip, board.selector(Segment.CS), board.cpu.get64('segBase', Segment.CS), board.cpu.readRflags()]).toEqual([
      0x10n,
      0x2000,
      0x20000n,
      2,
    ]);
    expect(board.words(0x7ffa, 3)).toEqual([0x1002, 0, 0x202]);
    expect(board.execute(0xcf)).toBe(Outcome.JUMPED);
    expect([board.cpu.rip, board.selector(Segment.CS), board.cpu.readRflags(), board.cpu.gpr(4)]).toEqual([0x1002n, 0, 0x202, 0x8000n]);
  });

  it('checks the table limit', () => {
    board = new Board().real();
    board.cpu.set32('idtrLimit', 0x21 * 4 + 2);
    expect(board.faults(0xcd, 0x21)).toBe('13:10a');
  });

  it('keeps limits when segments are loaded', () => {
    board = new Board().real();
    board.cpu.set32('segLimit', 0xffffffff, Segment.DS);
    board.cpu.setGpr(0, 0x1234n);
    expect(board.execute(0x8e, 0xd8)).toBe(Outcome.NEXT);
    expect([board.cpu.get64('segBase', Segment.DS), board.cpu.get32('segLimit', Segment.DS)]).toEqual([0x12340n, 0xffffffff]);
  });
});
