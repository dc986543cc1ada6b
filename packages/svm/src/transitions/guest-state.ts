import { ACTIVITY, CPL, CR0, CR4, DR, EFER, EventKind, INTERRUPTIBILITY, PENDING_DEBUG, Shadow, syncBreakpoints, word } from '@nestvm/cpu/extension';
import type { SvmContext } from '../context.js';
import { IntControl, NestedControl, Vmcb } from '../vmcb/layout.js';

const PAT = word('pat');
const DR6 = DR + 12;
const DR7 = DR + 14;
const EFER_LME = 1 << 8;
const EFER_LMA = 1 << 10;
const CR0_PE = 1;
const CR0_ET = 1 << 4;
const CR0_PG = 1 << 31;
const RFLAGS_VM = 1 << 17;
const RFLAGS_MASK = 0x3f7fd7;
const SHADOWS = 3;
const MASKED_NMI = IntControl.V_NMI_ENABLE | IntControl.V_NMI_MASK;
const STI_SHADOW = 1;
const DR6_WRITABLE = 0xe00f;
const DR6_FIXED = 0xffff0ff0 | 0;
const DR7_WRITABLE = 0xffff23ff | 0;
const DR7_FIXED = 0x400;

function load64(svm: SvmContext, to: number, from: number): void {
  const { w } = svm.cpu;
  w[to] = svm.i32[from]!;
  w[to + 1] = svm.i32[from + 1]!;
}

function store64(svm: SvmContext, to: number, from: number): void {
  const { w } = svm.cpu;
  svm.i32[to] = w[from]!;
  svm.i32[to + 1] = w[from + 1]!;
}

/** CPL of the guest: 0 in real mode, 3 in virtual-8086 mode, else what the VMCB says. */
function guestCpl(svm: SvmContext, v: number, rflags: number): number {
  if ((svm.i32[v + Vmcb.CR0]! & CR0_PE) === 0) return 0;
  return (rflags & RFLAGS_VM) !== 0 ? 3 : (svm.i32[v + Vmcb.CPL_WORD]! >>> 24) & 3;
}

function loadControlRegisters(svm: SvmContext, v: number): void {
  const { i32 } = svm;
  const { w } = svm.cpu;
  const cr0 = i32[v + Vmcb.CR0]!;
  const efer = i32[v + Vmcb.EFER]!;
  w[CR0] = cr0 | CR0_ET;
  w[CR0 + 1] = 0;
  w[CR4] = i32[v + Vmcb.CR4]!;
  w[CR4 + 1] = 0;
  w[EFER] = (cr0 & CR0_PG) !== 0 && (efer & EFER_LME) !== 0 ? efer | EFER_LMA : efer & ~EFER_LMA;
  w[EFER + 1] = 0;
}

function loadDebugRegisters(svm: SvmContext, v: number): void {
  const { i32, cpu } = svm;
  const { w } = cpu;
  w[DR6] = (i32[v + Vmcb.DR6]! & DR6_WRITABLE) | DR6_FIXED;
  const before = w[DR7]!;
  const dr7 = (i32[v + Vmcb.DR7]! & DR7_WRITABLE) | DR7_FIXED;
  w[DR7] = dr7;
  if (((before | dr7) & 0xff) !== 0) syncBreakpoints(cpu);
}

/** VMRUN's second half: the guest's registers come from the VMCB at word `v`, whose checks have passed. `updateMode` and the MMU are the caller's. */
export function loadGuest(svm: SvmContext, v: number): void {
  const { i32, cpu } = svm;
  const { w } = cpu;
  svm.transfers.guestIn(4 * v, cpu.base);
  loadControlRegisters(svm, v);
  loadDebugRegisters(svm, v);
  const rflags = (i32[v + Vmcb.RFLAGS]! & RFLAGS_MASK) | 2;
  cpu.writeRflags(rflags);
  w[CPL] = guestCpl(svm, v, rflags);
  if ((i32[v + Vmcb.NESTED_CONTROL]! & NestedControl.NP_ENABLE) !== 0) load64(svm, PAT, v + Vmcb.G_PAT);
  w[INTERRUPTIBILITY] = (w[INTERRUPTIBILITY]! & ~SHADOWS) | (i32[v + Vmcb.INT_STATE]! & STI_SHADOW);
  if (svm.features.vnmi && (i32[v + Vmcb.INT_CONTROL]! & MASKED_NMI) === MASKED_NMI) w[INTERRUPTIBILITY] = w[INTERRUPTIBILITY]! | Shadow.VIRTUAL_NMI;
  w[PENDING_DEBUG] = 0;
}

/** The mask of virtual NMIs is a bit of the VMCB again; an exit while one is delivered takes it back. */
function storeNmiMask(svm: SvmContext, v: number): void {
  const { i32 } = svm;
  const { w } = svm.cpu;
  const control = i32[v + Vmcb.INT_CONTROL]!;
  if (!svm.features.vnmi || (control & IntControl.V_NMI_ENABLE) === 0) return;
  const isDelivered = svm.cpu.vectoring !== 0 && ((svm.cpu.vectoring >>> 8) & 7) === (EventKind.NMI as number);
  const masked = (w[INTERRUPTIBILITY]! & Shadow.VIRTUAL_NMI) !== 0 && !isDelivered;
  i32[v + Vmcb.INT_CONTROL] = masked ? control | IntControl.V_NMI_MASK : control & ~IntControl.V_NMI_MASK;
  w[INTERRUPTIBILITY] = w[INTERRUPTIBILITY]! & ~Shadow.VIRTUAL_NMI;
}

/** #VMEXIT's first half: the guest's registers go to the VMCB at word `v`. */
export function storeGuest(svm: SvmContext, v: number): void {
  const { i32, cpu } = svm;
  const { w } = cpu;
  svm.transfers.guestOut(cpu.base, 4 * v);
  i32[v + Vmcb.RFLAGS] = cpu.readRflags();
  i32[v + Vmcb.RFLAGS + 1] = 0;
  i32[v + Vmcb.CPL_WORD] = (i32[v + Vmcb.CPL_WORD]! & 0xffffff) | (w[CPL]! << 24);
  if ((i32[v + Vmcb.NESTED_CONTROL]! & NestedControl.NP_ENABLE) !== 0) store64(svm, v + Vmcb.G_PAT, PAT);
  i32[v + Vmcb.INT_STATE] = (i32[v + Vmcb.INT_STATE]! & ~STI_SHADOW) | ((w[INTERRUPTIBILITY]! & SHADOWS) !== 0 ? STI_SHADOW : 0);
  w[INTERRUPTIBILITY] = w[INTERRUPTIBILITY]! & ~SHADOWS;
  storeNmiMask(svm, v);
  w[PENDING_DEBUG] = 0;
  w[ACTIVITY] = 0;
}
