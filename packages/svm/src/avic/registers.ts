import { ApicRegister } from '@nestvm/isa';

const R = ApicRegister;

/** What happens to an access: an exit in its place, the access, the access and then an exit, the access and what the register does. */
export const Rule = { FAULT: 0, ALLOWED: 1, TRAP: 2, ACCELERATED: 3 } as const;

const reads = new Uint8Array(256);
const writes = new Uint8Array(256);

function set(table: Uint8Array, rule: number, ...registers: readonly number[]): void {
  for (const register of registers) table[register >>> 4] = rule;
}

const row = (first: number, last: number): number[] => Array.from({ length: (last - first) / 16 + 1 }, (_, i) => first + 16 * i);
const LVT = row(R.LVT_TIMER, R.LVT_ERROR);

set(reads, Rule.ALLOWED, R.ID, R.VERSION, R.TPR, R.PPR, R.EOI, R.RRR, R.LDR, R.DFR, R.SVR, ...row(R.ISR, R.ESR));
set(reads, Rule.ALLOWED, R.ICR_LOW, R.ICR_HIGH, ...LVT, R.TIMER_INITIAL, R.TIMER_DIVIDE);
set(writes, Rule.TRAP, R.ID, R.RRR, R.LDR, R.DFR, R.SVR, R.ESR, ...LVT, R.TIMER_INITIAL, R.TIMER_DIVIDE);
set(writes, Rule.ACCELERATED, R.TPR, R.EOI, R.ICR_LOW);
set(writes, Rule.ALLOWED, R.ICR_HIGH);

/** The rule for reads and writes of each register, by offset / 16 (APM Vol. 2, "Guest vAPIC Register Access Behavior"). */
export const readRules: Readonly<Uint8Array> = reads;
export const writeRules: Readonly<Uint8Array> = writes;
