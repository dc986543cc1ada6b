import { beforeEach, describe, expect, it } from 'vitest';
import { TestBoard } from '../../../test/board.js';
import { initializeLikeFirmware } from '../firmware.js';
import { Pic } from './device.js';

let board: TestBoard;
let pic: Pic;
let outputs: boolean[];

beforeEach(() => {
  board = new TestBoard();
  pic = new Pic();
  pic.attach(board.wiring);
  outputs = [];
  pic.setOutput((level) => outputs.push(level));
  initializeLikeFirmware(board.ports, { pit: false });
  board.out(0x21, 0);
  board.out(0xa1, 0);
});

const pulse = (input: number) => {
  pic.setInput(input, 1);
  pic.setInput(input, 0);
};

describe('requests and acknowledgement', () => {
  it('counts how often each input rises', () => {
    const before = pic.raised[9]!;
    pulse(9);
    pic.setInput(9, 1);
    pic.setInput(9, 1);
    expect([pic.raised[9]! - before, pic.raised[10]]).toEqual([2, 0]);
  });

  it('delivers by priority and nests', () => {
    pulse(4);
    pulse(1);
    expect(pic.intr).toBe(true);
    expect(pic.acknowledge()).toBe(9);
    expect(pic.intr).toBe(false);
    pulse(0);
    expect(pic.acknowledge()).toBe(8);
    board.out(0x20, 0x20);
    expect(pic.intr).toBe(false);
    board.out(0x20, 0x20);
    expect(pic.acknowledge()).toBe(12);
  });

  it('latches an edge until it is acknowledged, and wants a new edge afterwards', () => {
    pic.setInput(3, 1);
    expect(pic.acknowledge()).toBe(11);
    board.out(0x20, 0x20);
    expect(pic.intr).toBe(false);
    pic.setInput(3, 0);
    pic.setInput(3, 1);
    expect(pic.acknowledge()).toBe(11);
  });

  it('follows a level input, and delivers it again after EOI while it is high', () => {
    board.out(0x4d1, 0x0c);
    expect(board.in(0x4d1)).toBe(0x0c);
    pic.setInput(11, 1);
    expect(pic.acknowledge()).toBe(0x73);
    board.out(0xa0, 0x20);
    board.out(0x20, 0x20);
    expect(pic.acknowledge()).toBe(0x73);
    pic.setInput(11, 0);
    board.out(0xa0, 0x20);
    board.out(0x20, 0x20);
    expect(pic.intr).toBe(false);
  });

  it('gives the spurious vector when a level goes away before INTA', () => {
    board.out(0x4d1, 0x0c);
    pic.setInput(11, 1);
    pic.setInput(11, 0);
    // The master has latched the cascade's edge: a spurious interrupt of the slave.
    expect(pic.acknowledge()).toBe(0x77);
    board.out(0x20, 0x20);
    expect(pic.acknowledge()).toBe(0x0f);
    board.out(0x20, 0x0b);
    expect(board.in(0x20)).toBe(0);
  });

  it('passes the slave through the cascade and keeps both in service', () => {
    pulse(14);
    expect(pic.acknowledge()).toBe(0x76);
    pulse(8);
    // The slave has a more urgent request, but the master's input 2 is in service: only after EOI.
    expect(pic.intr).toBe(false);
    board.out(0x20, 0x20);
    expect(pic.acknowledge()).toBe(0x70);
    board.out(0xa0, 0x20);
    board.out(0xa0, 0x20);
    board.out(0x20, 0x20);
    expect(pic.intr).toBe(false);
  });

  it('loses nothing of two slave requests that wait together', () => {
    pulse(14);
    pulse(10);
    expect(pic.acknowledge()).toBe(0x72);
    board.out(0xa0, 0x20);
    board.out(0x20, 0x20);
    expect(pic.acknowledge()).toBe(0x76);
  });
});

describe('modes', () => {
  it('masks, and delivers an edge that came while masked', () => {
    board.out(0x21, 0x10);
    pulse(4);
    expect(pic.intr).toBe(false);
    board.out(0x21, 0);
    expect(pic.acknowledge()).toBe(12);
  });

  it('automatic EOI', () => {
    for (const [port, value] of [
      [0x20, 0x11],
      [0x21, 8],
      [0x21, 4],
      [0x21, 3],
    ])
      board.out(port, value);
    pulse(5);
    expect(pic.acknowledge()).toBe(13);
    pulse(5);
    expect(pic.acknowledge()).toBe(13);
  });

  it('special mask mode lets less urgent requests in', () => {
    pulse(1);
    pic.acknowledge();
    pulse(6);
    expect(pic.intr).toBe(false);
    board.out(0x21, 0x02);
    board.out(0x20, 0x68);
    expect(pic.acknowledge()).toBe(14);
  });

  it('rotates priorities', () => {
    pulse(3);
    pic.acknowledge();
    board.out(0x20, 0xa0);
    pulse(3);
    pulse(4);
    expect(pic.acknowledge()).toBe(12);
    board.out(0x20, 0x64);
    board.out(0x20, 0xc1);
    expect(pic.acknowledge()).toBe(11);
  });

  it('polls', () => {
    board.out(0x20, 0x0c);
    expect(board.in(0x20)).toBe(7);
    pulse(6);
    board.out(0x20, 0x0c);
    expect(board.in(0x20)).toBe(0x86);
    board.out(0x20, 0x0b);
    expect(board.in(0x20)).toBe(0x40);
  });

  it('starts over with ICW1', () => {
    pulse(4);
    board.out(0x20, 0x11);
    expect(board.in(0x20)).toBe(0);
    expect(pic.intr).toBe(false);
  });
});

it('saves and loads everything, the cascade and the output with it', () => {
  pulse(14);
  pulse(3);
  const copy = new Pic();
  let intr = false;
  copy.setOutput((level) => (intr = level));
  copy.load(JSON.parse(JSON.stringify(pic.save())));
  expect(copy.save()).toEqual(pic.save());
  expect(intr).toBe(true);
  expect([copy.acknowledge(), pic.acknowledge()]).toEqual([0x76, 0x76]);
  expect(() => copy.load({ chips: [] })).toThrow(/chips/);
});
