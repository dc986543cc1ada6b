import { CSTAR, FMASK, KERNEL_GS_BASE, LSTAR, STAR, updateModeBits, word } from '@nestvm/cpu/extension';
import { Segment } from '@nestvm/isa';
import type { SvmContext } from '../context.js';
import { loadSegment, storeSegment } from '../transitions/segments.js';
import { Vmcb } from '../vmcb/layout.js';

/** The registers that VMLOAD and VMSAVE move beside segments: VMCB word, vCPU word. */
const MOVED: readonly number[] = [
  [Vmcb.STAR, STAR],
  [Vmcb.LSTAR, LSTAR],
  [Vmcb.CSTAR, CSTAR],
  [Vmcb.SFMASK, FMASK],
  [Vmcb.KERNEL_GS_BASE, KERNEL_GS_BASE],
  [Vmcb.SYSENTER_CS, word('sysenterCs')],
  [Vmcb.SYSENTER_ESP, word('sysenterEsp')],
  [Vmcb.SYSENTER_EIP, word('sysenterEip')],
].flat();

/** VMLOAD: what VMRUN leaves alone comes from the VMCB at word `v` (APM Vol. 3, VMLOAD). Addresses are made canonical. */
export function loadHidden(svm: SvmContext, v: number): void {
  const { cpu, i32 } = svm;
  const { w } = cpu;
  const shift = svm.features.canonicalShift;
  loadSegment(svm, v + Vmcb.FS, Segment.FS, shift);
  loadSegment(svm, v + Vmcb.GS, Segment.GS, shift);
  loadSegment(svm, v + Vmcb.LDTR, Segment.LDTR, shift);
  loadSegment(svm, v + Vmcb.TR, Segment.TR, shift);
  for (let i = 0; i < MOVED.length; i += 2) {
    const from = v + MOVED[i]!;
    const to = MOVED[i + 1]!;
    w[to] = i32[from]!;
    // STAR and SFMASK are no addresses; SYSENTER_CS has 32 bits.
    const address = to !== STAR && to !== FMASK;
    w[to + 1] = address ? (i32[from + 1]! << shift) >> shift : i32[from + 1]!;
  }
  updateModeBits(cpu);
}

/** VMSAVE: the way back. */
export function saveHidden(svm: SvmContext, v: number): void {
  const { cpu, i32 } = svm;
  storeSegment(svm, v + Vmcb.FS, Segment.FS);
  storeSegment(svm, v + Vmcb.GS, Segment.GS);
  storeSegment(svm, v + Vmcb.LDTR, Segment.LDTR);
  storeSegment(svm, v + Vmcb.TR, Segment.TR);
  for (let i = 0; i < MOVED.length; i += 2) {
    i32[v + MOVED[i]!] = cpu.w[MOVED[i + 1]!]!;
    i32[v + MOVED[i]! + 1] = cpu.w[MOVED[i + 1]! + 1]!;
  }
}
