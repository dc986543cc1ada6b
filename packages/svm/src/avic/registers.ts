/** Offsets of local-APIC registers in the virtual APIC's backing page (APM Vol. 2, "Advanced Programmable Interrupt Controller"). */
export const ApicRegister = {
  ID: 0x20,
  VERSION: 0x30,
  TPR: 0x80,
  APR: 0x90,
  PPR: 0xa0,
  EOI: 0xb0,
  RRR: 0xc0,
  LDR: 0xd0,
  DFR: 0xe0,
  SVR: 0xf0,
  ISR: 0x100,
  TMR: 0x180,
  IRR: 0x200,
  ESR: 0x280,
  ICR_LOW: 0x300,
  ICR_HIGH: 0x310,
  LVT_TIMER: 0x320,
  LVT_ERROR: 0x370,
  TIMER_INITIAL: 0x380,
  TIMER_CURRENT: 0x390,
  TIMER_DIVIDE: 0x3e0,
  /** x2APIC mode only. */
  SELF_IPI: 0x3f0,
} as const;

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
