import type { NestedContext, Vcpu } from '@nestvm/cpu';

/** One reason for leaving nested guests, and how often. */
export interface ExitCount {
  readonly reason: string;
  readonly count: number;
}

/** What nested guests have done since the machine was switched on, all vCPUs together. */
export interface LevelCounts {
  /** VM entries (VMLAUNCH, VMRESUME, VMRUN) that reached the guest, and those that failed their checks. */
  readonly entries: number;
  readonly failedEntries: number;
  /** Exits by reason, the most frequent first. */
  readonly exits: readonly ExitCount[];
  /** Every VMCS or VMCB that was ever entered, with the vCPU that did. An L3 has one too: its own hypervisor's hypervisor made it. */
  readonly contexts: readonly (NestedContext & { readonly cpu: number })[];
}

/** Adds up what the hypervisor extensions of the vCPUs have counted. */
export function levelCounts(cpus: readonly Vcpu[]): LevelCounts {
  const byReason = new Map<string, number>();
  let entries = 0;
  let failedEntries = 0;
  const contexts: (NestedContext & { cpu: number })[] = [];
  for (const { virtualization, index } of cpus) {
    if (virtualization === null) continue;
    const { counters, ledger } = virtualization;
    entries += counters.entries;
    failedEntries += counters.failedEntries;
    counters.exits.forEach((count, reason) => {
      if (count === 0) return;
      const name = virtualization.exitName(reason);
      byReason.set(name, (byReason.get(name) ?? 0) + count);
    });
    for (const context of ledger.list()) contexts.push({ ...context, cpu: index });
  }
  const exits = [...byReason].map(([reason, count]) => ({ reason, count })).sort((a, b) => b.count - a.count);
  return { entries, failedEntries, exits, contexts };
}
