import { CetControl, Mode, Segment } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { deliverFault, deliverInterrupt } from '../src/events/deliver.js';
import { Outcome } from '../src/outcome.js';
import { EventKind } from '../src/ports/virtualization.js';
import { CPL, MODE } from '../src/words.js';
import { At, Board, Sel } from './support/board.js';
import { run, Shadow, STACKS, Token, taken, USER_POINTER, withStacks } from './support/cet.js';

const HLT = 0xf4;
const FUNCTION = At.CODE + 0x100;
const START = Shadow.SUPERVISOR + 0x800;
const MAGIC = 0x1122_3344_5566_7788n;

const ssp = (board: Board): number => Number(board.cpu.get64('ssp'));
const BUSY = 1n;

/** Calls a function at level 0 that runs `body`. */
function calls(body: readonly number[], compatibility = false): Board {
  const board = withStacks(0, 0, compatibility);
  board.memory.write(FUNCTION, Uint8Array.from(body));
  return run(board, [0xe8, 0xfb, 0, 0, 0, HLT]);
}

describe('near calls and returns on a shadow stack', () => {
  it('CALL pushes its return address there too, and RET compares and pops', () => {
    const inside = calls([HLT]);
    expect([ssp(inside), inside.quads(START - 8, 1)]).toEqual([START - 8, [BigInt(At.CODE + 5)]]);
    const back = calls([0xc3]);
    expect([ssp(back), back.cpu.rip]).toEqual([START, BigInt(At.CODE + 6)]);
  });

  it('RET elsewhere is #CP(NEAR-RET), with RSP and SSP as before', () => {
    const board = calls([0x48, 0xff, 0x04, 0x24, 0xc3]); // inc qword [rsp]; ret
    expect(taken(board)).toBe('21:1');
    expect(board.quads(Number(board.cpu.gpr(4)) + 8, 1)).toEqual([BigInt(FUNCTION + 4)]);
    expect(board.quads(Number(board.cpu.gpr(4)) + 32, 1)).toEqual([BigInt(At.STACK0 - 8)]);
    // The handler's frame lies below the return address, which is still there.
    expect(ssp(board)).toBe(START - 8 - 24);
  });

  it('a CALL of the next instruction, which only asks where it is, pushes nothing', () => {
    const board = run(withStacks(0), [0xe8, 0, 0, 0, 0, HLT]);
    expect([ssp(board), board.cpu.gpr(4)]).toEqual([START, BigInt(At.STACK0 - 8)]);
  });

  it('RET n releases from the stack alone', () => {
    const board = calls([0xc2, 16, 0]);
    expect([ssp(board), board.cpu.gpr(4)]).toEqual([START, BigInt(At.STACK0 + 16)]);
  });

  it('32-bit code pushes 4 bytes', () => {
    const board = calls([HLT], true);
    expect([ssp(board), board.dwords(START - 4, 1)]).toEqual([START - 4, [At.CODE + 5]]);
    expect(ssp(calls([0xc3], true))).toBe(START);
  });

  it('page faults of a shadow stack say so, and nothing has changed', () => {
    const board = withStacks(3);
    // An ordinary page of the user: writable.
    board.cpu.set64('ssp', BigInt(At.DATA + 0x100));
    board.memory.write(FUNCTION, Uint8Array.of(HLT));
    run(board, [0xe8, 0xfb, 0, 0, 0, HLT]);
    // P, W, U and SS; pushed before RSP moves.
    expect(taken(board)).toBe('14:47');
    expect(board.cpu.get64('cr2')).toBe(BigInt(At.DATA + 0xf8));
    expect(board.quads(Number(board.cpu.gpr(4)) + 32, 1)).toEqual([BigInt(At.STACK3)]);
  });

  it('refuses ordinary writes to its pages, and pages of the other privilege', () => {
    const board = withStacks(0);
    board.cpu.setGpr(0, BigInt(START));
    expect(taken(run(board, [0x48, 0x89, 0x00]))).toBe('14:3'); // mov [rax], rax
    const reads = withStacks(0);
    reads.cpu.setGpr(0, BigInt(Token.SUPERVISOR));
    expect(run(reads, [0x48, 0x8b, 0x00, HLT]).cpu.gpr(0)).toBe(BigInt(Token.SUPERVISOR));
    const user = withStacks(0);
    user.cpu.set64('ssp', BigInt(USER_POINTER));
    user.longGate(14, { ist: 1 });
    expect(user.cpu.mmu.translate(USER_POINTER, 0, 8, false)).toBe(false);
    expect(user.cpu.mmu.errorCode).toBe(0x41);
    expect(user.cpu.mmu.translate(USER_POINTER, 0, 8, true)).toBe(true);
    expect(user.cpu.mmu.translate(START, 0, 9, true)).toBe(false);
    expect(user.cpu.mmu.errorCode).toBe(0x47);
  });
});

describe('far transfers on shadow stacks', () => {
  const interrupt = (board: Board, ist = 0): void => {
    board.longGate(0x30, { ist });
    deliverInterrupt(board.cpu, 0x30, EventKind.INTERRUPT);
  };

  it('an event from level 3 takes the stack of IA32_PL0_SSP, and IRET frees it', () => {
    const board = withStacks(3);
    interrupt(board);
    expect([ssp(board), board.quads(Token.SUPERVISOR, 1), board.cpu.get64('plSsp', 3)]).toEqual([
      Token.SUPERVISOR,
      [BigInt(Token.SUPERVISOR) | BUSY],
      BigInt(USER_POINTER),
    ]);
    expect(board.cpu.w[MODE]! & Mode.SHADOW_STACK).toBe(Mode.SHADOW_STACK);
    board.cpu.set64('plSsp', BigInt(USER_POINTER - 16), 3);
    expect(board.execute(0x48, 0xcf)).toBe(Outcome.JUMPED);
    expect([ssp(board), board.quads(Token.SUPERVISOR, 1), board.cpu.w[CPL]]).toEqual([USER_POINTER - 16, [BigInt(Token.SUPERVISOR)], 3]);
  });

  it('a token that is busy, wrong, or not in its place is #GP', () => {
    const spoil: readonly ((board: Board) => void)[] = [
      (board) => board.view.setBigUint64(Token.SUPERVISOR, BigInt(Token.SUPERVISOR) | BUSY, true),
      (board) => board.view.setBigUint64(Token.SUPERVISOR, 0n, true),
      (board) => board.cpu.set64('plSsp', BigInt(Token.SUPERVISOR - 8), 0),
      (board) => board.cpu.set64('plSsp', BigInt(Token.SUPERVISOR - 4), 0),
    ];
    for (const change of spoil) {
      const board = withStacks(3);
      change(board);
      // #GP then goes to the interrupt stack.
      board.longGate(13, { ist: 1 });
      interrupt(board);
      expect(board.cpu.rip).toBe(BigInt(At.HANDLER + 13 * 16));
      expect(ssp(board)).toBe(Token.INTERRUPT);
    }
  });

  it('an event at the same level pushes CS, return address and SSP, and IRET compares them', () => {
    const board = withStacks(0);
    board.cpu.set64('ssp', BigInt(START - 4));
    interrupt(board);
    expect(ssp(board)).toBe(START - 8 - 24);
    expect(board.quads(START - 32, 4)).toEqual([BigInt(START - 4), BigInt(At.CODE), BigInt(Sel.LONG0), 0n]);
    const good = board.cpu.gpr(4);
    board.view.setBigUint64(Number(good), BigInt(At.CODE + 1), true);
    expect(board.faults(0x48, 0xcf)).toBe('21:2');
    board.view.setBigUint64(Number(good), BigInt(At.CODE), true);
    expect(board.execute(0x48, 0xcf)).toBe(Outcome.JUMPED);
    expect(ssp(board)).toBe(START - 4);
  });

  it('an interrupt stack has its shadow stack from the table, and IRET frees that', () => {
    const board = withStacks(0);
    interrupt(board, 1);
    expect([ssp(board), board.quads(Token.INTERRUPT, 1)]).toEqual([Token.INTERRUPT - 24, [BigInt(Token.INTERRUPT) | BUSY]]);
    expect(board.quads(Token.INTERRUPT - 24, 3)).toEqual([BigInt(START), BigInt(At.CODE), BigInt(Sel.LONG0)]);
    board.execute(0x48, 0xcf);
    expect([ssp(board), board.quads(Token.INTERRUPT, 1)]).toEqual([START, [BigInt(Token.INTERRUPT)]]);
  });

  it('#CP is contributory: its delivery’s #GP makes a double fault', () => {
    const board = withStacks(3);
    board.view.setBigUint64(Token.SUPERVISOR, 0n, true);
    board.longGate(21);
    board.longGate(8, { ist: 1 });
    board.cpu.raise(21, 1);
    deliverFault(board.cpu);
    expect(board.cpu.rip).toBe(BigInt(At.HANDLER + 8 * 16));
  });

  it('far CALL and RET keep a frame of their own', () => {
    const board = withStacks(0);
    board.view.setBigUint64(At.DATA, BigInt(FUNCTION), true);
    board.view.setUint16(At.DATA + 8, Sel.LONG0, true);
    board.cpu.setGpr(0, BigInt(At.DATA));
    board.execute(0x48, 0xff, 0x18);
    expect(board.quads(START - 24, 3)).toEqual([BigInt(START), BigInt(At.CODE + 3), BigInt(Sel.LONG0)]);
    const bad = Number(board.cpu.gpr(4));
    board.view.setBigUint64(bad, BigInt(At.CODE), true);
    expect(board.faults(0x48, 0xcb)).toBe('21:2');
    board.view.setBigUint64(bad, BigInt(At.CODE + 3), true);
    board.execute(0x48, 0xcb);
    expect([ssp(board), board.cpu.rip]).toEqual([START, BigInt(At.CODE + 3)]);
  });

  it('a far jump to code that is not 64-bit code needs SSP below 4 GiB', () => {
    const board = withStacks(0);
    board.view.setBigUint64(At.DATA, BigInt(FUNCTION), true);
    board.view.setUint16(At.DATA + 8, Sel.CODE0, true);
    board.cpu.setGpr(0, BigInt(At.DATA));
    board.cpu.set64('ssp', 0x1_0000_0000n);
    expect(board.faults(0x48, 0xff, 0x28)).toBe('13:0');
    board.cpu.set64('ssp', BigInt(START));
    expect(board.execute(0x48, 0xff, 0x28)).toBe(Outcome.JUMPED);
  });

  it('SYSCALL keeps the user’s pointer and begins without one; SYSRET and SYSEXIT take it back', () => {
    const board = withStacks(3);
    const { cpu } = board;
    cpu.set64('star', 0x0020_0028n << 32n);
    cpu.set64('lstar', BigInt(FUNCTION));
    cpu.set64('ssp', BigInt(USER_POINTER - 64));
    board.execute(0x0f, 0x05);
    expect([ssp(board), cpu.get64('plSsp', 3)]).toEqual([0, BigInt(USER_POINTER - 64)]);
    expect(board.execute(0x48, 0x0f, 0x07)).toBe(Outcome.JUMPED);
    expect(ssp(board)).toBe(USER_POINTER - 64);
    cpu.set64('sysenterCs', BigInt(Sel.LONG0));
    cpu.set64('sysenterEip', BigInt(FUNCTION));
    board.execute(0x0f, 0x34);
    expect(ssp(board)).toBe(0);
    cpu.setGpr(2, BigInt(At.CODE));
    cpu.setGpr(1, BigInt(At.STACK3));
    board.execute(0x48, 0x0f, 0x35);
    expect(ssp(board)).toBe(USER_POINTER - 64);
  });

  it('a call gate to level 0 switches the shadow stack as well', () => {
    const board = withStacks(3);
    board.gate(At.GDT + Sel.FREE, { selector: Sel.LONG0, offset: FUNCTION, type: 12, dpl: 3, wide: true });
    board.view.setBigUint64(At.DATA, 0n, true);
    board.view.setUint16(At.DATA + 8, Sel.FREE | 3, true);
    board.cpu.setGpr(0, BigInt(At.DATA));
    expect(board.execute(0x48, 0xff, 0x18)).toBe(Outcome.JUMPED);
    expect([ssp(board), board.cpu.w[CPL]]).toEqual([Token.SUPERVISOR, 0]);
    expect(board.execute(0x48, 0xcb)).toBe(Outcome.JUMPED);
    expect([ssp(board), board.quads(Token.SUPERVISOR, 1)]).toEqual([USER_POINTER, [BigInt(Token.SUPERVISOR)]]);
    expect(board.selector(Segment.CS)).toBe(Sel.LONG3);
  });
});

describe('instructions of shadow stacks', () => {
  const RSTORSSP = [0xf3, 0x0f, 0x01, 0x28]; // [rax]
  const SAVEPREVSSP = [0xf3, 0x0f, 0x01, 0xea];
  const SETSSBSY = [0xf3, 0x0f, 0x01, 0xe8];
  const CLRSSBSY = [0xf3, 0x0f, 0xae, 0x30];
  const INCSSPQ = [0xf3, 0x48, 0x0f, 0xae, 0xe8];
  const WRSSQ = [0x48, 0x0f, 0x38, 0xf6, 0x08]; // [rax], rcx
  const WRUSSQ = [0x66, 0x48, 0x0f, 0x38, 0xf5, 0x08];
  const RDSSPQ = [0xf3, 0x48, 0x0f, 0x1e, 0xc8];
  const at = (board: Board, address: number): Board => {
    board.cpu.setGpr(0, BigInt(address));
    board.cpu.setGpr(1, MAGIC);
    return board;
  };

  it('are #UD where shadow stacks are off', () => {
    const board = at(new Board().long(0), START);
    for (const bytes of [RSTORSSP, SAVEPREVSSP, SETSSBSY, CLRSSBSY, INCSSPQ, WRSSQ, WRUSSQ]) expect(board.faults(...bytes)).toBe('6');
  });

  it('RDSSP reads SSP, and does nothing where they are off', () => {
    expect(run(withStacks(0), [...RDSSPQ, HLT]).cpu.gpr(0)).toBe(BigInt(START));
    expect(run(at(new Board().long(0), 5), [...RDSSPQ, HLT]).cpu.gpr(0)).toBe(5n);
  });

  it('INCSSP moves by up to 255 elements that are there', () => {
    const board = at(withStacks(0), 3);
    board.execute(...INCSSPQ);
    expect(ssp(board)).toBe(START + 24);
    board.cpu.setGpr(0, 0xff00n);
    board.execute(...INCSSPQ);
    expect(ssp(board)).toBe(START + 24);
    board.cpu.setGpr(0, 0xffn);
    expect(board.faults(...INCSSPQ)).toBe('14:41');
  });

  it('WRSS needs its own enable, alignment, and a page of a shadow stack', () => {
    expect(at(withStacks(0), START).faults(...WRSSQ)).toBe('6');
    const board = at(withStacks(0, CetControl.WR_SHSTK_EN), START);
    expect(board.execute(...WRSSQ)).toBe(Outcome.NEXT);
    expect(board.quads(START, 1)).toEqual([MAGIC]);
    expect(at(board, START + 4).faults(...WRSSQ)).toBe('13:0');
    expect(at(board, At.DATA).faults(...WRSSQ)).toBe('14:43');
  });

  it('WRUSS writes to a user’s shadow stack, from level 0 alone', () => {
    const board = at(withStacks(0), USER_POINTER);
    expect(board.execute(...WRUSSQ)).toBe(Outcome.NEXT);
    expect(board.quads(USER_POINTER, 1)).toEqual([MAGIC]);
    expect(at(board, START).faults(...WRUSSQ)).toBe('14:47');
    expect(at(withStacks(3), USER_POINTER).faults(...WRUSSQ)).toBe('13:0');
  });

  it('RSTORSSP and SAVEPREVSSP switch between shadow stacks, and back', () => {
    const board = withStacks(3);
    const other = Shadow.USER + 0x400;
    // A restore token: the pointer above it, and bit 0 for 64-bit mode.
    board.view.setBigUint64(other - 8, BigInt(other) | 1n, true);
    board.cpu.setGpr(0, BigInt(other - 8));
    expect(board.execute(...RSTORSSP)).toBe(Outcome.NEXT);
    expect([ssp(board), board.quads(other - 8, 1)]).toEqual([other - 8, [BigInt(USER_POINTER) | 3n]]);
    expect(board.cpu.readRflags() & 0x8d5).toBe(0);
    expect(board.execute(...SAVEPREVSSP)).toBe(Outcome.NEXT);
    expect([ssp(board), board.quads(USER_POINTER - 8, 1)]).toEqual([other, [BigInt(USER_POINTER) | 1n]]);
    board.cpu.setGpr(0, BigInt(USER_POINTER - 8));
    expect(board.execute(...RSTORSSP)).toBe(Outcome.NEXT);
    expect(board.execute(...SAVEPREVSSP)).toBe(Outcome.NEXT);
    expect(ssp(board)).toBe(USER_POINTER);
  });

  it('RSTORSSP refuses tokens of another place or mode with #CP(RSTORSSP)', () => {
    const other = Shadow.USER + 0x400;
    for (const token of [0n, BigInt(other), BigInt(other) | 3n, BigInt(other + 16) | 1n, MAGIC]) {
      const board = withStacks(3);
      board.view.setBigUint64(other - 8, token, true);
      board.cpu.setGpr(0, BigInt(other - 8));
      expect(board.faults(...RSTORSSP)).toBe('21:4');
      expect(board.quads(other - 8, 1)).toEqual([token]);
    }
    const unaligned = withStacks(3);
    unaligned.cpu.setGpr(0, BigInt(other - 4));
    expect(unaligned.faults(...RSTORSSP)).toBe('13:0');
  });

  it('a hole of 4 bytes above a token is told by CF, and skipped', () => {
    const board = withStacks(3, 0, true);
    const other = Shadow.USER + 0x404;
    board.view.setUint32(other - 4, 0, true);
    board.view.setBigUint64(other - 12, BigInt(other), true);
    board.cpu.setGpr(0, BigInt(other - 12));
    expect(board.execute(...RSTORSSP)).toBe(Outcome.NEXT);
    expect(board.cpu.readRflags() & 1).toBe(1);
    expect(board.execute(...SAVEPREVSSP)).toBe(Outcome.NEXT);
    expect(ssp(board)).toBe(other);
  });

  it('SETSSBSY takes the stack of IA32_PL0_SSP, CLRSSBSY frees one', () => {
    const board = withStacks(0);
    board.cpu.set64('ssp', 0n);
    expect(board.execute(...SETSSBSY)).toBe(Outcome.NEXT);
    expect([ssp(board), board.quads(Token.SUPERVISOR, 1)]).toEqual([Token.SUPERVISOR, [BigInt(Token.SUPERVISOR) | BUSY]]);
    expect(board.faults(...SETSSBSY)).toBe('21:5');
    board.cpu.setGpr(0, BigInt(Token.SUPERVISOR));
    expect(board.execute(...CLRSSBSY)).toBe(Outcome.NEXT);
    expect([ssp(board), board.quads(Token.SUPERVISOR, 1), board.cpu.readRflags() & 1]).toEqual([0, [BigInt(Token.SUPERVISOR)], 0]);
    expect(board.execute(...CLRSSBSY)).toBe(Outcome.NEXT);
    expect(board.cpu.readRflags() & 1).toBe(1);
    expect(at(withStacks(3), Token.SUPERVISOR).faults(...CLRSSBSY)).toBe('13:0');
    expect(withStacks(3).faults(...SETSSBSY)).toBe('13:0');
  });
});

describe('registers of CET', () => {
  it('WRMSR wants sound values, and a change counts from the next instruction on', () => {
    const { msrs } = withStacks(0).cpu;
    expect(msrs.write(0x6a0, 0x3f, 0)).toBe(true);
    expect(msrs.write(0x6a2, 0x40, 0)).toBe(false);
    expect(msrs.write(0x6a2, 0xc00, 0)).toBe(false);
    expect(msrs.write(0x6a2, 0x1005, 0x40000000)).toBe(false);
    expect([msrs.write(0x6a4, 2, 0), msrs.write(0x6a7, 0, 0x40000000), msrs.write(0x6a7, 0x1004, 0), msrs.write(0x6a8, 3, 0)]).toEqual([
      false,
      false,
      true,
      true,
    ]);
    const board = new Board('max,-cet-ss').long(0);
    expect([board.cpu.msrs.has(0x6a4), board.cpu.msrs.write(0x6a2, STACKS, 0), board.cpu.msrs.write(0x6a2, 4, 0)]).toEqual([false, false, true]);
    const without = new Board('max,-cet-ibt').long(0);
    expect([without.cpu.msrs.write(0x6a2, 4, 0), without.cpu.msrs.write(0x6a2, 3, 0)]).toEqual([false, true]);
  });

  it('CR4.CET needs CR0.WP, and keeps it', () => {
    const board = new Board().long(0);
    board.cpu.setGpr(0, board.cpu.get64('cr4') | 0x800000n);
    expect(board.execute(0x0f, 0x22, 0xe0)).toBe(Outcome.NEXT);
    board.cpu.setGpr(0, board.cpu.get64('cr0') & ~0x10000n);
    expect(board.faults(0x0f, 0x22, 0xc0)).toBe('13:0');
    const open = new Board().long(0);
    open.cpu.set64('cr0', open.cpu.get64('cr0') & ~0x10000n);
    open.cpu.setGpr(0, open.cpu.get64('cr4') | 0x800000n);
    expect(open.faults(0x0f, 0x22, 0xe0)).toBe('13:0');
  });

  it('XSAVES and XRSTORS keep them, as components 11 and 12 of IA32_XSS', () => {
    const board = withStacks(0);
    const { cpu } = board;
    cpu.set64('cr4', cpu.get64('cr4') | 0x40000n);
    cpu.set64('xcr0', 7n);
    expect(cpu.msrs.write(0xda0, 0x1800, 0)).toBe(true);
    cpu.set64('uCet', 0x1005n);
    cpu.setGpr(3, BigInt(At.DATA));
    cpu.setGpr(0, 0x1800n);
    cpu.setGpr(2, 0n);
    expect(board.execute(0x0f, 0xc7, 0x2b)).toBe(Outcome.NEXT);
    expect(board.quads(At.DATA + 512, 2)).toEqual([0x1800n, 0x8000000000001800n]);
    expect(board.quads(At.DATA + 576, 5)).toEqual([0x1005n, BigInt(USER_POINTER), BigInt(Token.SUPERVISOR), 0n, 0n]);
    cpu.set64('uCet', 0n);
    cpu.set64('plSsp', 0n, 3);
    expect(board.execute(0x0f, 0xc7, 0x1b)).toBe(Outcome.NEXT);
    expect([cpu.get64('uCet'), cpu.get64('plSsp', 3)]).toEqual([0x1005n, BigInt(USER_POINTER)]);
    board.view.setBigUint64(At.DATA + 576, 0xc00n, true);
    expect(board.faults(0x0f, 0xc7, 0x1b)).toBe('13:0');
    const leaf = (n: number, sub: number) =>
      cpu.model.cpuid(n, sub, { apicId: 0, apicEnabled: true, cr4: 0, xcr0: 7, xss: 0x1800, limitMaximum: false });
    expect([leaf(13, 1).ecx & 0x1800, leaf(13, 1).ebx, leaf(13, 11), leaf(13, 12).eax]).toEqual([
      0x1800,
      576 + 256 + 40,
      { eax: 16, ebx: 0, ecx: 1, edx: 0 },
      24,
    ]);
    expect([leaf(7, 0).ecx & 0x80, leaf(7, 0).edx & 0x100000]).toEqual([0x80, 0x100000]);
  });
});
