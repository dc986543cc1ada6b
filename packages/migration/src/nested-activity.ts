/**
 * How active a nested guest is. `executing`, `resident` and `parked` refuse a snapshot; `configured` and `off` allow it. The names and the rule follow the
 * KVM project's page "Running nested guests with KVM": once an L1 has started an L2, it is no longer to be saved or migrated until that L2 shuts down.
 */
export type NestedClass = 'executing' | 'resident' | 'parked' | 'configured' | 'off';

const STRENGTH: Record<NestedClass, number> = { off: 0, configured: 1, parked: 2, resident: 3, executing: 4 };

/** One VMCS or VMCB that was entered since the machine was reset, as its vendor's ledger judges it. */
export interface NestedContextReport {
  /** Number of the vCPU. */
  readonly cpu: number;
  /** Physical address in L1's memory. */
  readonly pa: number;
  readonly kind: 'vmcs' | 'vmcb';
  readonly class: NestedClass;
  /** VM entries so far. */
  readonly entries: number;
  /** Guest nanoseconds since the last entry. */
  readonly lastEntryAgoNs: number;
  /** The last VM exit by its name in the manual. */
  readonly lastExit: string;
  /** EPTP or nCR3; 0 without a second stage. */
  readonly root: number;
  /** Why it counts as it does, and what would clear it: two sentences for people. */
  readonly why: string;
  readonly clearsWhen: string;
}

/** What `vmx` and `svm` answer, and all that `migration` knows of them. */
export interface NestedActivity {
  /** Every context, with all vCPUs stopped at an instruction boundary. */
  inspect(): readonly NestedContextReport[];
}

/** True when a context forbids a snapshot. */
export const isActive = (context: { readonly class: NestedClass }): boolean => STRENGTH[context.class] >= STRENGTH.parked;

/** The strongest class of all contexts, which is that of the machine. */
export function strongestClass(contexts: readonly { readonly class: NestedClass }[]): NestedClass {
  return contexts.reduce<NestedClass>((strongest, { class: next }) => (STRENGTH[next] > STRENGTH[strongest] ? next : strongest), 'off');
}

/** One line about a context: `CPU 0: VMCS at 0x1234000, resident, 812 entries, …`. */
export function formatContext(context: NestedContextReport): string {
  const { cpu, pa, kind, entries, lastEntryAgoNs, lastExit, why, clearsWhen } = context;
  const ago = lastEntryAgoNs < 1e6 ? `${Math.round(lastEntryAgoNs / 1e3)} µs` : `${Math.round(lastEntryAgoNs / 1e6)} ms`;
  return (
    `CPU ${cpu}: ${kind.toUpperCase()} at 0x${pa.toString(16)}, ${context.class}, ${entries} ${entries === 1 ? 'entry' : 'entries'}, ` +
    `last ${ago} ago, last exit ${lastExit || 'none'}. ${why} ${clearsWhen}`
  );
}
