import { reset } from '@nestvm/cpu';
import { beforeEach, describe, expect, it } from 'vitest';
import { ExitCode, Vmcb } from '../src/index.js';
import { Board } from './support/board.js';

const board = new Board();
beforeEach(() => board.prepare());

const { RAX } = Vmcb;

describe('MSRs', () => {
  it('VM_CR.SVMDIS keeps EFER.SVME from being set, and LOCK keeps both bits', () => {
    const { msrs } = board.cpu;
    expect(msrs.write(0xc0000080, 0xd01, 0)).toBe(true);
    expect(msrs.write(0xc0010114, 0x18, 0)).toBe(true);
    expect(msrs.write(0xc0010114, 0, 0)).toBe(true);
    msrs.read(0xc0010114);
    expect(board.cpu.lo).toBe(0x18);
    expect(msrs.write(0xc0000080, 0x1d01, 0)).toBe(false);
  });

  it('VM_CR.SVMDIS cannot be set while EFER.SVME is', () => {
    const { msrs } = board.cpu;
    expect([msrs.write(0xc0010114, 0x10, 0), msrs.write(0xc0010114, 8, 0), msrs.write(0xc0010114, 0x18, 0)]).toEqual([false, true, false]);
    msrs.read(0xc0010114);
    expect(board.cpu.lo).toBe(8);
  });

  it('SVM_KEY unlocks VM_CR for those who know it; zero is no key, and nobody reads it', () => {
    const { cpu } = new Board('EPYC,svm=on,svm-lock=on');
    const { msrs } = cpu;
    const key = (lo: number, hi: number): boolean => msrs.write(0xc0010118, lo, hi);
    const isLocked = (): boolean => msrs.read(0xc0010114) && (cpu.lo & 8) !== 0;
    msrs.write(0xc0000080, 0xd01, 0);
    msrs.write(0xc0010114, 0x18, 0);
    key(0, 0);
    key(5, 6);
    expect(isLocked(), 'locked without a key').toBe(true);
    reset(cpu);
    expect(key(5, 6)).toBe(true);
    msrs.write(0xc0010114, 0x18, 0);
    key(5, 7);
    expect(isLocked()).toBe(true);
    expect([msrs.read(0xc0010118), cpu.lo, cpu.hi]).toEqual([true, 0, 0]);
    key(5, 6);
    expect(isLocked()).toBe(false);
    msrs.write(0xc0010114, 0, 0);
    expect(msrs.write(0xc0000080, 0x1d01, 0), 'SVMDIS is gone').toBe(true);
    expect(board.cpu.msrs.has(0xc0010118)).toBe(false);
  });

  it('VM_HSAVE_PA takes page addresses below the highest physical one', () => {
    const { msrs } = board.cpu;
    expect(msrs.write(0xc0010117, 0x5000, 0)).toBe(true);
    expect(msrs.write(0xc0010117, 0x5008, 0)).toBe(false);
    expect(msrs.write(0xc0010117, 0, 1 << 31)).toBe(false);
  });

  it('TSC_RATIO multiplies what the guest reads, before TSC_OFFSET', () => {
    // 1.5, in 8.32 fixed point.
    expect(board.cpu.msrs.write(0xc0000104, 0x80000000 | 0, 1)).toBe(true);
    board.nowNs = 0x2_0000_0004;
    board.set(Vmcb.TSC_OFFSET, 5, 0);
    // rdtsc; shl rdx, 32; or rax, rdx; hlt
    expect(board.run([0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0xf4])).toBe(ExitCode.HLT);
    expect([board.get(RAX), board.get(RAX + 1)]).toEqual([6 + 5, 3]);
    expect(board.cpu.msrs.write(0xc0000104, 0, 0x100)).toBe(false);
  });
});
