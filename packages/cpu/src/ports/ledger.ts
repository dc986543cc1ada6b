/** One VMCS or VMCB that has been entered since the machine was reset. Times are guest nanoseconds since power-on. */
export interface NestedContext {
  /** Physical address of the VMCS or VMCB. */
  readonly pa: number;
  readonly kind: 'vmcs' | 'vmcb';
  /** VMX: entered since the last VMCLEAR. SVM: always true. */
  launched: boolean;
  /** Number of the vCPU on which it is active (VMPTRLDed and not VMCLEARed; SVM: entered last), or -1. */
  activeOn: number;
  entries: number;
  lastEntryNs: number;
  lastExitNs: number;
  lastExitReason: number;
  /** EPTP or nCR3 at the last entry, 0 without a second stage. */
  root: number;
  /** VPID or ASID at the last entry. */
  tag: number;
  /** Time of the last VMCLEAR, -1 when there was none since the last entry; and what its page held then, as a hash. */
  clearedNs: number;
  clearedHash: number;
  /** Why its L2 is gone, once that was seen: it holds until the next entry, whatever becomes of the memory that showed it. */
  over: NestedVerdict | null;
}

/**
 * How active a nested guest is: running now, ready to be resumed on a CPU, put aside by VMCLEAR, only prepared (or over), or without an extension that is on.
 * The first three forbid saving the machine.
 */
export type NestedClass = 'executing' | 'resident' | 'parked' | 'configured' | 'off';

/** The classes that forbid saving the machine, the strongest first. */
const ACTIVE: readonly NestedClass[] = ['executing', 'resident', 'parked'];

/** How an extension judges one context: why it counts as it does, and what would clear it (nothing where it does not forbid a snapshot), as sentences. */
export interface NestedVerdict {
  readonly class: NestedClass;
  readonly why: string;
  readonly clearsWhen: string;
}

/** The verdict on a context whose L2 is gone, by this evidence. */
export const nestedGuestIsGone = (why: string): NestedVerdict => ({ class: 'configured', why, clearsWhen: '' });

/** What an extension says of one VMCS or VMCB when it is asked whether its L2 is active: plain data for programs, sentences for people. */
export interface NestedReport extends NestedVerdict {
  readonly cpu: number;
  readonly pa: number;
  readonly kind: 'vmcs' | 'vmcb';
  readonly entries: number;
  readonly lastEntryAgoNs: number;
  readonly lastExit: string;
  readonly root: number;
}

/** Guest time without an entry after which an empty nested root alone says that the L2 is over: a running one maps its code at its next entry. */
export const QUIET_NS = 1e9;

/** Guest time for which a context with a nested root still counts after the extension was turned off everywhere: some hypervisors do that between two runs of one L2. */
export const GRACE_NS = 2e9;

/** True when none of the 512 entries of a nested root table (EPT or NPT) is present, so that nothing can execute under it; false without a root. */
export function isEmptyRoot(read32: (address: number) => number, root: number, presentMask: number): boolean {
  if (root === 0) return false;
  for (let entry = 0; entry < 4096; entry += 8) if ((read32(root + entry) & presentMask) !== 0) return false;
  return true;
}

/** Which contexts of nested guests exist on one vCPU, and when they ran: what decides whether an L2 is active. */
export class NestedLedger {
  private readonly byAddress = new Map<number, NestedContext>();
  /** The context that was entered last: entries find it without a look-up. */
  private last: NestedContext | null = null;
  /** Told when a context is entered that was not there, or whose L2 was taken for gone. */
  onAppearance: (() => void) | null = null;

  constructor(readonly kind: 'vmcs' | 'vmcb') {}

  /** The context at a physical address, made on its first entry. */
  at(pa: number): NestedContext {
    if (this.last !== null && this.last.pa === pa) return this.last;
    let context = this.byAddress.get(pa);
    if (context === undefined) {
      context = {
        pa,
        kind: this.kind,
        launched: false,
        activeOn: -1,
        entries: 0,
        lastEntryNs: 0,
        lastExitNs: 0,
        lastExitReason: -1,
        root: 0,
        tag: 0,
        clearedNs: -1,
        clearedHash: 0,
        over: null,
      };
      this.byAddress.set(pa, context);
      this.onAppearance?.();
    } else if (context.over !== null) {
      context.over = null;
      this.onAppearance?.();
    }
    this.last = context;
    return context;
  }

  /** Takes the L2 of a context for gone until it is entered again. */
  close(context: NestedContext, verdict: NestedVerdict): void {
    context.over = verdict;
    this.last = null;
  }

  /** The context at a physical address if it was ever entered. */
  find(pa: number): NestedContext | undefined {
    return this.byAddress.get(pa);
  }

  /** Drops what is known about an address, or everything. */
  forget(pa?: number): void {
    this.last = null;
    if (pa === undefined) this.byAddress.clear();
    else this.byAddress.delete(pa);
  }

  /** Drops what was active on a vCPU: after its reset. */
  forgetCpu(index: number): void {
    this.last = null;
    for (const [pa, context] of this.byAddress) if (context.activeOn === index) this.byAddress.delete(pa);
  }

  /** A report on every context, for a vCPU at a guest time: `exitName` names the last exit, `judge` says whether its L2 is active; `configured` and `off` stay. */
  report(
    cpu: number,
    nowNs: number,
    exitName: (reason: number) => string,
    judge: (context: NestedContext) => NestedVerdict,
  ): readonly NestedReport[] {
    const verdict = (context: NestedContext): NestedVerdict => {
      if (context.over !== null) return context.over;
      const found = judge(context);
      if (!ACTIVE.includes(found.class)) this.close(context, found);
      return found;
    };
    return this.list().map((context) => ({
      cpu,
      pa: context.pa,
      kind: context.kind,
      entries: context.entries,
      lastEntryAgoNs: nowNs - context.lastEntryNs,
      lastExit: context.lastExitReason < 0 ? '' : exitName(context.lastExitReason),
      root: context.root,
      ...verdict(context),
    }));
  }

  /** All contexts, in the order of their first entries. */
  list(): readonly NestedContext[] {
    return [...this.byAddress.values()];
  }
}
