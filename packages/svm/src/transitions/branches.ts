import { DEBUG_CTL, LAST_BRANCH } from '@nestvm/cpu/extension';
import type { SvmContext } from '../context.js';
import { VirtualExtension, Vmcb } from '../vmcb/layout.js';
import { HOST_DEBUG_CTL, HOST_LAST_BRANCH } from '../words.js';

/** Words of the four registers, which follow each other in the VMCB as they do in the vCPU state. */
const WORDS = 8;
/** Bits of DEBUGCTL that exist. */
const WRITABLE = 0x3f;

/** High half of the host's DEBUGCTL: 1 while the guest in force has records of its own. */
const OWN = HOST_DEBUG_CTL + 1;

/**
 * VMRUN: under LBR virtualization the host's branch records are kept and the guest's take their place (APM Vol. 2, "Last Branch Record Virtualization").
 * `updateModeBits` is the caller's.
 */
export function loadBranches(svm: SvmContext, v: number): void {
  const { i32 } = svm;
  const { w } = svm.cpu;
  w[OWN] = 0;
  if (!svm.features.lbrv || (i32[v + Vmcb.VIRTUAL_EXTENSIONS]! & VirtualExtension.LBR) === 0) return;
  w[OWN] = 1;
  w[HOST_DEBUG_CTL] = w[DEBUG_CTL]!;
  w[DEBUG_CTL] = i32[v + Vmcb.DEBUGCTL]! & WRITABLE;
  for (let i = 0; i < WORDS; i++) {
    w[HOST_LAST_BRANCH + i] = w[LAST_BRANCH + i]!;
    w[LAST_BRANCH + i] = i32[v + Vmcb.BR_FROM + i]!;
  }
}

/** #VMEXIT: the guest's records go to its VMCB. */
export function storeBranches(svm: SvmContext, v: number): void {
  const { i32 } = svm;
  const { w } = svm.cpu;
  if (w[OWN] === 0) return;
  i32[v + Vmcb.DEBUGCTL] = w[DEBUG_CTL]!;
  i32[v + Vmcb.DEBUGCTL + 1] = 0;
  for (let i = 0; i < WORDS; i++) i32[v + Vmcb.BR_FROM + i] = w[LAST_BRANCH + i]!;
}

/** … and the host's come back. */
export function restoreBranches(svm: SvmContext): void {
  const { w } = svm.cpu;
  if (w[OWN] === 0) return;
  w[OWN] = 0;
  w[DEBUG_CTL] = w[HOST_DEBUG_CTL]!;
  for (let i = 0; i < WORDS; i++) w[LAST_BRANCH + i] = w[HOST_LAST_BRANCH + i]!;
}
