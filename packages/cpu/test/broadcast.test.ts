import { describe, expect, it } from 'vitest';
import { Outcome } from '../src/outcome.js';
import type { Vcpu } from '../src/vcpu.js';
import { At, Board } from './support/board.js';

const INVLPGB = [0x0f, 0x01, 0xfe];
const TLBSYNC = [0x0f, 0x01, 0xff];
const CPU = 'EPYC,invlpgb=on';
const PAGE = At.DATA;
const OTHER = At.DATA + 0x1000;
const ADDRESS = 1;
const PCID = 2;
const ASID = 4;

/** Two processors that have cached both pages, whose entries then have changed places. */
function arrange(): [Board, Board] {
  const boards: [Board, Board] = [new Board(CPU).long(0), new Board(CPU).long(0)];
  for (const board of boards) {
    board.cpu.peers = (): readonly Vcpu[] => boards.map(({ cpu }) => cpu);
    board.view.setUint32(PAGE, 1, true);
    board.view.setUint32(OTHER, 2, true);
    read(board);
    board.view.setUint32(At.PT + 8 * (PAGE >>> 12), OTHER | 7, true);
    board.view.setUint32(At.PT + 8 * (OTHER >>> 12), PAGE | 7, true);
  }
  return boards;
}
const read = ({ cpu }: Board): number[] => [PAGE, OTHER].map((at) => cpu.linear.read32(at, 0, false));
const STALE = [1, 2];
const FRESH = [2, 1];

function invalidate(board: Board, rax: bigint, ecx = 0, edx = 0): Outcome {
  board.cpu.setGpr(0, rax);
  board.cpu.setGpr(1, BigInt(ecx >>> 0));
  board.cpu.setGpr(2, BigInt(edx >>> 0));
  return board.execute(...INVLPGB);
}

describe('INVLPGB', () => {
  it('forgets what matches on every processor', () => {
    for (const [rax, ecx] of [
      [0n, 0],
      [BigInt(ASID), 0],
      [BigInt(ASID | PCID), 0],
      [BigInt(PAGE | ADDRESS | ASID), 1],
      [BigInt(PAGE | ADDRESS | ASID), 1 << 31],
      [BigInt(PAGE | ADDRESS), 1],
    ] as const) {
      const boards = arrange();
      expect(boards.map(read), 'cached').toEqual([STALE, STALE]);
      expect(invalidate(boards[0], rax, ecx)).toBe(Outcome.NEXT);
      expect(boards.map(read), `${rax} ${ecx}`).toEqual([FRESH, FRESH]);
    }
  });

  it('by address keeps other pages, and by ASID other ASIDs', () => {
    const boards = arrange();
    invalidate(boards[0], BigInt(PAGE | ADDRESS | ASID));
    expect(boards.map(read)).toEqual([
      [2, 2],
      [2, 2],
    ]);
    const kept = arrange();
    invalidate(kept[0], BigInt(ASID), 0, 0);
    const others = arrange();
    invalidate(others[0], BigInt(PAGE | ADDRESS | ASID) | (1n << 63n));
    expect([kept.map(read), others.map(read)], 'an address that is not canonical does nothing').toEqual([
      [FRESH, FRESH],
      [STALE, STALE],
    ]);
  });

  it('faults on reserved bits, too many pages, and ASIDs and PCIDs that are not there', () => {
    const board = new Board(CPU).long(0);
    const faults = (rax: bigint, ecx = 0, edx = 0): string => {
      board.cpu.setGpr(0, rax);
      board.cpu.setGpr(1, BigInt(ecx >>> 0));
      board.cpu.setGpr(2, BigInt(edx >>> 0));
      return board.faults(...INVLPGB);
    };
    const state = { apicId: 0, apicEnabled: true, cr4: 0, xcr0: 1, xss: 0, limitMaximum: false };
    const { ebx, edx } = board.cpu.model.cpuid(0x80000008, 0, state);
    expect([(ebx >>> 3) & 1, edx & 0xffff]).toEqual([1, 7]);
    for (const [rax, rcx, rdx] of [
      [0x20n, 0, 0],
      [0x800n, 0, 0],
      [0n, 8, 0],
      [0n, 1 << 16, 0],
      [0n, 0, 1 << 28],
      [BigInt(PCID), 0, 1 << 16],
      [BigInt(ASID), 0, 1],
    ] as const)
      expect(faults(rax, rcx, rdx), `${rax} ${rcx} ${rdx}`).toBe('13:0');
    expect(new Board(CPU).long(3).faults(...INVLPGB)).toBe('13:0');
  });

  it('and TLBSYNC are there with the feature only', () => {
    expect(new Board(CPU).long(0).execute(...TLBSYNC)).toBe(Outcome.NEXT);
    expect([new Board('max,vendor=amd').cpu.features.has('invlpgb'), new Board('max').cpu.features.has('invlpgb')]).toEqual([true, false]);
  });
});
