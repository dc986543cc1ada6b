import type { VirtualClock } from '@nestvm/bus';
import { inspectNested, type Vcpu } from '@nestvm/cpu';

/** Guest time between two looks. */
const PERIOD_NS = 250e6;

/**
 * Looks now and then whether nested guests have ended: what shows it (an empty nested root) lies in memory that L1 soon uses for something else, and nobody may
 * have asked meanwhile. Guests can't see it: it reads, at times when the machine's clock stops the vCPUs anyway.
 */
export function watchNestedGuests(cpus: readonly Vcpu[], clock: VirtualClock): void {
  const look = clock.createTimer('nested guests', () => {
    if (inspectNested(cpus).some(({ class: kind }) => kind !== 'configured' && kind !== 'off')) look.arm(clock.nowNs() + PERIOD_NS);
  });
  for (const { virtualization } of cpus) {
    if (virtualization === null) continue;
    virtualization.ledger.onAppearance = () => look.arm(clock.nowNs() + PERIOD_NS);
  }
}
