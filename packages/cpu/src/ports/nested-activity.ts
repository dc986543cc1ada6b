import type { NestedReport } from './ledger.js';
import type { Virtualization } from './virtualization.js';

/** A vCPU as far as nested guests go. */
interface Nester {
  readonly virtualization: Virtualization | null;
}

const ORDER: readonly NestedReport['class'][] = ['off', 'configured', 'parked', 'resident', 'executing'];

/** The report that counts of two on one context: the vCPU that entered it last knows best. */
function newer(a: NestedReport, b: NestedReport): NestedReport {
  if (a.lastEntryAgoNs !== b.lastEntryAgoNs) return a.lastEntryAgoNs < b.lastEntryAgoNs ? a : b;
  return ORDER.indexOf(a.class) >= ORDER.indexOf(b.class) ? a : b;
}

/** One report of two on one context, of which each vCPU has counted its own entries. */
const together = (a: NestedReport, b: NestedReport): NestedReport => ({ ...newer(a, b), entries: a.entries + b.entries });

/**
 * What the vCPUs of a machine say of its nested guests, each VMCS or VMCB once: it may have been entered on several of them. Call it between two instructions.
 */
export function inspectNested(cpus: readonly Nester[]): readonly NestedReport[] {
  const enabled = cpus.some(({ virtualization }) => virtualization?.enabled === true);
  const byAddress = new Map<number, NestedReport>();
  for (const { virtualization } of cpus) {
    for (const report of virtualization?.inspect(enabled) ?? []) {
      const other = byAddress.get(report.pa);
      byAddress.set(report.pa, other === undefined ? report : together(other, report));
    }
  }
  return [...byAddress.values()];
}
