import { allFailures } from '@nestvm/cpu';
import { beforeEach, describe, expect, it } from 'vitest';
import { exitRows, instructionRows } from '../src/checks/instruction-rows.js';
import { vmcbRows } from '../src/checks/rows.js';
import { ExitCode, explainEntry, lintVmcb, Vmcb, vmrunChecks } from '../src/index.js';
import { At, Board } from './support/board.js';

const board = new Board();
beforeEach(() => {
  board.prepare();
  board.svm.view.v = board.v;
  board.svm.onFailedEntry = null;
});

it('has the rows of the reference table, each once', () => {
  expect(vmrunChecks).toHaveLength(33);
  expect(new Set(vmrunChecks.map(({ id }) => id)).size).toBe(33);
});

it('a valid VMCB passes all of them and runs', () => {
  expect(allFailures([...instructionRows, ...vmcbRows], board.svm.view)).toEqual([]);
  expect(board.run([0xf4])).toBe(ExitCode.HLT);
  expect(board.svm.counters.entries).toBeGreaterThan(0);
});

describe('every row that can fail is broken by its mutation and ends VMRUN', () => {
  const invalid = vmcbRows.filter((row) => row.mutate !== undefined && row.status === 'checked');
  it.each(invalid.map((row) => [row.id, row] as const))('%s', (_id, row) => {
    // Tables of its own, so that the mutation leaves those of the host alone.
    board.set(Vmcb.CR3, 0x7000);
    row.mutate!(board.svm.view);
    const failing = allFailures(vmcbRows, board.svm.view);
    expect(failing.map(({ id }) => id)).toContain(row.id);
    expect(row.say(board.svm.view)).not.toContain('undefined');
    let lines: readonly string[] = [];
    board.svm.onFailedEntry = (cpu) => {
      lines = explainEntry(cpu);
    };
    expect(board.run([0xf4])).toBe(0xffffffff);
    expect(board.get(Vmcb.EXIT_CODE + 1)).toBe(0xffffffff);
    expect(lines.some((line) => line.startsWith(`${row.id}:`))).toBe(true);
    // The host goes on behind VMRUN with GIF clear, and the guest's state is untouched.
    expect(board.cpu.gpr(0)).toBe(BigInt(At.VMCB));
    expect(board.cpu.rip).toBe(BigInt(At.HOST + 4));
    expect(board.get(Vmcb.RIP)).toBe(At.GUEST);
  });
});

describe('rows that are faults of the instruction', () => {
  it.each(instructionRows.filter(({ id }) => id !== 'svm.cpl').map((row) => [row.id, row] as const))('%s', (_id, row) => {
    board.gdt();
    for (const vector of [6, 13]) board.gate(At.IDT, vector, At.HANDLER + vector);
    board.cpu.set32('idtrLimit', 0xfff);
    row.mutate!(board.svm.view);
    expect(row.ok(board.svm.view)).toBe(false);
    board.code(At.HANDLER, ...Array.from({ length: 32 }, () => 0xf4));
    board.run([0xf4]);
    expect(Number(board.cpu.rip) - 1 - At.HANDLER).toBe(row.result === '#UD' ? 6 : 13);
  });

  it('svm.cpl', () => {
    const row = instructionRows.find(({ id }) => id === 'svm.cpl')!;
    row.mutate!(board.svm.view);
    expect(row.ok(board.svm.view)).toBe(false);
  });
});

it('svm.exit.pdpte is broken by its mutation', () => {
  const [row] = exitRows;
  row!.mutate!(board.svm.view);
  expect(row!.applies!(board.svm.view) && !row!.ok(board.svm.view)).toBe(true);
});

it('lint names failures and warnings', () => {
  expect(lintVmcb(board.cpu, At.VMCB)).toEqual([
    'warning: physical interrupts are not intercepted: they go through the IDT of the guest',
    'warning: port I/O is not intercepted: the guest reaches the devices of the host',
    'warning: MSR accesses are not intercepted: the guest reads and writes the MSRs of the host',
  ]);
  board.set(Vmcb.ASID, 0);
  board.set(Vmcb.NCR3, 0x60000);
  const lines = lintVmcb(board.cpu, At.VMCB);
  expect(lines[0]).toBe('svm.c.asid: ASID is 0, which belongs to the host');
  expect(lines.join('\n')).toContain('maps nothing');
});
