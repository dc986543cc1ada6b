import { CetControl, Cr4 } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { Activity } from '../src/events/deliver.js';
import { serviceEvents } from '../src/events/service.js';
import { updateMode } from '../src/mode.js';
import { Outcome } from '../src/outcome.js';
import { At, Board } from './support/board.js';
import { run, TRACKING, taken, turnOn, USER_POINTER, withStacks } from './support/cet.js';

const SENDUIPI_RBX = [0xf3, 0x0f, 0xc7, 0xf3];
const UIRET = [0xf3, 0x0f, 0x01, 0xec];
const TESTUI = [0xf3, 0x0f, 0x01, 0xed];
const CLUI = [0xf3, 0x0f, 0x01, 0xee];
const STUI = [0xf3, 0x0f, 0x01, 0xef];
const HANDLER = 0x5_5000n;
const TARGETS = At.DATA;
const DESCRIPTOR = At.DATA + 0x1000;
const NOTIFICATION = 0xec;
const [RR, HANDLER_MSR, ADJUST, MISC, PD, TT] = [0x985, 0x986, 0x987, 0x988, 0x989, 0x98a];
const SUPERVISOR = 3n;

/** 64-bit mode with user interrupts: target table of four entries, whose second leads to the vCPU's own descriptor as vector 5. */
function arrange(cpl: 0 | 3 = 3): Board {
  const board = new Board().long(cpl);
  const { cpu, view } = board;
  cpu.set64('cr4', cpu.get64('cr4') | BigInt(Cr4.UINTR));
  updateMode(cpu);
  for (const [msr, lo, hi] of [
    [HANDLER_MSR, Number(HANDLER), 0],
    [MISC, 3, NOTIFICATION],
    [PD, DESCRIPTOR, 0],
    [TT, TARGETS | 1, 0],
    [ADJUST, 128, 0],
  ] as const)
    if (!cpu.msrs.write(msr, lo, hi)) throw new Error(`MSR ${msr.toString(16)}`);
  view.setBigUint64(TARGETS + 16, 0x501n, true);
  view.setBigUint64(TARGETS + 24, BigInt(DESCRIPTOR), true);
  // Notification vector and destination 7.
  view.setBigUint64(DESCRIPTOR, (7n << 40n) | (BigInt(NOTIFICATION) << 16n), true);
  cpu.setGpr(3, 1n);
  board.nowNs++;
  return board;
}

/** What the local APIC is told, as writes of its registers (xAPIC) or MSRs. */
function watchApic(board: Board): string[] {
  const said: string[] = [];
  const { memory } = board;
  const write = memory.write32.bind(memory);
  Object.defineProperty(memory, 'write32', {
    value: (address: number, value: number) => {
      if (address < 0xfee00000) write(address, value);
      else said.push(`${address.toString(16)}=${(value >>> 0).toString(16)}`);
    },
  });
  return said;
}
const requests = (board: Board): bigint => board.view.getBigUint64(DESCRIPTOR + 8, true);
const control = (board: Board): bigint => board.view.getBigUint64(DESCRIPTOR, true) & 0xffffffffn;
const request = (board: Board, bits: bigint): void => void board.cpu.msrs.write(RR, Number(bits & 0xffffffffn), Number(bits >> 32n));

describe('SENDUIPI', () => {
  it('posts the vector and sends the notification, unless one is outstanding or suppressed', () => {
    const board = arrange();
    const said = watchApic(board);
    expect(board.execute(...SENDUIPI_RBX)).toBe(Outcome.NEXT);
    expect([requests(board), control(board) & 3n]).toEqual([0x20n, 1n]);
    expect(said).toEqual(['fee00310=7000000', `fee00300=${NOTIFICATION.toString(16)}`]);
    said.length = 0;
    board.execute(...SENDUIPI_RBX);
    expect(said, 'outstanding').toEqual([]);
    board.view.setUint8(DESCRIPTOR, 2);
    board.view.setBigUint64(TARGETS + 16, 0x3f01n, true);
    board.execute(...SENDUIPI_RBX);
    expect([said, requests(board), control(board) & 3n]).toEqual([[], (1n << 63n) | 0x20n, 2n]);
  });

  it('works with supervisor pages, from level 3', () => {
    const board = arrange();
    for (const page of [TARGETS, DESCRIPTOR]) board.view.setBigUint64(At.PT + 8 * (page >>> 12), BigInt(page) | SUPERVISOR, true);
    board.cpu.mmu.flushAll();
    watchApic(board);
    expect(board.execute(...SENDUIPI_RBX)).toBe(Outcome.NEXT);
  });

  it('faults on what the table and the descriptor must not have', () => {
    const spoil: readonly ((board: Board) => void)[] = [
      (board) => board.cpu.setGpr(3, 4n),
      (board) => board.cpu.setGpr(3, 1n << 32n),
      (board) => board.view.setBigUint64(TARGETS + 16, 0x500n, true),
      (board) => board.view.setBigUint64(TARGETS + 16, 0x503n, true),
      (board) => board.view.setBigUint64(TARGETS + 16, 0x4001n, true),
      (board) => board.view.setBigUint64(TARGETS + 16, 0x1_0000_0501n, true),
      (board) => board.view.setBigUint64(TARGETS + 24, BigInt(DESCRIPTOR + 8), true),
      (board) => board.view.setBigUint64(TARGETS + 24, 1n << 60n, true),
      (board) => board.view.setUint8(DESCRIPTOR, 4),
      (board) => board.view.setUint8(DESCRIPTOR + 3, 1),
    ];
    spoil.forEach((change, i) => {
      const board = arrange();
      change(board);
      expect(board.faults(...SENDUIPI_RBX), String(i)).toBe('13:0');
      expect(requests(board)).toBe(0n);
    });
    for (const page of [TARGETS, DESCRIPTOR]) {
      const board = arrange();
      board.unmap(page);
      expect(board.faults(...SENDUIPI_RBX)).toMatch(/^14:/);
    }
  });

  it('is #UD when IA32_UINTR_TT does not enable it', () => {
    const board = arrange();
    board.cpu.msrs.write(TT, TARGETS, 0);
    expect(board.faults(...SENDUIPI_RBX)).toBe('6');
  });
});

describe('the notification', () => {
  it('moves requests from the descriptor to UIRR, ends at the APIC, and enters no handler', () => {
    const board = arrange(0);
    const said = watchApic(board);
    board.view.setBigUint64(DESCRIPTOR + 8, 0x8000_0000_0000_0020n, true);
    board.view.setUint8(DESCRIPTOR, 1);
    board.interrupts.vector = NOTIFICATION;
    const { rip } = board.cpu;
    serviceEvents(board.cpu);
    expect(board.cpu.rip).toBe(rip);
    expect(said).toEqual(['fee000b0=0']);
    expect([board.cpu.get64('uintrRequests'), requests(board), control(board) & 1n]).toEqual([0x8000_0000_0000_0020n, 0n, 0n]);
  });

  it('leaves a halted processor halted', () => {
    const board = arrange(0);
    watchApic(board);
    board.cpu.set32('activity', Activity.HLT);
    board.interrupts.vector = NOTIFICATION;
    serviceEvents(board.cpu);
    expect(board.cpu.get32('activity')).toBe(Activity.HLT);
  });

  it('is an ordinary interrupt without CR4.UINTR, and other vectors always are', () => {
    for (const [cr4, vector] of [
      [0n, NOTIFICATION],
      [BigInt(Cr4.UINTR), NOTIFICATION - 1],
    ] as const) {
      const board = arrange(0);
      board.cpu.set64('cr4', (board.cpu.get64('cr4') & ~BigInt(Cr4.UINTR)) | cr4);
      board.longGate(vector);
      board.interrupts.vector = vector;
      serviceEvents(board.cpu);
      expect(board.cpu.rip).toBe(BigInt(At.HANDLER + 16 * vector));
    }
  });

  it('faults when the descriptor is not there', () => {
    const board = arrange(0);
    watchApic(board);
    board.longGate(14);
    board.unmap(DESCRIPTOR);
    board.interrupts.vector = NOTIFICATION;
    serviceEvents(board.cpu);
    expect(board.cpu.rip).toBe(BigInt(At.HANDLER + 14 * 16));
    expect(board.cpu.get64('cr2')).toBe(BigInt(DESCRIPTOR));
  });
});

describe('delivery', () => {
  it('pushes RSP, RFLAGS, RIP and the vector below the red zone, highest first, and blocks', () => {
    const board = arrange();
    const { cpu } = board;
    cpu.setGpr(4, BigInt(At.STACK3 - 3));
    cpu.writeRflags(0x306);
    const { rip } = cpu;
    board.execute(...STUI);
    request(board, 0x8020n);
    serviceEvents(cpu);
    const top = ((At.STACK3 - 3 - 128) & ~15) - 32;
    expect([cpu.rip, cpu.gpr(4)]).toEqual([HANDLER, BigInt(top)]);
    expect(board.quads(top, 4)).toEqual([15n, rip + 4n, 0x306n, BigInt(At.STACK3 - 3)]);
    expect([cpu.get32('uif'), cpu.get64('uintrRequests'), cpu.readRflags() & 0x100]).toEqual([0, 0x20n, 0]);
    expect(serviceEvents(cpu), 'blocked').toBe(false);
  });

  it('takes another stack, if told so', () => {
    const board = arrange();
    board.cpu.msrs.write(ADJUST, (At.STACK3 - 0x800) | 1, 0);
    board.execute(...STUI);
    request(board, 1n << 40n);
    serviceEvents(board.cpu);
    expect(board.cpu.gpr(4)).toBe(BigInt(At.STACK3 - 0x800 - 32));
    expect(board.quads(At.STACK3 - 0x800 - 32, 1)).toEqual([40n]);
  });

  it('waits for level 3 in 64-bit mode, UIF, CR4.UINTR and the end of a shadow', () => {
    const closed: readonly ((board: Board) => void)[] = [
      (board) => board.execute(...CLUI),
      (board) => board.cpu.set64('cr4', board.cpu.get64('cr4') & ~BigInt(Cr4.UINTR)),
      (board) => board.cpu.set32('interruptibility', 2),
    ];
    for (const close of closed) {
      const board = arrange();
      board.execute(...STUI);
      close(board);
      request(board, 1n);
      serviceEvents(board.cpu);
      expect(board.cpu.rip).not.toBe(HANDLER);
    }
    const board = arrange(0);
    board.execute(...STUI);
    request(board, 1n);
    serviceEvents(board.cpu);
    expect(board.cpu.rip).not.toBe(HANDLER);
    board.long(3);
    board.cpu.set64('cr4', board.cpu.get64('cr4') | BigInt(Cr4.UINTR));
    updateMode(board.cpu);
    expect(board.cpu.attention, 'a change to level 3 looks again').toBe(1);
    serviceEvents(board.cpu);
    expect(board.cpu.rip).toBe(HANDLER);
  });

  it('comes after ordinary interrupts', () => {
    const board = arrange();
    board.longGate(0x30);
    board.execute(...STUI);
    request(board, 1n);
    board.interrupts.vector = 0x30;
    serviceEvents(board.cpu);
    expect(board.cpu.rip).toBe(BigInt(At.HANDLER + 0x300));
  });

  it('faults on its stack with the request still there', () => {
    const board = arrange();
    board.longGate(14);
    board.cpu.msrs.write(ADJUST, At.DATA | 0x3001, 0);
    board.unmap(At.DATA + 0x2000);
    board.execute(...STUI);
    request(board, 1n);
    serviceEvents(board.cpu);
    expect(board.cpu.rip).toBe(BigInt(At.HANDLER + 14 * 16));
    expect([board.cpu.get64('uintrRequests'), board.cpu.get32('uif')]).toEqual([1n, 1]);
  });
});

describe('under control-flow enforcement', () => {
  const ENDBR64 = [0xf3, 0x0f, 0x1e, 0xfa];
  const handle = (board: Board, code: readonly number[]): Board => {
    const { cpu } = board;
    cpu.set64('cr4', cpu.get64('cr4') | BigInt(Cr4.UINTR));
    updateMode(cpu);
    cpu.msrs.write(HANDLER_MSR, Number(HANDLER), 0);
    cpu.msrs.write(ADJUST, 128, 0);
    board.memory.write(Number(HANDLER), Uint8Array.from(code));
    cpu.set32('uif', 1);
    request(board, 0x20n);
    return run(board, [0x90, 0xcc]);
  };
  const BREAKPOINT = '3';

  it('pushes RIP onto the shadow stack, and UIRET takes it back', () => {
    const inside = handle(withStacks(3), [0xcc]);
    expect(taken(inside)).toBe(BREAKPOINT);
    expect(inside.quads(USER_POINTER - 8, 1)).toEqual([BigInt(At.CODE)]);
    const back = handle(withStacks(3), [0x58, ...UIRET]); // pop rax; uiret
    expect([taken(back), back.cpu.get64('plSsp', 3)]).toEqual([BREAKPOINT, BigInt(USER_POINTER)]);
    expect(back.quads(Number(back.cpu.gpr(4)), 1)).toEqual([BigInt(At.CODE + 2)]);
  });

  it('UIRET to another place is #CP', () => {
    // pop rax; inc qword [rsp]; uiret
    expect(taken(handle(withStacks(3), [0x58, 0x48, 0xff, 0x04, 0x24, ...UIRET]))).toBe('21:2');
  });

  it('faults on the shadow stack with the request still there', () => {
    const board = withStacks(3);
    board.unmap(USER_POINTER - 8);
    handle(board, [0xcc]);
    expect([taken(board).split(':')[0], board.cpu.get64('uintrRequests')]).toEqual(['14', 0x20n]);
  });

  it("wants an ENDBR64 at the handler where branches are tracked, and the tracker is the handler's", () => {
    const tracked = (): Board => turnOn(new Board().long(3), TRACKING, 0);
    expect(taken(handle(tracked(), [0x90, 0xcc]))).toBe('21:3');
    expect(taken(handle(tracked(), [...ENDBR64, 0xcc]))).toBe(BREAKPOINT);
    const suppressed = turnOn(new Board().long(3), TRACKING | CetControl.SUPPRESS, 0);
    expect(taken(handle(suppressed, [0x90, 0xcc]))).toBe('21:3');
  });
});

describe('UIRET and the flag', () => {
  it('returns with RIP, RSP and most of RFLAGS; UIF comes from bit 1 of the image', () => {
    for (const image of [0x2_46d7n, 0x2_46d5n]) {
      const board = arrange();
      const { cpu } = board;
      const top = At.STACK3 - 0x100;
      cpu.setGpr(4, BigInt(top));
      [0x1_2345n, image, BigInt(At.STACK3 - 8)].forEach((value, i) => board.view.setBigUint64(top + 8 * i, value, true));
      cpu.writeRflags(0x202);
      expect(board.execute(...UIRET)).toBe(Outcome.JUMPED);
      expect([cpu.rip, cpu.gpr(4)]).toEqual([0x1_2345n, BigInt(At.STACK3 - 8)]);
      // IF and VM stay as they are.
      expect(cpu.readRflags()).toBe(0x46d7);
      expect(cpu.get32('uif')).toBe(image === 0x2_46d7n ? 1 : 0);
    }
  });

  it('faults on an address that is not canonical, and on the stack', () => {
    const board = arrange();
    const top = At.STACK3 - 0x100;
    board.cpu.setGpr(4, BigInt(top));
    board.view.setBigUint64(top, 1n << 60n, true);
    expect(board.faults(...UIRET)).toBe('13:0');
    board.unmap(top);
    expect(board.faults(...UIRET)).toBe('14:4');
  });

  it('TESTUI shows UIF in CF; CLUI and STUI change it', () => {
    const board = arrange();
    const test = (): number => (board.cpu.writeRflags(0x202 | 0x8d5), board.execute(...TESTUI), board.cpu.readRflags() & 0x8d5);
    expect(test()).toBe(0);
    board.execute(...STUI);
    expect(test()).toBe(1);
    board.execute(...CLUI);
    expect(test()).toBe(0);
  });

  it('are #UD without CR4.UINTR', () => {
    const board = new Board().long(3);
    for (const code of [UIRET, TESTUI, CLUI, STUI, SENDUIPI_RBX]) expect(board.faults(...code)).toBe('6');
  });
});

it('the MSRs reject reserved bits and addresses that are not canonical', () => {
  const { cpu } = arrange(0);
  for (const [msr, lo, hi] of [
    [HANDLER_MSR, 0, 1 << 28],
    [ADJUST, 2, 0],
    [ADJUST, 0, 1 << 28],
    [MISC, 0, 0x100],
    [PD, 8, 0],
    [PD, 0, 1 << 28],
    [TT, 2, 0],
    [TT, 0, 1 << 28],
  ] as const)
    expect(cpu.msrs.write(msr, lo, hi), `${msr.toString(16)} ${lo} ${hi}`).toBe(false);
  expect(new Board('max,-uintr').cpu.msrs.has(RR)).toBe(false);
});

describe('the state component of user interrupts', () => {
  const AREA = At.DATA + 0x2000;
  const XSS = 0xda0;
  const UINTR = 1n << 14n;
  const XSAVES_RCX = [0x0f, 0xc7, 0x29];
  const XRSTORS_RCX = [0x0f, 0xc7, 0x19];
  /** Where the component is in a compacted area that has no other. */
  const AT = AREA + 576;

  function saving(): Board {
    const board = arrange(0);
    const { cpu } = board;
    cpu.set64('cr4', cpu.get64('cr4') | BigInt(Cr4.OSXSAVE));
    updateMode(cpu);
    expect(cpu.msrs.write(XSS, Number(UINTR), 0)).toBe(true);
    cpu.setGpr(0, UINTR);
    cpu.setGpr(2, 0n);
    cpu.setGpr(1, BigInt(AREA));
    return board;
  }

  it('is saved and loaded, UIF with it; saving forgets UINV', () => {
    const board = saving();
    const { cpu } = board;
    board.execute(...STUI);
    request(board, 0x33n);
    expect(board.execute(...XSAVES_RCX)).toBe(Outcome.NEXT);
    expect(board.quads(AT, 6)).toEqual([
      HANDLER,
      128n,
      (1n << 63n) | (BigInt(NOTIFICATION) << 32n) | 3n,
      BigInt(DESCRIPTOR),
      0x33n,
      BigInt(TARGETS | 1),
    ]);
    expect(cpu.get64('uintrMisc')).toBe(3n);
    board.execute(...CLUI);
    for (const field of ['uintrHandler', 'uintrRequests', 'uintrTargets'] as const) cpu.set64(field, 0n);
    expect(board.execute(...XRSTORS_RCX)).toBe(Outcome.NEXT);
    expect([cpu.get64('uintrHandler'), cpu.get64('uintrRequests'), cpu.get32('uif')]).toEqual([HANDLER, 0x33n, 1]);
    expect(cpu.get64('uintrMisc')).toBe((BigInt(NOTIFICATION) << 32n) | 3n);
  });

  it('is not loaded over a UINV that is there, nor with reserved bits; the initial state is all zeros', () => {
    const board = saving();
    const { cpu } = board;
    board.execute(...XSAVES_RCX);
    cpu.msrs.write(MISC, 0, 1);
    expect(board.faults(...XRSTORS_RCX)).toBe('13:0');
    cpu.msrs.write(MISC, 0, 0);
    board.view.setUint8(AT + 24, 1);
    expect(board.faults(...XRSTORS_RCX)).toBe('13:0');
    board.view.setBigUint64(AREA + 512, 0n, true);
    expect(board.execute(...XRSTORS_RCX)).toBe(Outcome.NEXT);
    expect([cpu.get64('uintrHandler'), cpu.get64('uintrDescriptor'), cpu.get32('uif')]).toEqual([0n, 0n, 0]);
  });

  it('is announced', () => {
    const state = { apicId: 0, apicEnabled: true, cr4: 0, xcr0: 1, xss: 0, limitMaximum: false };
    const leaf = (n: number, sub: number) => board.cpu.model.cpuid(n, sub, state);
    const board = saving();
    expect([
      leaf(13, 14).eax,
      leaf(13, 14).ebx,
      leaf(13, 14).ecx,
      (leaf(13, 1).ecx >>> 14) & 1,
      (leaf(7, 0).edx >>> 5) & 1,
      (leaf(7, 1).edx >>> 17) & 1,
    ]).toEqual([48, 0, 1, 1, 1, 1]);
  });
});
