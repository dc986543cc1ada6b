import { beforeEach, describe, expect, it } from 'vitest';
import { TestBoard } from '../../../test/board.js';
import { Uart } from './device.js';

let board: TestBoard;
let uart: Uart;
let sent: number[];
const [DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR] = [0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff];

beforeEach(() => {
  board = new TestBoard();
  sent = [];
  uart = new Uart({ name: 'com1', base: 0x3f8, line: 'isa:4', backend: { write: (byte) => sent.push(byte) } });
  uart.attach(board.wiring);
});

describe('what Linux probes', () => {
  it('is a 16550A', () => {
    board.out(IER, 0);
    expect(board.in(IER)).toBe(0);
    board.out(IER, 0x0f);
    expect(board.in(IER)).toBe(0x0f);
    board.out(IER, 0);
    board.out(MCR, 0x1a);
    expect(board.in(MSR) & 0xf0).toBe(0x90);
    board.out(MCR, 0);
    board.out(IIR, 1);
    expect(board.in(IIR) >> 6).toBe(3);
    board.out(SCR, 0x5a);
    expect(board.in(SCR)).toBe(0x5a);
  });

  it('keeps the divisor behind DLAB', () => {
    board.out(LCR, 0x83);
    board.out(DATA, 1, 2);
    expect([board.in(DATA), board.in(IER)]).toEqual([1, 0]);
    board.out(LCR, 3);
    expect(board.in(IER)).toBe(0);
    expect(sent).toEqual([]);
  });
});

describe('sending', () => {
  it('asks for more as soon as THR-empty interrupts are enabled, and after each byte', () => {
    board.out(IER, 2);
    expect(board.level('isa:4')).toBe(1);
    expect(board.in(IIR)).toBe(2);
    expect(board.level('isa:4')).toBe(0);
    expect(board.in(IIR)).toBe(1);
    board.out(DATA, 0x41);
    expect(sent).toEqual([0x41]);
    expect(board.level('isa:4')).toBe(1);
    board.out(IER, 0);
    expect(board.level('isa:4')).toBe(0);
    board.out(IER, 2);
    expect(board.level('isa:4')).toBe(1);
  });

  it('makes an edge for every byte, though nobody reads IIR', () => {
    board.out(IER, 2);
    const before = board.edgeCount('isa:4');
    for (let i = 0; i < 5; i++) board.out(DATA, i);
    expect(board.edgeCount('isa:4') - before).toBe(5);
    expect(board.in(LSR)).toBe(0x60);
  });
});

describe('receiving', () => {
  it('without FIFO: one byte at a time, none lost', () => {
    board.out(IER, 1);
    expect(uart.receive([1, 2, 3])).toBe(3);
    const got: number[] = [];
    for (let i = 0; i < 10; i++) {
      if (board.in(LSR) & 1) got.push(board.in(DATA));
      board.run(1_100_000);
    }
    expect(got).toEqual([1, 2, 3]);
    expect(board.in(LSR) & 0x1e).toBe(0);
  });

  it('interrupts at the trigger level, and by timeout below it', () => {
    board.out(LCR, 3);
    board.out(IIR, 0x81);
    board.out(IER, 1);
    uart.receive([1, 2, 3]);
    expect(board.level('isa:4')).toBe(0);
    board.run(10_000_000);
    expect(board.in(IIR)).toBe(0xcc);
    expect([board.in(DATA), board.in(DATA), board.in(DATA)]).toEqual([1, 2, 3]);
    expect(board.level('isa:4')).toBe(0);
    uart.receive(new Array(8).fill(7));
    expect(board.in(IIR)).toBe(0xc4);
  });

  it('brings a long paste through a driver that reads on interrupts only', () => {
    board.out(IIR, 0xc1);
    board.out(IER, 1);
    const text = Array.from({ length: 1000 }, (_, i) => (i * 7) & 0xff);
    uart.receive(text);
    const got: number[] = [];
    for (let turns = 0; turns < 5000 && got.length < text.length; turns++) {
      if (board.level('isa:4')) while (board.in(LSR) & 1) got.push(board.in(DATA));
      board.clock.advanceTo(board.clock.nextDeadlineNs() === Infinity ? board.clock.nowNs() + 1 : board.clock.nextDeadlineNs());
    }
    expect(got).toEqual(text);
  });

  it('orders causes: line status, data, THR, modem', () => {
    board.out(IER, 0x0f);
    board.out(MCR, 0x10);
    board.out(DATA, 0x11);
    board.out(DATA, 0x22);
    expect(board.in(IIR)).toBe(6);
    expect(board.in(LSR) & 2).toBe(2);
    expect(board.in(IIR)).toBe(4);
    expect(board.in(DATA)).toBe(0x22);
    expect(board.in(IIR)).toBe(2);
    expect(board.in(IIR)).toBe(0);
    board.in(MSR);
    expect(board.in(IIR)).toBe(1);
  });

  it('stops at a mebibyte of waiting bytes', () => {
    expect(uart.receive(new Uint8Array((1 << 20) + 100))).toBeLessThanOrEqual((1 << 20) + 1);
    expect(uart.waitingBytes).toBeLessThanOrEqual((1 << 20) + 1);
  });
});
