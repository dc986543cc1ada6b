import { Mode, Segment } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { Outcome } from '../src/outcome.js';
import { MODE } from '../src/words.js';
import { At, Board } from './support/board.js';

const TO_CR = (n: number): number[] => (n >= 8 ? [0x44, 0x0f, 0x22, 0xc0 | ((n - 8) << 3)] : [0x0f, 0x22, 0xc0 | (n << 3)]);
const FROM_CR = (n: number): number[] => (n >= 8 ? [0x44, 0x0f, 0x20, 0xc0 | ((n - 8) << 3)] : [0x0f, 0x20, 0xc0 | (n << 3)]);

function load(board: Board, register: number, value: bigint): string {
  board.cpu.setGpr(0, value);
  const outcome = board.execute(...TO_CR(register));
  return outcome === Outcome.FAULT ? board.fault : 'ok';
}

describe('control registers', () => {
  it('enter IA-32e mode by PAE, LME and PG, and leave it again', () => {
    const board = new Board().protect(0);
    const { cpu } = board;
    expect(load(board, 4, 0x20n)).toBe('ok');
    expect(load(board, 3, BigInt(At.PML4))).toBe('ok');
    cpu.set64('efer', 0x100n);
    expect(load(board, 0, 0x80000011n)).toBe('ok');
    expect(cpu.get64('efer')).toBe(0x500n);
    expect(cpu.w[MODE]! & (Mode.IA32E | Mode.LONG)).toBe(Mode.IA32E);
    expect(load(board, 4, 0n), 'PAE must stay').toBe('13:0');
    expect(load(board, 0, 0x11n)).toBe('ok');
    expect(cpu.get64('efer')).toBe(0x100n);
  });

  it('refuse what the manual forbids of CR0', () => {
    const board = new Board().protect(0);
    expect(load(board, 0, 0x80000010n), 'PG without PE').toBe('13:0');
    expect(load(board, 0, 0x20000011n), 'NW without CD').toBe('13:0');
    board.cpu.set64('efer', 0x100n);
    expect(load(board, 0, 0x80000011n), 'LME without PAE').toBe('13:0');
    const long = new Board().long(0);
    expect(load(long, 0, 0x50033n), 'PG off in 64-bit mode').toBe('13:0');
    expect(load(long, 0, 0x180050033n), 'upper half').toBe('13:0');
    expect(load(long, 0, 0xffffffff8005003bn & 0xffffffffn), 'reserved low bits are dropped').toBe('ok');
    expect(long.cpu.get64('cr0') & 0xfn).toBe(0xbn);
  });

  it('refuse what the manual forbids of CR4', () => {
    const board = new Board().long(0);
    expect(load(board, 4, 0x6a0n | (1n << 31n))).toBe('13:0');
    expect(load(board, 4, 0x6a0n | (1n << 32n))).toBe('13:0');
    expect(load(board, 4, 0x680n), 'PAE in IA-32e mode').toBe('13:0');
    board.cpu.set64('cr3', BigInt(At.PML4) | 5n);
    expect(load(board, 4, 0x206a0n), 'PCIDE with a PCID in CR3').toBe('13:0');
    board.cpu.set64('cr3', BigInt(At.PML4));
    expect(load(board, 4, 0x206a0n)).toBe('ok');
    expect(load(board, 0, 0x50033n), 'PG off under PCIDE').toBe('13:0');
    const protect = new Board().protect(0);
    expect(load(protect, 4, 0x20000n), 'PCIDE outside of IA-32e mode').toBe('13:0');
    const old = new Board('qemu64').long(0);
    expect(load(old, 4, 0x6a0n | (1n << 20n)), 'SMEP that the model lacks').toBe('13:0');
  });

  it('know CR0 2 3 4 8 and no others; CR8 is the task priority', () => {
    const board = new Board().long(0);
    for (const n of [1, 5, 6, 7, 9, 15]) {
      expect(() => board.decode(TO_CR(n)), `CR${n}`).toThrow('length -2');
      expect(() => board.decode(FROM_CR(n)), `CR${n}`).toThrow('length -2');
    }
    expect(load(board, 8, 7n)).toBe('ok');
    expect(board.interrupts.tpr).toBe(7);
    expect(load(board, 8, 16n)).toBe('13:0');
    expect(new Board().protect(0).decode([0x0f, 0x22, 0xc0]).reg).toBe(0);
    board.interrupts.tpr = 9;
    board.execute(...FROM_CR(8));
    expect(board.cpu.gpr(0)).toBe(9n);
  });

  it('are for level 0', () => {
    expect(new Board().long(3).faults(...FROM_CR(0))).toBe('13:0');
    expect(new Board().long(3).faults(0x0f, 0x06), 'CLTS').toBe('13:0');
  });

  it('LMSW sets PE but cannot clear it; SMSW obeys UMIP', () => {
    const board = new Board().real();
    board.cpu.setGpr(0, 1n);
    expect(board.execute(0x0f, 0x01, 0xf0)).toBe(Outcome.NEXT);
    expect(board.cpu.get64('cr0') & 1n).toBe(1n);
    board.cpu.setGpr(0, 0xen);
    board.execute(0x0f, 0x01, 0xf0);
    expect(board.cpu.get64('cr0') & 0xfn).toBe(0xfn);
    const user = new Board().long(3);
    expect(user.execute(0x0f, 0x01, 0xe0)).toBe(Outcome.NEXT);
    expect(user.cpu.gpr(0)).toBe(0x80050033n);
    user.cpu.set64('cr4', 0xea0n);
    for (const group of [
      [0x0f, 0x01, 0xe0],
      [0x0f, 0x01, 0x00],
      [0x0f, 0x01, 0x08],
      [0x0f, 0x00, 0xc0],
      [0x0f, 0x00, 0xc8],
    ])
      expect(user.faults(...group)).toBe('13:0');
  });
});

describe('table registers', () => {
  it('LGDT and SGDT move ten bytes in 64-bit mode', () => {
    const board = new Board().long(0);
    const { cpu } = board;
    board.view.setUint16(At.DATA, 0x1234, true);
    board.view.setBigUint64(At.DATA + 2, 0xffff888000001000n, true);
    cpu.setGpr(0, BigInt(At.DATA));
    expect(board.execute(0x0f, 0x01, 0x10)).toBe(Outcome.NEXT);
    expect([cpu.get64('gdtrBase'), cpu.get32('gdtrLimit')]).toEqual([0xffff888000001000n, 0x1234]);
    cpu.setGpr(0, BigInt(At.DATA + 32));
    expect(board.execute(0x0f, 0x01, 0x00)).toBe(Outcome.NEXT);
    expect([board.view.getUint16(At.DATA + 32, true), board.view.getBigUint64(At.DATA + 34, true)]).toEqual([0x1234, 0xffff888000001000n]);
    board.view.setBigUint64(At.DATA + 2, 0x8000000000000000n, true);
    cpu.setGpr(0, BigInt(At.DATA));
    expect(board.faults(0x0f, 0x01, 0x18)).toBe('13:0');
  });

  it('LGDT takes 24 bits of base with a 16-bit operand size', () => {
    const board = new Board().protect(0);
    board.view.setUint16(At.DATA, 0x7f, true);
    board.view.setUint32(At.DATA + 2, 0xab123456, true);
    board.cpu.setGpr(0, BigInt(At.DATA));
    board.execute(0x66, 0x0f, 0x01, 0x10);
    expect(board.cpu.get64('gdtrBase')).toBe(0x123456n);
    board.execute(0x0f, 0x01, 0x10);
    expect(board.cpu.get64('gdtrBase')).toBe(0xab123456n);
  });

  it('LTR loads a 16-byte descriptor and marks it busy', () => {
    const board = new Board().long(0);
    const { cpu } = board;
    board.descriptor(0x90, { type: 9, system: true, base: 0x12345678, limit: 0x67 });
    board.view.setUint32(At.GDT + 0x98, 0xffff8880, true);
    board.view.setUint32(At.GDT + 0x9c, 0, true);
    cpu.setGpr(0, 0x90n);
    expect(board.execute(0x0f, 0x00, 0xd8)).toBe(Outcome.NEXT);
    expect(cpu.get64('segBase', Segment.TR)).toBe(0xffff888012345678n);
    expect(board.view.getUint8(At.GDT + 0x95) & 15).toBe(11);
    expect(board.faults(0x0f, 0x00, 0xd8), 'busy now').toBe('13:90');
    cpu.setGpr(0, 0n);
    expect(board.faults(0x0f, 0x00, 0xd8)).toBe('13:0');
    cpu.setGpr(0, 0x14n);
    expect(board.faults(0x0f, 0x00, 0xd8), 'in the LDT').toBe('13:14');
  });

  it('LLDT takes null, LDT descriptors, and nothing else', () => {
    const board = new Board().long(0);
    const { cpu } = board;
    cpu.setGpr(0, 0x10n);
    expect(board.faults(0x0f, 0x00, 0xd0)).toBe('13:10');
    board.descriptor(0x90, { type: 2, system: true, base: At.LDT, limit: 0xff, present: false });
    cpu.setGpr(0, 0x90n);
    expect(board.faults(0x0f, 0x00, 0xd0)).toBe('11:90');
    board.descriptor(0x90, { type: 2, system: true, base: At.LDT, limit: 0xff });
    expect(board.execute(0x0f, 0x00, 0xd0)).toBe(Outcome.NEXT);
    expect(cpu.get64('segBase', Segment.LDTR)).toBe(BigInt(At.LDT));
    cpu.setGpr(0, 0n);
    expect(board.execute(0x0f, 0x00, 0xd0)).toBe(Outcome.NEXT);
    expect(cpu.get32('segAttributes', Segment.LDTR) & 0x10000).toBe(0x10000);
    expect(new Board().real().faults(0x0f, 0x00, 0xd0), 'real mode').toBe('6');
  });
});

describe('INVLPG and INVPCID', () => {
  it('INVLPG ignores addresses that are not canonical', () => {
    const board = new Board().long(0);
    board.cpu.setGpr(0, 0x800000000000n);
    expect(board.execute(0x0f, 0x01, 0x38)).toBe(Outcome.NEXT);
  });

  it('INVPCID checks type, PCID and address', () => {
    const board = new Board().long(0);
    const { cpu } = board;
    const run = (type: bigint, lo: bigint, hi: bigint): string => {
      cpu.setGpr(0, type);
      cpu.setGpr(3, BigInt(At.DATA));
      board.view.setBigUint64(At.DATA, lo, true);
      board.view.setBigUint64(At.DATA + 8, hi, true);
      return board.execute(0x66, 0x0f, 0x38, 0x82, 0x03) === Outcome.FAULT ? board.fault : 'ok';
    };
    expect(run(4n, 0n, 0n)).toBe('13:0');
    expect(run(1n << 32n, 0n, 0n)).toBe('13:0');
    expect(run(0n, 0n, 0x800000000000n)).toBe('13:0');
    expect(run(1n, 0n, 0x800000000000n)).toBe('ok');
    expect(run(1n, 5n, 0n), 'PCID without CR4.PCIDE').toBe('13:0');
    expect(run(2n, 5n, 0n)).toBe('ok');
    cpu.set64('cr4', 0x206a0n);
    expect(run(1n, 5n, 0n)).toBe('ok');
    expect(run(0n, 0x1000n, 0n)).toBe('13:0');
    expect(run(3n, 0x1000n, 0n)).toBe('ok');
  });
});
