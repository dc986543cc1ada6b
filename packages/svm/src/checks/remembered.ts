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

/**
 * The checks of a VMCB, which mostly holds what the last consistent one held where they look: then they hold again. Compares values, so nothing is ever missed;
 * guests with PAE paging, whose checks read their tables in memory, are always checked.
 */
export class RememberedChecks {
  private readonly values = new Int32Array(checkedWords.length);
  private hostCr0 = 0;
  private known = false;

  /** True when every check of the VMCB in view holds. */
  pass(view: VmrunView): boolean {
    if (this.known && this.isSame(view)) return true;
    this.known = false;
    if (firstFailure(vmcbRows, view) >= 0) return false;
    this.remember(view);
    return true;
  }

  private isSame({ i32, v, cpu }: VmrunView): boolean {
    const { values } = this;
    if (cpu.w[CR0] !== this.hostCr0) return false;
    for (let i = 0; i < values.length; i++) if (i32[v + checkedWords[i]!] !== values[i]) return false;
    return true;
  }

  private remember({ i32, v, cpu }: VmrunView): void {
    const { values } = this;
    for (let i = 0; i < values.length; i++) values[i] = i32[v + checkedWords[i]!]!;
    this.hostCr0 = cpu.w[CR0]!;
    const paging = (i32[v + Vmcb.CR0]! & CR0_PG) !== 0 && (i32[v + Vmcb.CR4]! & CR4_PAE) !== 0;
    this.known = !paging || (i32[v + Vmcb.EFER]! & EFER_LME) !== 0;
  }
}
