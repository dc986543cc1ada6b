import { explainFailure } from '@nestvm/cpu';
import type { Failure, VmxCheck } from '../checks/check.js';
import { formatFailure } from '../checks/check.js';
import type { EntryContext } from '../checks/context.js';
import { readMsrEntry, vmEntryChecks } from '../checks/table.js';
import { F } from '../fields/layout.js';

/** A check that fails now, what it does to the entry, and lines that say why. */
export interface FailedCheck {
  readonly check: VmxCheck;
  readonly failure: Failure;
  readonly lines: readonly string[];
}

const failed = (row: VmxCheck, c: EntryContext, failure: Failure = row.failure): FailedCheck => ({
  check: row,
  failure,
  lines: explainFailure(row, c),
});

/**
 * Every check that VM entry would fail now, in the order of the table; hardware reports one number. Reads memory, changes nothing.
 * What an entry would find in the MSR-load list is checked too, with the number of the entry (from 1) as the exit qualification.
 */
export function failedChecks(c: EntryContext): FailedCheck[] {
  const found: FailedCheck[] = [];
  for (const row of vmEntryChecks) {
    if (row.id.startsWith('msr.') && row.id !== 'msr.count') continue;
    if ((row.applies === undefined || row.applies(c)) && !row.ok(c)) found.push(failed(row, c));
  }
  return found.concat(failedMsrEntries(c));
}

function failedMsrEntries(c: EntryContext): FailedCheck[] {
  const found: FailedCheck[] = [];
  const count = Math.min(c.lo(F.ENTRY_MSR_LOAD_COUNT) >>> 0, c.capabilities.msrListLimit);
  const rows = vmEntryChecks.filter((row) => row.group === 'msrLoad' && row.id !== 'msr.count');
  for (let i = 0; i < count; i++) {
    readMsrEntry(c, c.lo(F.ENTRY_MSR_LOAD_ADDRESS), c.hi(F.ENTRY_MSR_LOAD_ADDRESS), i);
    for (const row of rows) if (!row.ok(c)) found.push(failed(row, c, { ...row.failure, qualification: i + 1 }));
  }
  return found;
}

/** The explanation of a failed VMLAUNCH or VMRESUME, line by line: each failing check with field, encoding, value, rule, manual section and hint. */
export function explainEntry(c: EntryContext, sink: (line: string) => void): void {
  const found = failedChecks(c);
  if (found.length === 0) {
    sink('vmx: no VM-entry check fails');
    return;
  }
  const [first] = found;
  sink(
    `vmx: VM entry fails with ${formatFailure(first!.failure)}; ${found.length} check${found.length === 1 ? '' : 's'} of ${vmEntryChecks.length} fail${found.length === 1 ? 's' : ''}:`,
  );
  for (const { lines } of found) for (const line of lines) sink(`  ${line}`);
}
