import { describe, expect, it } from 'vitest';
import { Access } from '../src/ports/translation.js';
import { At, Board } from './support/board.js';

const PKRS = 0x6e1;
const CR4_PKE = 1n << 22n;
const CR4_PKS = 1n << 24n;
const KEY = 5;
const DENY_ACCESS = 1 << (2 * KEY);
const DENY_WRITE = 2 << (2 * KEY);
const USER = 4n;
/** Error codes: present, write, user, protection key. */
const PROTECTION_KEY = 0x21;
const PROTECTION_KEY_WRITE = 0x23;
const WRMSR = [0x0f, 0x30];
const MOV_CR4_RAX = [0x0f, 0x22, 0xe0];
/** Moves the value of 32 bits to IA32_PKRS by WRMSR. */
const write = (board: Board, value: number): void => {
  board.cpu.setGpr(1, BigInt(PKRS));
  board.cpu.setGpr(0, BigInt(value));
  board.cpu.setGpr(2, 0n);
  board.execute(...WRMSR);
};

/** CR4.PKS set, and DATA on a page with a key. */
function arrange(user = false): Board {
  const board = new Board().long(0);
  board.view.setBigUint64(At.PT + 8 * (At.DATA >>> 12), BigInt(At.DATA) | (BigInt(KEY) << 59n) | 3n | (user ? USER : 0n), true);
  board.cpu.mmu.flushAll();
  board.cpu.setGpr(0, board.cpu.get64('cr4') | CR4_PKS);
  board.execute(...MOV_CR4_RAX);
  return board;
}

/** 0, or the error code of the page fault. */
function access(board: Board, type: number): number {
  return board.cpu.mmu.translate(At.DATA, 0, type, false) ? 0 : board.cpu.mmu.errorCode;
}

describe('protection keys of supervisor pages', () => {
  it('deny access and writing by the key, from the write of IA32_PKRS on', () => {
    const board = arrange();
    expect([access(board, Access.READ), access(board, Access.WRITE)]).toEqual([0, 0]);
    write(board, DENY_WRITE);
    expect([access(board, Access.READ), access(board, Access.WRITE)]).toEqual([0, PROTECTION_KEY_WRITE]);
    write(board, DENY_ACCESS);
    expect([access(board, Access.READ), access(board, Access.WRITE)]).toEqual([PROTECTION_KEY, PROTECTION_KEY_WRITE]);
    expect(access(board, Access.EXECUTE), 'instruction fetches are not asked').toBe(0);
    write(board, ~(3 << (2 * KEY)) >>> 0);
    expect([access(board, Access.READ), access(board, Access.WRITE)]).toEqual([0, 0]);
  });

  it('deny writing under CR0.WP only', () => {
    const board = arrange();
    write(board, DENY_WRITE);
    board.cpu.setGpr(0, board.cpu.get64('cr0') & ~0x10000n);
    board.execute(0x0f, 0x22, 0xc0);
    expect(access(board, Access.WRITE)).toBe(0);
  });

  it('are asked under CR4.PKS only, and not for user pages, which PKRU has', () => {
    const board = arrange();
    write(board, DENY_ACCESS);
    board.cpu.setGpr(0, board.cpu.get64('cr4') & ~CR4_PKS);
    board.execute(...MOV_CR4_RAX);
    expect(access(board, Access.READ)).toBe(0);
    const user = arrange(true);
    write(user, DENY_ACCESS);
    expect(access(user, Access.READ)).toBe(0);
    user.cpu.set32('pkru', DENY_ACCESS);
    user.cpu.setGpr(0, user.cpu.get64('cr4') | CR4_PKE);
    user.execute(...MOV_CR4_RAX);
    expect(access(user, Access.READ)).toBe(PROTECTION_KEY);
  });

  it('need the feature', () => {
    const board = new Board('max,-pks').long(0);
    expect(board.cpu.msrs.has(PKRS)).toBe(false);
    board.cpu.setGpr(0, board.cpu.get64('cr4') | CR4_PKS);
    expect(board.faults(...MOV_CR4_RAX)).toBe('13:0');
    expect(arrange().cpu.msrs.write(PKRS, 0, 1), 'high half').toBe(false);
  });
});
