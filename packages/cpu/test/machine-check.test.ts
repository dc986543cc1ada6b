import { Cr4 } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { Activity } from '../src/events/deliver.js';
import { injectMachineCheck, type MachineCheck, machineCheckAtEntry } from '../src/events/machine-check.js';
import { serviceEvents } from '../src/events/service.js';
import { updateMode } from '../src/mode.js';
import { ACTIVITY } from '../src/words.js';
import { At, Board } from './support/board.js';

const VAL = 1n << 63n;
const OVER = 1n << 62n;
const UC = 1n << 61n;
const [STATUS, ADDRESS, MISC] = [0x401 + 4 * 2, 0x402 + 4 * 2, 0x403 + 4 * 2];
const MCG_STATUS = 0x17a;
const CHECK: MachineCheck = { bank: 2, status: VAL | UC | 0x134n, globalStatus: 1n, address: 0x1234_5678_9000n, misc: 0x8cn };

function arrange(): Board {
  const board = new Board().long();
  for (let vector = 0; vector < 0x40; vector++) board.longGate(vector, { dpl: 3 });
  const { cpu } = board;
  cpu.set64('cr4', cpu.get64('cr4') | BigInt(Cr4.MCE));
  updateMode(cpu);
  return board;
}
const msr = ({ cpu }: Board, index: number): bigint => (cpu.msrs.read(index), (BigInt(cpu.hi >>> 0) << 32n) | BigInt(cpu.lo >>> 0));
const taken = ({ cpu }: Board): number => (Number(cpu.rip) - At.HANDLER) / 16;

describe('machine checks', () => {
  it('are reported by their bank and signalled before all other events', () => {
    const board = arrange();
    board.interrupts.nmi = true;
    expect(injectMachineCheck(board.cpu, CHECK)).toBe('signalled');
    expect([STATUS, ADDRESS, MISC, MCG_STATUS].map((index) => msr(board, index))).toEqual([CHECK.status, CHECK.address, CHECK.misc, 5n]);
    serviceEvents(board.cpu);
    expect(taken(board)).toBe(18);
    serviceEvents(board.cpu);
    expect(taken(board), 'once').toBe(2);
  });

  it('end HLT', () => {
    const board = arrange();
    board.cpu.w[ACTIVITY] = Activity.HLT;
    injectMachineCheck(board.cpu, CHECK);
    serviceEvents(board.cpu);
    expect([board.cpu.w[ACTIVITY], taken(board)]).toEqual([Activity.ACTIVE, 18]);
  });

  it('that are corrected are only reported, and never over an uncorrected one', () => {
    const board = arrange();
    const corrected = { ...CHECK, status: VAL | 0x17n, address: 7n };
    expect(injectMachineCheck(board.cpu, corrected)).toBe('logged');
    expect(serviceEvents(board.cpu)).toBe(false);
    expect([msr(board, STATUS), msr(board, MCG_STATUS)]).toEqual([corrected.status, 0n]);
    injectMachineCheck(board.cpu, CHECK);
    expect(msr(board, STATUS)).toBe(CHECK.status | OVER);
    injectMachineCheck(board.cpu, corrected);
    expect([msr(board, STATUS), msr(board, ADDRESS)]).toEqual([CHECK.status | OVER, CHECK.address]);
  });

  it('shut down a CPU that has one in progress, or no handler', () => {
    const board = arrange();
    injectMachineCheck(board.cpu, CHECK);
    serviceEvents(board.cpu);
    expect(injectMachineCheck(board.cpu, CHECK)).toBe('shutdown');
    expect(board.cpu.w[ACTIVITY]).toBe(Activity.SHUTDOWN);
    const without = new Board().long();
    expect(injectMachineCheck(without.cpu, CHECK)).toBe('shutdown');
  });

  it('do nothing while the bank or all reporting is off', () => {
    for (const control of [0x400 + 4 * 2, 0x17b]) {
      const board = arrange();
      expect(board.cpu.msrs.write(control, 0, 0)).toBe(true);
      expect(injectMachineCheck(board.cpu, CHECK)).toBe('disabled');
      expect([msr(board, STATUS), serviceEvents(board.cpu)]).toEqual([0n, false]);
    }
  });

  it('wait for VM entry when they are for that', () => {
    const board = arrange();
    expect(machineCheckAtEntry(board.cpu)).toBe(false);
    injectMachineCheck(board.cpu, { ...CHECK, duringEntry: true });
    expect(serviceEvents(board.cpu)).toBe(false);
    expect([machineCheckAtEntry(board.cpu), machineCheckAtEntry(board.cpu)]).toEqual([true, false]);
  });

  it('of banks that there are not, or without VAL, are refused', () => {
    const { cpu } = arrange();
    expect(() => injectMachineCheck(cpu, { ...CHECK, bank: 10 })).toThrow(/banks are 0 to 9/);
    expect(() => injectMachineCheck(cpu, { ...CHECK, status: UC })).toThrow(/bit 63/);
    const old = new Board('486');
    expect(() => injectMachineCheck(old.cpu, CHECK)).toThrow(/no machine-check architecture/);
  });
});
