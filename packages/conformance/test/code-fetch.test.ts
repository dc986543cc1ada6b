import { updateMode, type Vcpu } from '@nestvm/cpu';
import { Segment } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { CODE, type RealMode, realMode } from './support/real-mode.js';

const HLT = 0xf4;
const INC_AX = 0x40;
/** inc dword [0x3000]; iret. */
const COUNT = [0x66, 0xff, 0x06, 0x00, 0x30, 0xcf];
/** Below all code, so that a segment that ends early reaches it. */
const HANDLER = 0x600;

/** Lets exceptions of a vector end at HLT, with the IP that they were raised at on the stack. */
function stopAt(machine: RealMode, vector: number): void {
  machine.write(4 * vector, HANDLER & 0xff, HANDLER >> 8, 0, 0);
  machine.write(HANDLER, HLT);
}

function start(machine: RealMode, selector: number, ip: number, limit = 0xffff): Vcpu {
  const { cpu } = machine;
  cpu.set32('activity', 0);
  cpu.set32('segLimit', limit, Segment.CS);
  cpu.set64('segBase', BigInt(selector * 16), Segment.CS);
  cpu.set64('rip', BigInt(ip));
  cpu.setGpr(0, 0n);
  cpu.setGpr(4, 0x800n);
  updateMode(cpu);
  return cpu;
}

describe('code', () => {
  it('may come from a device, byte by byte as it answers each time', () => {
    const machine = realMode([], []);
    let turn = 0;
    // inc ax or dec ax, by turns; then jmp back while the count in CX lasts.
    machine.mmio.claim({
      name: 'code',
      base: 0xa0000,
      size: 16,
      read: (offset) => [offset === 0 && turn++ % 4 === 3 ? 0x48 : INC_AX, 0xe2, 0xfd, HLT][offset] ?? 0x90,
      write: () => {},
    });
    const cpu = start(machine, 0xa000, 0);
    cpu.setGpr(1, 8n);
    machine.run();
    expect(cpu.gpr(1) & 0xffffn).toBe(0n);
    expect([4n, 6n, 8n]).toContain(cpu.gpr(0) & 0xffffn);
    expect(turn).toBeGreaterThanOrEqual(8);
    expect(cpu.rip).toBe(4n);
  });

  it('may go on where nothing is, and all ones are no instruction', () => {
    const machine = realMode([], []);
    stopAt(machine, 6);
    // mov ax, imm16, whose immediate lies behind the end of RAM.
    machine.write(0xffff, 0xb8);
    const cpu = start(machine, 0x0f00, 0x0fff);
    machine.run();
    expect(cpu.gpr(0) & 0xffffn).toBe(0xffffn);
    expect(cpu.rip).toBe(BigInt(HANDLER + 1));
    expect(machine.word(0x800 - 6)).toBe(0x1002);
  });

  it('where nothing is faults for ever without holding the thread or filling memory', () => {
    const machine = realMode([], []);
    // The handler of #UD lies where nothing is.
    machine.write(24, 0, 0, 0, 0xb0);
    start(machine, 0xb000, 0).set64('segBase', 0x20000n, Segment.SS);
    machine.run();
    expect(machine.cpu.rip).toBe(0n);
  });

  it.each([
    [0xffff, CODE + 1],
    [CODE + 1, 0xffff],
  ])('ends where its segment ends, also when it was decoded under another limit (%d, then %d)', (...limits) => {
    const machine = realMode([INC_AX, INC_AX, INC_AX, HLT], []);
    stopAt(machine, 13);
    for (const limit of [...limits, ...limits]) {
      const cpu = start(machine, 0, CODE, limit);
      machine.run();
      expect([cpu.gpr(0) & 0xffffn, cpu.rip]).toEqual(limit === 0xffff ? [3n, BigInt(CODE + 4)] : [2n, BigInt(HANDLER + 1)]);
      if (limit !== 0xffff) expect(machine.word(0x800 - 6)).toBe(CODE + 2);
    }
  });

  it('that its segment cuts in the middle of an instruction is #GP, on one page and on two', () => {
    for (const at of [0x1000, 0x1ffe]) {
      const machine = realMode([], []);
      machine.write(at, 0xb8, 0x34, 0x12, HLT);
      stopAt(machine, 13);
      for (const [limit, ax] of [
        [0xffff, 0x1234n],
        [at + 1, 0n],
        [0xffff, 0x1234n],
      ] as const) {
        const cpu = start(machine, 0, at, limit);
        machine.run();
        expect(cpu.gpr(0) & 0xffffn).toBe(ax);
      }
    }
  });
});

describe('single-stepping', () => {
  it('traps after each iteration of a repeated string instruction', () => {
    // push 0x102; popf; rep stosb; nop; push 2; popf; hlt
    const code = [0x68, 0x02, 0x01, 0x9d, 0xf3, 0xaa, 0x90, 0x6a, 0x02, 0x9d, HLT];
    const machine = realMode(code, COUNT);
    const { cpu } = machine;
    cpu.setGpr(0, 0x41n);
    cpu.setGpr(1, 5n);
    cpu.setGpr(7, 0x4000n);
    machine.run();
    expect([machine.word(0x4000), machine.word(0x4004)]).toEqual([0x4141, 0x41]);
    expect(cpu.gpr(1) & 0xffffn).toBe(0n);
    // Five iterations, NOP, PUSH, and the POPF that clears TF.
    expect(machine.word(0x3000)).toBe(8);
  });
});
