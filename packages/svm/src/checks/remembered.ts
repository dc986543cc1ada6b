import { firstFailure } from '@nestvm/cpu';
import { CR0 } from '@nestvm/cpu/extension';
import { Vmcb } from '../vmcb/layout.js';
import { vmcbRows } from './rows.js';
import type { VmrunView } from './view.js';

/** Every word of a VMCB that a check of its consistency reads; a test holds the rows to it. */
export const checkedWords = Int32Array.from([
  Vmcb.INTERCEPTS,
  Vmcb.INTERCEPTS + 1,
  Vmcb.IOPM_BASE,
  Vmcb.IOPM_BASE + 1,
  Vmcb.MSRPM_BASE,
  Vmcb.MSRPM_BASE + 1,
  Vmcb.ASID,
  Vmcb.INT_CONTROL,
  Vmcb.NESTED_CONTROL,
  Vmcb.EVENT_INJECTION,
  Vmcb.NCR3 + 1,
  Vmcb.AVIC_BACKING_PAGE,
  Vmcb.AVIC_BACKING_PAGE + 1,
  Vmcb.AVIC_LOGICAL_TABLE,
  Vmcb.AVIC_LOGICAL_TABLE + 1,
  Vmcb.AVIC_PHYSICAL_TABLE,
  Vmcb.AVIC_PHYSICAL_TABLE + 1,
  Vmcb.CS,
  Vmcb.EFER,
  Vmcb.EFER + 1,
  Vmcb.CR4,
  Vmcb.CR4 + 1,
  Vmcb.CR3 + 1,
  Vmcb.CR0,
  Vmcb.CR0 + 1,
  Vmcb.DR7 + 1,
  Vmcb.DR6 + 1,
  Vmcb.S_CET,
  Vmcb.G_PAT,
  Vmcb.G_PAT + 1,
]);

const EFER_LME = 1 << 8;
const CR0_PG = 1 << 31;
const CR4_PAE = 1 << 5;

/** How many contents are remembered, as a power of two: a hypervisor whose guests nest has two VMCBs for each, with and without an event, a window, another intercept. */
const WAY_BITS = 8;
/** Words in which contents mostly differ: they say where one is remembered. */
const TELLING = [Vmcb.INTERCEPTS, Vmcb.INTERCEPTS + 1, Vmcb.MSRPM_BASE, Vmcb.INT_CONTROL, Vmcb.EVENT_INJECTION, Vmcb.CS, Vmcb.CR0];

/**
 * The checks of a VMCB, which mostly holds what a consistent one held lately where they look: then they hold again. Compares values, so nothing is ever missed;
 * guests with PAE paging, whose checks read their tables in memory, are always checked.
 */
export class RememberedChecks {
  private readonly values = new Int32Array(checkedWords.length << WAY_BITS);
  private readonly hostCr0 = new Int32Array(1 << WAY_BITS);
  private readonly isTaken = new Uint8Array(1 << WAY_BITS);

  /** True when every check of the VMCB in view holds. */
  pass(view: VmrunView): boolean {
    const way = wayOf(view);
    if (this.isSame(view, way)) return true;
    if (firstFailure(vmcbRows, view) >= 0) return false;
    if (!readsMemory(view)) this.remember(view, way);
    return true;
  }

  private isSame({ i32, v, cpu }: VmrunView, way: number): boolean {
    const { values } = this;
    if (this.isTaken[way] === 0 || cpu.w[CR0] !== this.hostCr0[way]) return false;
    const start = way * checkedWords.length;
    for (let i = 0; i < checkedWords.length; i++) if (i32[v + checkedWords[i]!] !== values[start + i]) return false;
    return true;
  }

  private remember({ i32, v, cpu }: VmrunView, way: number): void {
    const start = way * checkedWords.length;
    for (let i = 0; i < checkedWords.length; i++) this.values[start + i] = i32[v + checkedWords[i]!]!;
    this.hostCr0[way] = cpu.w[CR0]!;
    this.isTaken[way] = 1;
  }
}

/** Where the contents of the VMCB in view are remembered. */
function wayOf({ i32, v }: VmrunView): number {
  let hash = 0;
  for (let i = 0; i < TELLING.length; i++) hash = Math.imul(hash ^ i32[v + TELLING[i]!]!, 0x9e3779b1) ^ (hash >>> 15);
  return hash >>> (32 - WAY_BITS);
}

/** Whether checks of the VMCB look at more than its words: at the tables of PAE paging. */
function readsMemory({ i32, v }: VmrunView): boolean {
  const paging = (i32[v + Vmcb.CR0]! & CR0_PG) !== 0 && (i32[v + Vmcb.CR4]! & CR4_PAE) !== 0;
  return paging && (i32[v + Vmcb.EFER]! & EFER_LME) === 0;
}
