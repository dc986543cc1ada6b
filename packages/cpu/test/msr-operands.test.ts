import { describe, expect, it } from 'vitest';
import { Outcome } from '../src/outcome.js';
import { At, Board } from './support/board.js';

const immediate = (msr: number): number[] => [msr & 0xff, (msr >>> 8) & 0xff, (msr >>> 16) & 0xff, msr >>> 24];
const RDMSR_RBX = (msr: number): number[] => [0xc4, 0xe7, 0x7b, 0xf6, 0xc3, ...immediate(msr)];
const WRMSRNS_RBX = (msr: number): number[] => [0xc4, 0xe7, 0x7a, 0xf6, 0xc3, ...immediate(msr)];
const URDMSR_R12 = (msr: number): number[] => [0xc4, 0xc7, 0x7b, 0xf8, 0xc4, ...immediate(msr)];
const UWRMSR_R12 = (msr: number): number[] => [0xc4, 0xc7, 0x7a, 0xf8, 0xc4, ...immediate(msr)];
/** The MSR in R14, the value in R12. */
const URDMSR_R12_R14 = [0xf2, 0x45, 0x0f, 0x38, 0xf8, 0xf4];
const UWRMSR_R14_R12 = [0xf3, 0x45, 0x0f, 0x38, 0xf8, 0xf4];
const [PAT, LSTAR, UNKNOWN] = [0x277, 0xc0000082, 0x12345678];
const VALUE = 0x0006_0504_0001_0406n;
const BITMAP = At.DATA & ~0xfff;

describe('RDMSR and WRMSRNS of an immediate', () => {
  it('move 64 bits between a register and the MSR', () => {
    const board = new Board().long();
    board.cpu.setGpr(3, 0xffff_8000_1234_5678n);
    expect(board.execute(...WRMSRNS_RBX(LSTAR))).toBe(Outcome.NEXT);
    expect(board.cpu.get64('lstar')).toBe(0xffff_8000_1234_5678n);
    expect(board.execute(...RDMSR_RBX(PAT))).toBe(Outcome.NEXT);
    expect(board.cpu.gpr(3)).toBe(0x0007_0406_0007_0406n);
  });

  it('fault for MSRs that do not exist and for values that they may not have', () => {
    const board = new Board().long();
    expect(board.faults(...RDMSR_RBX(UNKNOWN))).toBe('13:0');
    board.cpu.setGpr(3, 1n << 63n);
    expect(board.faults(...WRMSRNS_RBX(LSTAR))).toBe('13:0');
  });
});

/** A program at level 3 that may read and write IA32_PAT. */
function arrange(): Board {
  const board = new Board().long(3);
  const { cpu, view } = board;
  expect(cpu.msrs.write(0x1c, BITMAP | 1, 0)).toBe(true);
  view.setUint8(BITMAP + (PAT >> 3), 1 << (PAT & 7));
  view.setUint8(BITMAP + 0x800 + (PAT >> 3), 1 << (PAT & 7));
  cpu.setGpr(14, BigInt(PAT));
  cpu.setGpr(12, VALUE);
  return board;
}

describe('URDMSR and UWRMSR', () => {
  it('read and write what the bitmap lets a program have, by immediate and by register', () => {
    for (const [read, write] of [
      [URDMSR_R12(PAT), UWRMSR_R12(PAT)],
      [URDMSR_R12_R14, UWRMSR_R14_R12],
    ] as const) {
      const board = arrange();
      expect(board.execute(...write)).toBe(Outcome.NEXT);
      expect(board.cpu.get64('pat')).toBe(VALUE);
      board.cpu.setGpr(12, 0n);
      expect(board.execute(...read)).toBe(Outcome.NEXT);
      expect(board.cpu.gpr(12)).toBe(VALUE);
    }
  });

  it('look at the halves of the bitmap apart', () => {
    const board = arrange();
    board.view.setUint8(BITMAP + 0x800 + (PAT >> 3), 0);
    expect(board.execute(...URDMSR_R12(PAT))).toBe(Outcome.NEXT);
    expect(board.faults(...UWRMSR_R12(PAT))).toBe('13:0');
    board.view.setUint8(BITMAP + (PAT >> 3), 0);
    expect(board.faults(...URDMSR_R12(PAT))).toBe('13:0');
  });

  it('fault for MSRs without a bit, whatever the bitmap says', () => {
    const board = arrange();
    expect(board.faults(...URDMSR_R12(0x4000))).toBe('13:0');
    expect(board.faults(...UWRMSR_R12(LSTAR))).toBe('13:0');
    board.cpu.setGpr(14, BigInt(PAT) | (1n << 32n));
    expect(board.faults(...URDMSR_R12_R14)).toBe('13:0');
  });

  it('are undefined while IA32_USER_MSR_CTL does not enable them', () => {
    const board = arrange();
    board.cpu.msrs.write(0x1c, BITMAP, 0);
    expect(board.faults(...URDMSR_R12(PAT))).toBe('6');
    expect(board.faults(...UWRMSR_R14_R12)).toBe('6');
  });

  it('IA32_USER_MSR_CTL refuses reserved bits and addresses that are not canonical', () => {
    const { cpu } = arrange();
    expect(cpu.msrs.write(0x1c, BITMAP | 2, 0)).toBe(false);
    expect(cpu.msrs.write(0x1c, BITMAP, 0x8000_0000 | 0)).toBe(false);
  });
});
