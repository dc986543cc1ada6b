import type { Vcpu } from '@nestvm/cpu';
import { ACTIVITY, INTERRUPTIBILITY, RFLAGS, Shadow } from '@nestvm/cpu/extension';
import { beforeEach, describe, expect, it } from 'vitest';
import { At, Board } from './support/board.js';

const CLGI = [0x0f, 0x01, 0xdd];
const STGI = [0x0f, 0x01, 0xdc];
const STI = 0xfb;
const NOP = 0x90;
const HLT = 0xf4;
const VECTOR = 0x40;

const board = new Board();
/** Instructions that TypeScript has carried out. */
let full: string[] = [];
const originals = { CLGI: board.cpu.extensionInstructions['CLGI']!, STGI: board.cpu.extensionInstructions['STGI']! };
for (const [name, original] of Object.entries(originals))
  board.cpu.extensionInstructions[name] = (cpu: Vcpu, insn) => {
    full.push(name);
    return original(cpu, insn);
  };

beforeEach(() => {
  full = [];
  board.prepare();
  board.gdt();
  board.gate(At.IDT, VECTOR, At.HANDLER);
  board.cpu.set32('idtrLimit', 0xfff);
  board.code(At.HANDLER, HLT);
});

/** Runs code of the host from its beginning to HLT; gives how far it came. */
function host(...bytes: number[]): number {
  board.code(At.HOST, ...bytes);
  board.cpu.rip = BigInt(At.HOST);
  board.cpu.w[ACTIVITY] = 0;
  board.interpreter.run(1000);
  return Number(board.cpu.rip);
}

const isHeld = (): boolean => (board.cpu.w[INTERRUPTIBILITY]! & Shadow.GIF) !== 0;

it('breakpoints that are met while GIF is clear are discarded', () => {
  board.gate(At.IDT, 1, At.HANDLER + 16);
  board.code(At.HANDLER + 16, HLT);
  const met = (...before: number[]): number => {
    board.cpu.rip = BigInt(At.HOST);
    board.cpu.setGpr(0, BigInt(At.HOST + before.length + 7));
    // mov dr0, rax; mov ecx, 1 … : the register takes DR7 from RCX
    board.cpu.setGpr(1, 0x401n);
    return host(...before, 0x0f, 0x23, 0xc0, 0x0f, 0x23, 0xf9, NOP, NOP, HLT);
  };
  expect(met()).toBe(At.HANDLER + 17);
  expect(met(...CLGI)).toBe(At.HOST + 12);
});

describe('CLGI and STGI in generated code', () => {
  it('change GIF alone', () => {
    expect(host(...CLGI, HLT)).toBe(At.HOST + 4);
    expect(isHeld()).toBe(true);
    expect(host(...CLGI, NOP, ...STGI, HLT)).toBe(At.HOST + 8);
    expect(isHeld()).toBe(false);
    expect(full).toEqual([]);
  });

  it('an interrupt that came while GIF was clear is taken behind STGI', () => {
    host(...CLGI, HLT);
    board.lines.vector = VECTOR;
    board.cpu.requestAttention();
    // It does not come with IF alone.
    expect(host(STI, NOP, NOP, ...STGI, NOP, HLT)).toBe(At.HANDLER + 1);
    expect(full).toEqual(['STGI']);
    expect(board.cpu.w[RFLAGS]! & 0x200, 'IF is clear in the handler').toBe(0);
  });

  it('one that IF holds back as well waits for IF', () => {
    host(...CLGI, HLT);
    board.lines.vector = VECTOR;
    board.cpu.requestAttention();
    expect(host(NOP, ...STGI, NOP, HLT)).toBe(At.HOST + 6);
    expect(host(STI, NOP, NOP, HLT)).toBe(At.HANDLER + 1);
  });

  it('without EFER.SVME, above level 0 and under an intercept they are what the full implementation makes of them', () => {
    for (const bytes of [CLGI, STGI]) {
      full = [];
      board.cpu.set32('efer', 0x500);
      board.gate(At.IDT, 6, At.HANDLER);
      expect(host(...bytes, HLT), '#UD').toBe(At.HANDLER + 1);
      expect(full).toHaveLength(1);
      board.cpu.set32('efer', 0x1500);
    }
  });
});
