import { describe, expect, it } from 'vitest';
import { Outcome } from '../src/outcome.js';
import { At, Board } from './support/board.js';

const RDMSRLIST = [0xf2, 0x0f, 0x01, 0xc6];
const WRMSRLIST = [0xf3, 0x0f, 0x01, 0xc6];
const NAMES = At.DATA;
const VALUES = At.DATA + 0x200;
const [PAT, LSTAR, STAR, BARRIER, UNKNOWN] = [0x277n, 0xc0000082n, 0xc0000081n, 0x2fn, 0x12345678n];

/** A table of names at bit numbers, and RCX with those bits. */
function arrange(names: Readonly<Record<number, bigint>>, cpl: 0 | 3 = 0): Board {
  const board = new Board().long(cpl);
  let mask = 0n;
  for (const [bit, name] of Object.entries(names)) {
    board.view.setBigUint64(NAMES + 8 * Number(bit), name, true);
    mask |= 1n << BigInt(bit);
  }
  board.cpu.attention = 0;
  board.cpu.setGpr(1, mask);
  board.cpu.setGpr(6, BigInt(NAMES));
  board.cpu.setGpr(7, BigInt(VALUES));
  return board;
}
const value = (board: Board, bit: number): bigint => board.view.getBigUint64(VALUES + 8 * bit, true);
const put = (board: Board, bit: number, bits: bigint): void => board.view.setBigUint64(VALUES + 8 * bit, bits, true);

describe('RDMSRLIST and WRMSRLIST', () => {
  it('read the registers whose bits are set, and clear the bits', () => {
    const board = arrange({ 0: PAT, 31: BARRIER, 33: LSTAR });
    board.cpu.set64('lstar', 0xffff800012345678n);
    put(board, 1, 0x77n);
    put(board, 31, 0x88n);
    expect(board.execute(...RDMSRLIST)).toBe(Outcome.NEXT);
    expect([value(board, 0), value(board, 1), value(board, 31), value(board, 33)]).toEqual([0x0007040600070406n, 0x77n, 0n, 0xffff800012345678n]);
    expect(board.cpu.gpr(1)).toBe(0n);
  });

  it('write them', () => {
    const board = arrange({ 2: STAR, 63: LSTAR });
    put(board, 2, 0x1122334455667788n);
    put(board, 63, 0x7fff00000000n);
    expect(board.execute(...WRMSRLIST)).toBe(Outcome.NEXT);
    expect([board.cpu.get64('star'), board.cpu.get64('lstar')]).toEqual([0x1122334455667788n, 0x7fff00000000n]);
    expect(board.cpu.gpr(1)).toBe(0n);
  });

  it('do nothing for an empty mask', () => {
    expect(arrange({}).execute(...RDMSRLIST)).toBe(Outcome.NEXT);
  });

  it('stop at a fault, with the bits of what is done cleared', () => {
    for (const name of [UNKNOWN, 1n << 32n]) {
      const board = arrange({ 0: PAT, 5: name, 9: LSTAR });
      // A fault that comes after some registers are done leaves RCX changed, which the board's check of faults knows as such.
      expect(() => board.execute(...RDMSRLIST)).toThrow(/changed byte (8|9|10|11) of the state/);
      expect(board.fault).toBe('13:0');
      expect(board.cpu.gpr(1)).toBe((1n << 5n) | (1n << 9n));
    }
    const board = arrange({ 3: LSTAR });
    put(board, 3, 1n << 56n);
    expect(board.faults(...WRMSRLIST)).toBe('13:0');
    const barrier = arrange({ 3: BARRIER });
    expect(barrier.faults(...WRMSRLIST)).toBe('13:0');
  });

  it('let events in between', () => {
    const board = arrange({ 0: PAT, 1: PAT });
    board.cpu.attention = 1;
    expect(board.execute(...RDMSRLIST)).toBe(Outcome.REPEAT);
    expect(board.cpu.gpr(1)).toBe(2n);
    expect(board.execute(...RDMSRLIST)).toBe(Outcome.NEXT);
  });

  it('fault: misaligned tables, pages that are not there, level 3, other modes', () => {
    for (const register of [6, 7]) {
      const board = arrange({ 0: PAT });
      board.cpu.setGpr(register, board.cpu.gpr(register) + 4n);
      expect(board.faults(...RDMSRLIST)).toBe('13:0');
      expect(board.faults(...WRMSRLIST)).toBe('13:0');
    }
    const board = arrange({ 0: PAT });
    board.unmap(VALUES);
    expect(board.faults(...RDMSRLIST)).toBe('14:0');
    expect(arrange({ 0: PAT }, 3).faults(...RDMSRLIST)).toBe('13:0');
  });
});
