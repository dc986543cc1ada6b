import { beforeEach, describe, expect, it } from 'vitest';
import { TestBoard } from '../../../test/board.js';
import { I8042 } from './device.js';
import { keyNames, scanCodes } from './scan-codes.js';

let board: TestBoard;
let kbc: I8042;
const drain = () => {
  const bytes: number[] = [];
  while (board.in(0x64) & 1 && bytes.length < 300) bytes.push(board.in(0x60));
  return bytes;
};
const command = (value: number, data?: number) => {
  board.out(0x64, value);
  if (data !== undefined) board.out(0x60, data);
};

beforeEach(() => {
  board = new TestBoard();
  kbc = new I8042();
  kbc.attach(board.wiring);
});

describe('controller', () => {
  it('tests itself, keeps its command byte, moves A20 and pulses reset', () => {
    command(0xaa);
    expect(drain()).toEqual([0x55]);
    command(0x60, 0x47);
    command(0x20);
    expect(drain()).toEqual([0x47]);
    command(0xd1, 0xdd);
    expect(board.level('a20')).toBe(0);
    command(0xdf);
    expect(board.level('a20')).toBe(1);
    command(0xfe);
    expect([board.edgeCount('reset'), board.level('reset')]).toEqual([1, 0]);
    command(0xd1, 0xde);
    expect(board.edgeCount('reset')).toBe(2);
  });

  it('loops the auxiliary buffer back with interrupt 12, as drivers probe it', () => {
    command(0x60, 0x47);
    command(0xd3, 0xa5);
    expect(board.in(0x64) & 0x21).toBe(0x21);
    expect([board.level('isa:12'), board.level('isa:1')]).toEqual([1, 0]);
    expect(drain()).toEqual([0xa5]);
    expect(board.level('isa:12')).toBe(0);
  });
});

describe('keyboard', () => {
  it('sends set 1 through translation, and an interrupt edge for each byte', () => {
    kbc.keyboard.press('KeyA');
    kbc.keyboard.release('KeyA');
    kbc.keyboard.press('ArrowUp');
    kbc.keyboard.release('ArrowUp');
    expect(drain()).toEqual([0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8]);
    expect(board.edgeCount('isa:1')).toBe(6);
  });

  it('translates every key of set 2 into its set-1 code', () => {
    for (const key of keyNames) {
      for (const released of [false, true]) {
        for (const byte of scanCodes(key, 2, released) as number[]) kbc.keyboard.queue.push(byte);
        kbc.keyboard.changed();
        expect([key, released, drain()]).toEqual([key, released, scanCodes(key, 1, released)]);
      }
    }
  });

  it('knows the set-2 codes of the data book', () => {
    const wanted = {
      KeyA: 0x1c,
      Enter: 0x5a,
      Escape: 0x76,
      F1: 0x05,
      F7: 0x83,
      F12: 0x07,
      Space: 0x29,
      Digit1: 0x16,
      ShiftLeft: 0x12,
      Numpad0: 0x70,
    };
    for (const [key, code] of Object.entries(wanted)) expect([key, scanCodes(key, 2, false)]).toEqual([key, [code]]);
  });

  it('answers its commands', () => {
    command(0x60, 0x05);
    const ask = (...bytes: number[]) => {
      for (const byte of bytes) board.out(0x60, byte);
      return drain();
    };
    expect(ask(0xff)).toEqual([0xfa, 0xaa]);
    expect(ask(0xf2)).toEqual([0xfa, 0xab, 0x83]);
    expect(ask(0xed, 7)).toEqual([0xfa, 0xfa]);
    expect(kbc.keyboard.leds).toBe(7);
    expect(ask(0xf0, 0)).toEqual([0xfa, 0xfa, 2]);
    expect(ask(0xee)).toEqual([0xee]);
    expect(ask(0x12)).toEqual([0xfe]);
    ask(0xf5);
    kbc.keyboard.press('KeyB');
    expect(drain()).toEqual([]);
  });

  it('holds its bytes while disabled, and drops keys when full', () => {
    command(0xad);
    for (let i = 0; i < 200; i++) kbc.keyboard.press('KeyC');
    expect(drain()).toEqual([]);
    command(0xae);
    expect(drain().length).toBe(64);
  });
});

describe('mouse', () => {
  const ask = (...bytes: number[]) => {
    for (const byte of bytes) command(0xd4, byte);
    return drain();
  };
  it('becomes an IntelliMouse and reports movement', () => {
    command(0x60, 0x03);
    expect(ask(0xff)).toEqual([0xfa, 0xaa, 0]);
    ask(0xf3, 200, 0xf3, 100, 0xf3, 80);
    expect(ask(0xf2)).toEqual([0xfa, 3]);
    ask(0xf4);
    kbc.mouse.move(5, 3, -1, 1);
    expect(board.level('isa:12')).toBe(1);
    expect(drain()).toEqual([0x29, 5, 0xfd, 0xff]);
    kbc.mouse.move(300, 0, 0, 1);
    expect(drain()).toEqual([0x09, 255, 0, 0, 0x09, 45, 0, 0]);
    expect(ask(0xe9)).toEqual([0xfa, 0x24, 2, 80]);
  });
});
