import { type Code, defineFunction, type Val } from '@nestvm/emit';
import { vcpuState } from '@nestvm/isa';
import { plainWalk, TLB_TABLE_BYTES, TlbTable, tlbBank } from '@nestvm/mmu';

const at = vcpuState.offset;
const bankAt = tlbBank.offset;
const walkAt = plainWalk.offset;

function writePut(c: Code, cpu: Val<32>, bank: Val<32>): void {
  const tables = c.load('i32.load', 32, bank, bankAt.tables);
  c.store('i32.store', cpu, bank, at.bank);
  c.store('i32.store', cpu, tables.add(TlbTable.READ * TLB_TABLE_BYTES), at.tlbRead);
  c.store('i32.store', cpu, tables.add(TlbTable.WRITE * TLB_TABLE_BYTES), at.tlbWrite);
  c.store('i32.store', cpu, tables.add(TlbTable.EXEC * TLB_TABLE_BYTES), at.tlbExec);
  const walk = c.load('i32.load', 32, cpu, at.walk);
  c.if(walk, () => {
    c.store('i32.store', walk, c.load('i32.load', 32, bank, bankAt.context), walkAt.context);
    c.store('i32.store', walk, c.load('i32.load', 32, bank, bankAt.journal), walkAt.journal);
  });
}

/** Puts a bank in force: (cpu, bank). */
export const putBank = defineFunction('putBank', { params: ['i32', 'i32'], results: [] }, (c) => writePut(c, c.param(0, 32), c.param(1, 32)));

/** Puts the bank of a class of privilege in force, in place; `unknown`, which leaves, runs where TypeScript must find it, or clear it first, with nothing changed. */
export function writeSwitch(c: Code, cpu: Val<32>, privilege: Val<32>, unknown: () => void): void {
  const present = c.load('i32.load', 32, cpu, at.bank);
  const bank = c.load('i32.load', 32, present.add(privilege.shl(2)), bankAt.links);
  c.rarely(bank.isZero().or(c.load('i32.load', 32, bank, bankAt.stale)), unknown);
  writePut(c, cpu, bank);
}

/** The same as a function: (cpu, class) → 1, or 0 with nothing changed. */
export const switchBank = defineFunction('switchBank', { params: ['i32', 'i32'], results: ['i32'] }, (c) => {
  writeSwitch(c, c.param(0, 32), c.param(1, 32), () => c.return(c.constant(32, 0)));
  c.return(c.constant(32, 1));
});
