import { nearestName } from '@nestvm/isa/models';
import { UsageError } from '../errors.js';
import { splitCommas } from './text.js';

/** Names of `-d` items. */
export const logItems = {
  int: 'interrupts and exceptions as they are delivered',
  in_asm: 'instructions as they are decoded',
  cpu_reset: 'registers of each CPU at each reset',
  guest_errors: 'accesses to ports and addresses where nothing is',
  unimp: 'MSRs that Nestvm does not have',
  vmx: 'why a VM entry of Intel VMX failed, check by check',
  svm: 'why a VMRUN failed, check by check',
} as const;

/** Name of a `-d` item. */
export type LogItem = keyof typeof logItems;

/** Parses `-d`; throws `UsageError`, naming the nearest item. */
export function parseLog(text: string | undefined): LogItem[] {
  if (text === undefined) return [];
  const items = splitCommas(text).filter((item) => item !== 'help');
  return items.map((item) => {
    if (Object.hasOwn(logItems, item)) return item as LogItem;
    const near = nearestName(item, Object.keys(logItems));
    throw new UsageError(`-d ${item}: no such item; ${near ? `the nearest is '${near}'` : "'-d help' lists them"}`);
  });
}
