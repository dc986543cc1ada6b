import { describe, expect, it } from 'vitest';
import { annotate, type Graph, headersOf, type Piece, placesOf, shapeOf, sideEntriesOf } from './shape.js';

const graph = (successors: number[][], entries: number[]): Graph => ({
  successors,
  isEntry: (block) => entries.includes(block),
  addresses: successors.map((_, block) => block),
});
const text = (pieces: readonly Piece[]): string =>
  pieces.map((piece) => (piece.kind === 'block' ? `${piece.place}` : `(${piece.header}: ${text(piece.pieces)})`)).join(' ');
const shaped = (successors: number[][], entries: number[]): Piece[] => annotate(shapeOf(graph(successors, entries)), successors, new Set(entries));

describe('shapes', () => {
  it('blocks without loops keep their order', () => {
    expect(text(shaped([[2, 1], [3], [3], []], [0]))).toBe('0 1 2 3');
  });

  it('a loop within a loop, and what comes behind both', () => {
    // 0: outer header, 1: inner header, 2: inner end, 3: outer end, 4: behind.
    expect(text(shaped([[1], [2], [1, 3], [0, 4], []], [0]))).toBe('(0: 0 (1: 1 2) 3) 4');
  });

  it('the outer loop of one that was entered in the middle still goes around it', () => {
    const pieces = shaped([[1], [2], [1, 3], [0, 4], []], [1, 0]);
    expect(text(pieces)).toBe('(0: 0 (1: 1 2) 3) 4');
    expect(sideEntriesOf(pieces)).toEqual([1]);
  });

  it('a circle that is entered in two places has both as entries', () => {
    const pieces = shaped([[1, 2], [2], [1, 3], []], [0]);
    expect(text(pieces)).toBe('0 (1: 1 2) 3');
    expect(sideEntriesOf(pieces)).toEqual([2]);
    expect(headersOf(pieces)).toEqual([1]);
  });

  it('a block that jumps to itself is a loop', () => {
    expect(text(shaped([[1], [1, 2], []], [0]))).toBe('0 (1: 1) 2');
  });

  it('in any graph blocks come once, and ways lead forward, or back to the header of a loop around', () => {
    let state = 1;
    const random = (below: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 8) % below;
    };
    for (let turn = 0; turn < 300; turn++) {
      const count = 1 + random(12);
      const successors = Array.from({ length: count }, () => Array.from({ length: random(4) }, () => random(count)));
      const pieces = shaped(successors, [0, random(count)]);
      const order = placesOf(pieces);
      expect([...order].sort((a, b) => a - b)).toEqual(successors.map((_, block) => block));
      const around = new Map<number, number[]>();
      const walk = (list: readonly Piece[], headers: number[]): void => {
        for (const piece of list) {
          if (piece.kind === 'block') around.set(piece.place, headers);
          else {
            expect(placesOf(piece.pieces)[0]).toBe(piece.header);
            walk(piece.pieces, [...headers, piece.header]);
          }
        }
      };
      walk(pieces, []);
      for (const [block, nexts] of successors.entries()) {
        for (const next of nexts) expect(order.indexOf(next) > order.indexOf(block) || around.get(block)!.includes(next)).toBe(true);
      }
    }
  });
});
