import { nsToTicks } from '@nestvm/bus';
import { describe, expect, it } from 'vitest';
import { TestBoard } from '../../../test/board.js';
import { AcpiPm } from './device.js';

describe.each([
  ['piix4', 0xf1],
  ['ich9', 0x02],
] as const)('%s', (chip, acpiEnable) => {
  const make = () => {
    const board = new TestBoard();
    const pm = new AcpiPm({ chip });
    pm.attach(board.wiring);
    board.out(0xb2, acpiEnable);
    return { board, pm };
  };

  it('counts at 3.579545 MHz and interrupts when the top bit turns', () => {
    const { board } = make();
    expect(board.in(0x604, 2)).toBe(1);
    board.run(1_000_000_000);
    expect(board.in(0x608, 4)).toBe(3_579_545);
    board.out(0x602, 1, 2);
    board.run(2_000_000_000);
    expect(board.level('gsi:9')).toBe(1);
    expect(board.in(0x608, 4)).toBe(nsToTicks(3_000_000_000, 3_579_545) % 2 ** 24);
    board.out(0x600, 1, 2);
    expect(board.level('gsi:9')).toBe(0);
  });

  it('power button, power-off, suspend', () => {
    const { board, pm } = make();
    board.out(0x602, 0x100, 2);
    pm.powerButton();
    expect(board.level('gsi:9')).toBe(1);
    board.out(0x600, 0x100, 2);
    expect(board.level('gsi:9')).toBe(0);
    board.out(0x604, 0x2001 | (1 << 10), 2);
    expect([board.edgeCount('suspend'), board.edgeCount('poweroff')]).toEqual([1, 0]);
    board.out(0x604, 0x2001, 2);
    expect(board.edgeCount('poweroff')).toBe(1);
    expect(board.in(0x604, 2)).toBe(1);
  });
});
