import { readTsc } from '../msr/time.js';
import type { Vcpu } from '../vcpu.js';
import { GUEST_MODE, TIME_SPAN, word } from '../words.js';

const BUDGET = word('budget');
const SCRATCH = word('scratch');
const TIME_BASE = word('timeBase');
const TIME_BUDGET = word('timeBudget');
const TIME_RATE = word('timeRate');

/**
 * The time-stamp counter as software sees it behind the first `before` instructions of the running block, into `scratch`. Time may go by instructions, and the budget
 * tells of those of the blocks before only.
 */
export function readTimeHere(cpu: Vcpu, before: number): void {
  const { w } = cpu;
  w[BUDGET] = w[BUDGET]! - before;
  readTsc(cpu);
  setPace(cpu);
  w[BUDGET] = w[BUDGET]! + before;
  w[SCRATCH] = cpu.lo;
  w[SCRATCH + 1] = cpu.hi;
}

/** Has generated code count the time on by itself from what was read just now, for as long as it goes with the instructions. */
function setPace(cpu: Vcpu): void {
  const { w } = cpu;
  const pace = cpu.clock.pace?.();
  w[TIME_SPAN] = 0;
  // A hypervisor may have its guest's counter go at a rate of its own.
  if (pace === undefined || w[GUEST_MODE] !== 0) return;
  w[TIME_BASE] = cpu.lo;
  w[TIME_BASE + 1] = cpu.hi;
  w[TIME_BUDGET] = w[BUDGET]!;
  w[TIME_RATE] = pace.nsPerInstruction;
  w[TIME_SPAN] = pace.instructions;
}
