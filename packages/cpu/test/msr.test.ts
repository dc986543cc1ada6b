import { describe, expect, it } from 'vitest';
import { msrDefinitions } from '../src/msr/definitions.js';
import { Outcome } from '../src/outcome.js';
import { Board } from './support/board.js';

const RDMSR = [0x0f, 0x32];
const WRMSR = [0x0f, 0x30];

function write(board: Board, index: number, value: bigint): boolean {
  const { cpu } = board;
  cpu.setGpr(1, BigInt(index));
  cpu.setGpr(0, value & 0xffffffffn);
  cpu.setGpr(2, value >> 32n);
  return board.execute(...WRMSR) === Outcome.NEXT;
}

function read(board: Board, index: number): bigint | null {
  const { cpu } = board;
  cpu.setGpr(1, BigInt(index) | 0xffffffff00000000n);
  cpu.setGpr(0, ~0n & 0xffffffffffffffffn);
  if (board.execute(...RDMSR) !== Outcome.NEXT) return null;
  expect(cpu.gpr(0) >> 32n, 'upper half of RAX').toBe(0n);
  return (cpu.gpr(2) << 32n) | cpu.gpr(0);
}

describe('model-specific registers', () => {
  it('that nobody knows are #GP', () => {
    const board = new Board().long(0);
    for (const index of [0x4b564d00, 0x40000000, 0xc0010117, 0x480, 0x12345678, 0x18a, 0xd90]) {
      expect(read(board, index), index.toString(16)).toBeNull();
      expect(write(board, index, 0n), index.toString(16)).toBe(false);
    }
    expect(board.fault).toBe('13:0');
  });

  it('belong to level 0', () => {
    expect(new Board().long(3).faults(...RDMSR)).toBe('13:0');
    expect(new Board().long(3).faults(...WRMSR)).toBe('13:0');
  });

  it('have one definition for each vendor', () => {
    for (const model of ['max', 'EPYC', 'Skylake-Client', 'qemu64', 'Nehalem', 'Opteron_G1']) expect(() => new Board(model)).not.toThrow();
    const keys = msrDefinitions.map((d) => d.name);
    expect(keys.length).toBeGreaterThan(100);
  });

  it('keep what is written, at their home', () => {
    const board = new Board().long(0);
    expect(write(board, 0xc0000082, 0xffffffff81234567n)).toBe(true);
    expect(board.cpu.get64('lstar')).toBe(0xffffffff81234567n);
    expect(write(board, 0xc0000100, 0x7fff00001234n)).toBe(true);
    expect(board.cpu.get64('segBase', 4)).toBe(0x7fff00001234n);
    expect(read(board, 0xc0000100)).toBe(0x7fff00001234n);
    expect(write(board, 0xc0000102, 0xffff888000000000n)).toBe(true);
    expect(read(board, 0xc0000102)).toBe(0xffff888000000000n);
  });

  it('that hold addresses want canonical ones', () => {
    const board = new Board('Skylake-Client').long(0);
    for (const index of [0xc0000082, 0xc0000083, 0xc0000100, 0xc0000101, 0xc0000102, 0x175, 0x176])
      expect(write(board, index, 0x800000000000n), index.toString(16)).toBe(false);
  });

  it('refuse reserved bits: EFER, PAT, MTRRs, SPEC_CTRL', () => {
    const board = new Board().long(0);
    expect(write(board, 0xc0000080, 0xd01n | (1n << 12n)), 'SVME on Intel').toBe(false);
    expect(write(board, 0xc0000080, 0xc01n), 'LME while paging').toBe(false);
    expect(write(board, 0xc0000080, 0x501n)).toBe(true);
    expect(read(board, 0xc0000080)).toBe(0x501n);
    expect(write(board, 0x277, 0x0007040600070402n), 'PAT type 2').toBe(false);
    expect(write(board, 0x277, 0x0007010600070106n)).toBe(true);
    expect(write(board, 0x2ff, 0x1000n)).toBe(false);
    expect(write(board, 0x2ff, 0xc06n)).toBe(true);
    expect(write(board, 0x250, 0x0202020202020202n)).toBe(false);
    expect(write(board, 0x250, 0x0606060606060606n)).toBe(true);
    expect(write(board, 0x200, 6n | 0xff00000000000000n), 'beyond MAXPHYADDR').toBe(false);
    expect(write(board, 0x48, 0x100n)).toBe(false);
    expect(write(board, 0x48, 1n)).toBe(true);
    expect(read(board, 0x49), 'PRED_CMD is write-only').toBeNull();
    expect(write(board, 0xfe, 0n), 'MTRRCAP is read-only').toBe(false);
  });

  it('LMA is read-only', () => {
    const board = new Board().protect(0);
    expect(write(board, 0xc0000080, 0x501n)).toBe(true);
    expect(read(board, 0xc0000080)).toBe(0x101n);
  });

  it('time-stamp counter and IA32_TSC_ADJUST move together', () => {
    const board = new Board().long(0);
    board.nowNs = 5_000_000_000;
    expect(read(board, 0x10)).toBe(5_000_000_000n);
    expect(write(board, 0x10, 0x1_0000_0000n)).toBe(true);
    expect(read(board, 0x10)).toBe(0x1_0000_0000n);
    expect(read(board, 0x3b)).toBe((0x1_0000_0000n - 5_000_000_000n) & 0xffffffffffffffffn);
    expect(write(board, 0x3b, 7n)).toBe(true);
    expect(read(board, 0x10)).toBe(5_000_000_007n);
    board.nowNs = 2 ** 52;
    board.execute(0x0f, 0x31);
    expect((board.cpu.gpr(2) << 32n) | board.cpu.gpr(0)).toBe(2n ** 52n + 7n);
  });

  it('RDTSC and RDTSCP obey CR4.TSD', () => {
    const board = new Board().long(3);
    expect(board.execute(0x0f, 0x31)).toBe(Outcome.NEXT);
    board.cpu.set64('tscAux', 0x55n);
    expect(board.execute(0x0f, 0x01, 0xf9)).toBe(Outcome.NEXT);
    expect(board.cpu.gpr(1)).toBe(0x55n);
    board.cpu.set64('cr4', 0x6a4n);
    expect(board.faults(0x0f, 0x31)).toBe('13:0');
    expect(board.faults(0x0f, 0x01, 0xf9)).toBe('13:0');
  });

  it('RDPRU reads MPERF and APERF, obeys CR4.TSD, and gives 0 for what is no register', () => {
    const board = new Board('max,vendor=amd').long(3);
    const { cpu } = board;
    board.nowNs = 0x5_0000_0007;
    for (const [register, value] of [
      [0n, 0x5_0000_0007n],
      [1n, 0x5_0000_0007n],
      [2n, 0n],
    ] as const) {
      cpu.setGpr(1, register);
      expect(board.execute(0x0f, 0x01, 0xfd)).toBe(Outcome.NEXT);
      expect((cpu.gpr(2) << 32n) | cpu.gpr(0)).toBe(value);
    }
    expect(cpu.msrs.read(0xe7) && [cpu.hi, cpu.lo]).toEqual([5, 7]);
    const shown = cpu.model.cpuid(0x80000008, 0, { apicId: 0, apicEnabled: true, cr4: 0, xcr0: 1, xss: 0, limitMaximum: false });
    expect([(shown.ebx >>> 4) & 1, shown.edx >>> 16]).toEqual([1, 1]);
    cpu.set64('cr4', 0x6a4n);
    expect(board.faults(0x0f, 0x01, 0xfd)).toBe('6');
  });

  it('own values survive a save and refuse a foreign one', () => {
    const board = new Board('EPYC').long(0);
    expect(write(board, 0xc001001a, 0x80000000n)).toBe(true);
    const saved = board.cpu.msrs.saveOwn();
    expect(write(board, 0xc001001a, 0n)).toBe(true);
    expect(board.cpu.msrs.loadOwn(saved)).toBe(true);
    expect(read(board, 0xc001001a)).toBe(0x80000000n);
    expect(board.cpu.msrs.loadOwn([[0x9999, 1, 1]])).toBe(false);
  });
});

describe('SWAPGS and the FS/GS base instructions', () => {
  it('exchange and move bases', () => {
    const board = new Board().long(0);
    const { cpu } = board;
    cpu.set64('segBase', 0x1111n, 5);
    cpu.set64('kernelGsBase', 0xffff888000000000n);
    expect(board.execute(0x0f, 0x01, 0xf8)).toBe(Outcome.NEXT);
    expect([cpu.get64('segBase', 5), cpu.get64('kernelGsBase')]).toEqual([0xffff888000000000n, 0x1111n]);
    expect(board.faults(0xf3, 0x48, 0x0f, 0xae, 0xd0), 'needs CR4.FSGSBASE').toBe('6');
    cpu.set64('cr4', 0x106a0n);
    cpu.setGpr(0, 0x800000000000n);
    expect(board.faults(0xf3, 0x48, 0x0f, 0xae, 0xd0)).toBe('13:0');
    expect(board.execute(0xf3, 0x0f, 0xae, 0xd0), '32 bits').toBe(Outcome.NEXT);
    cpu.setGpr(0, 0x7fff12340000n);
    expect(board.execute(0xf3, 0x48, 0x0f, 0xae, 0xd0)).toBe(Outcome.NEXT);
    expect(board.execute(0xf3, 0x48, 0x0f, 0xae, 0xc3)).toBe(Outcome.NEXT);
    expect(cpu.gpr(3)).toBe(0x7fff12340000n);
    expect(new Board().long(3).faults(0x0f, 0x01, 0xf8)).toBe('13:0');
  });
});
