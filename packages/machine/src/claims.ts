import { inspectNested, type NestedClass, type NestedReport, type Vcpu } from '@nestvm/cpu';
import { type SavedValue, type Stateful, stateful } from '@nestvm/state';
import { MachineError } from './errors.js';

/** By what forbids saving a machine first; of these a snapshot says so, if one was made all the same. */
const CLASSES: readonly NestedClass[] = ['executing', 'resident', 'parked', 'configured', 'off'];
const ACTIVE = CLASSES.slice(0, 3);
const MOST_CLAIMS = 4096;

/**
 * What a snapshot says of nested guests that were active when it was made. Nestvm makes no such snapshot, but files come from anywhere, and the ledgers of the
 * vCPUs are made anew by a load: what is claimed is reported beside what they say, so that whoever loads can refuse.
 */
export class NestedClaims {
  private claimed: readonly NestedReport[] = [];

  constructor(private readonly cpus: readonly Vcpu[]) {}

  inspect(): readonly NestedReport[] {
    return [...inspectNested(this.cpus), ...this.claimed];
  }

  readonly unit: Stateful = stateful({
    version: 1,
    save: () =>
      inspectNested(this.cpus)
        .filter((report) => ACTIVE.includes(report.class))
        .map(({ cpu, pa, kind, class: how, entries, lastExit, root }) => ({ cpu, pa, kind, class: how, entries, lastExit, root })),
    load: (saved) => {
      this.claimed = readClaims(saved);
    },
    before: [],
  });
}

function readClaims(saved: unknown): NestedReport[] {
  if (!Array.isArray(saved) || saved.length > MOST_CLAIMS) throw damaged();
  return (saved as SavedValue[]).map((item) => {
    const { cpu, pa, kind, class: how, entries, lastExit, root } = (item ?? {}) as Readonly<Record<string, SavedValue | undefined>>;
    const isKnown = (kind === 'vmcs' || kind === 'vmcb') && typeof lastExit === 'string' && CLASSES.includes(how as NestedClass);
    if (!isKnown || ![cpu, pa, entries, root].every((number) => Number.isSafeInteger(number) && Number(number) >= 0)) throw damaged();
    return {
      cpu: Number(cpu),
      pa: Number(pa),
      entries: Number(entries),
      root: Number(root),
      kind,
      class: how as NestedClass,
      lastExit: lastExit.slice(0, 100),
      lastEntryAgoNs: 0,
      why: 'The snapshot says that it was active when it was made.',
      clearsWhen: 'It ends when its hypervisor shuts the guest down; make the snapshot after that.',
    };
  });
}

const damaged = (): MachineError => new MachineError('bad-state', 'machine: what is saved of nested guests makes no sense; the snapshot is damaged');
