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

/** How many contents are remembered: a hypervisor whose guests nest has two VMCBs for each, and takes turns. */
const WAYS = 4;

/**
 * The checks of a VMCB, which mostly holds what a consistent one held lately where they look: then they hold again. Compares values, so nothing is ever missed;
 * guests with PAE paging, whose checks read their tables in memory, are always checked.
 */
export class RememberedChecks {
  private readonly values = new Int32Array(WAYS * checkedWords.length);
  private readonly hostCr0 = new Int32Array(WAYS);
  private known = 0;
  private next = 0;

  /** True when every check of the VMCB in view holds. */
  pass(view: VmrunView): boolean {
    for (let way = 0; way < this.known; way++) if (this.isSame(view, way)) return true;
    if (firstFailure(vmcbRows, view) >= 0) return false;
    if (!readsMemory(view)) this.remember(view);
    return true;
  }

  private isSame({ i32, v, cpu }: VmrunView, way: number): boolean {
    const { values, hostCr0 } = this;
    if (cpu.w[CR0] !== hostCr0[way]) return false;
    const start = way * checkedWords.length;
    for (let i = 0; i < checkedWords.length; i++) if (i32[v + checkedWords[i]!] !== values[start + i]) return false;
    return true;
  }

  private remember({ i32, v, cpu }: VmrunView): void {
    const { values, hostCr0, next } = this;
    const start = next * checkedWords.length;
    for (let i = 0; i < checkedWords.length; i++) values[start + i] = i32[v + checkedWords[i]!]!;
    hostCr0[next] = cpu.w[CR0]!;
    this.next = (next + 1) % WAYS;
    this.known = Math.max(this.known, next + 1);
  }
}

/** Whether checks of the VMCB look at more than its words: at the tables of PAE paging. */
function readsMemory({ i32, v }: VmrunView): boolean {
  const paging = (i32[v + Vmcb.CR0]! & CR0_PG) !== 0 && (i32[v + Vmcb.CR4]! & CR4_PAE) !== 0;
  return paging && (i32[v + Vmcb.EFER]! & EFER_LME) === 0;
}
