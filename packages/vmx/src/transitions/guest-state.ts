import {
  ACTIVITY,
  Activity,
  CPL,
  CR0,
  CR4,
  DR,
  EFER,
  INTERRUPTIBILITY,
  PENDING_DEBUG,
  RFLAGS,
  SEG_ATTRIBUTES,
  Shadow,
  syncBreakpoints,
  UINTR_MISC,
  word,
} from '@nestvm/cpu/extension';
import { Cr0, Efer, Rflags, Segment } from '@nestvm/isa';
import { Entry, Exit, Pin } from '../controls/controls.js';
import { F } from '../fields/layout.js';
import type { Vmx } from '../vmx.js';
import { loadGuestCet, saveGuestCet } from './cet-state.js';
import { copyQuad } from './copy-quad.js';

const PAT = word('pat');
const DEBUG_CTL = word('debugCtl');
const SPEC_CTRL = word('specCtrl');
const PKRS = word('pkrs');
const BND_CFG_S = word('bndCfgS');
const COUNTER_CONTROL = word('pmcGlobalControl');
const DR7 = DR + 14;

const f = {
  cr0: F.GUEST_CR0,
  cr4: F.GUEST_CR4,
  dr7: F.GUEST_DR7,
  rflags: F.GUEST_RFLAGS,
  debugCtl: F.GUEST_IA32_DEBUGCTL,
  pat: F.GUEST_IA32_PAT,
  efer: F.GUEST_IA32_EFER,
  specCtrl: F.GUEST_IA32_SPEC_CTRL,
  pkrs: F.GUEST_IA32_PKRS,
  uinv: F.GUEST_UINV,
  bndCfgS: F.GUEST_IA32_BNDCFGS,
  counters: F.GUEST_IA32_PERF_GLOBAL_CTRL,
  interruptibility: F.GUEST_INTERRUPTIBILITY,
  activity: F.GUEST_ACTIVITY,
  pendingDebug: F.GUEST_PENDING_DEBUG,
  pdpte: F.GUEST_PDPTE0,
  timer: F.PREEMPTION_TIMER_VALUE,
  entry: F.ENTRY_CONTROLS,
} as const;

/** CR0 bits that VM entry and exit leave alone: ET, CD, NW and the reserved ones (SDM Vol. 3, "Loading Guest Control Registers, Debug Registers, and MSRs"). */
const CR0_KEPT = 0x10 | 0xffc0 | (1 << 17) | 0x1ff80000 | Cr0.NW | Cr0.CD;
const DR7_WRITABLE = 0xffff23ff | 0;
const DR7_FIXED = 0x400;
/** Bits of the interruptibility-state field. */
const Blocking = { STI: 1, MOV_SS: 2, SMI: 4, NMI: 8 } as const;
/** Bit 12 of the pending debug exceptions: an enabled breakpoint was met. */
const ENABLED_BREAKPOINT = 1 << 12;
/** Activity states, by the number in the VMCS. */
const ACTIVITIES = [Activity.ACTIVE, Activity.HLT, Activity.SHUTDOWN, Activity.WAIT_FOR_SIPI] as const;

/** Puts a field into IA32_PERF_GLOBAL_CTRL. */
export function loadCounterControl({ cpu, i32 }: Vmx, field: number): void {
  cpu.counters.sync();
  copyQuad(cpu.w, COUNTER_CONTROL, i32, field);
  cpu.counters.configure();
}

function loadMsrs(vmx: Vmx): void {
  const { i32, region, controls } = vmx;
  const { w } = vmx.cpu;
  if (controls.hasEntry(Entry.LOAD_PAT)) copyQuad(w, PAT, i32, region + f.pat);
  if (controls.hasEntry(Entry.LOAD_PERF_GLOBAL_CTRL)) loadCounterControl(vmx, region + f.counters);
  if (controls.hasEntry(Entry.LOAD_UINV)) w[UINTR_MISC + 1] = i32[region + f.uinv]! & 0xff;
  if (controls.hasEntry(Entry.LOAD_BNDCFGS)) copyQuad(w, BND_CFG_S, i32, region + f.bndCfgS);
  if (controls.hasEntry(Entry.LOAD_PKRS)) copyQuad(w, PKRS, i32, region + f.pkrs);
  if (controls.hasEntry(Entry.LOAD_SPEC_CTRL)) copyQuad(w, SPEC_CTRL, i32, region + f.specCtrl);
  loadGuestCet(vmx);
  if (!controls.hasEntry(Entry.LOAD_DEBUG_CONTROLS)) return;
  copyQuad(w, DEBUG_CTL, i32, region + f.debugCtl);
  loadDr7(vmx, i32[region + f.dr7]!);
}

/** Puts a value into DR7, and data breakpoints into force. */
export function loadDr7(vmx: Vmx, value: number): void {
  const { w } = vmx.cpu;
  const next = (value & DR7_WRITABLE) | DR7_FIXED;
  if (next === w[DR7]) return;
  w[DR7] = next;
  w[DR7 + 1] = 0;
  syncBreakpoints(vmx.cpu);
}

/** EFER of the guest: its field, or LMA and LME as the entry controls and CR0.PG say. */
function loadEfer(vmx: Vmx, cr0: number): void {
  const { i32, region, controls } = vmx;
  const { w } = vmx.cpu;
  if (controls.hasEntry(Entry.LOAD_EFER)) {
    w[EFER] = i32[region + f.efer]!;
    w[EFER + 1] = 0;
    return;
  }
  const long = controls.hasEntry(Entry.IA32E_MODE_GUEST);
  const lma = long ? Efer.LMA : 0;
  const lme = (cr0 & Cr0.PG) !== 0 ? (long ? Efer.LME : 0) : w[EFER]! & Efer.LME;
  w[EFER] = (w[EFER]! & ~(Efer.LMA | Efer.LME)) | lma | lme;
}

/** The CR0 that a transition leaves: `field` with the bits that transitions do not touch. */
export const mergedCr0 = (old: number, field: number): number => (old & CR0_KEPT) | (field & ~CR0_KEPT);

function cplOf(w: Int32Array): number {
  if ((w[CR0]! & Cr0.PE) === 0) return 0;
  if ((w[RFLAGS]! & Rflags.VM) !== 0) return 3;
  return (w[SEG_ATTRIBUTES + Segment.SS]! >>> 5) & 3;
}

/** Loads interruptibility and activity (SDM Vol. 3, "Updating Non-Register State"); physical and virtual NMI blocking are told apart by the controls. */
function loadNonRegisters(vmx: Vmx): void {
  const { i32, region, controls } = vmx;
  const { w } = vmx.cpu;
  const field = i32[region + f.interruptibility]!;
  let blocking = 0;
  if ((field & Blocking.STI) !== 0) blocking |= Shadow.STI;
  if ((field & Blocking.MOV_SS) !== 0) blocking |= Shadow.MOV_SS;
  if ((field & Blocking.SMI) !== 0) blocking |= Shadow.SMI;
  if ((field & Blocking.NMI) !== 0) blocking |= controls.hasPin(Pin.VIRTUAL_NMIS) ? Shadow.VIRTUAL_NMI : Shadow.NMI;
  w[INTERRUPTIBILITY] = blocking;
  w[ACTIVITY] = ACTIVITIES[i32[region + f.activity]! & 3]!;
  const pending = i32[region + f.pendingDebug]!;
  w[PENDING_DEBUG] = ((pending & ENABLED_BREAKPOINT) !== 0 ? pending & 0xf : 0) | (pending & (1 << 14));
}

/** Loads the guest state of the current VMCS into the vCPU: everything but PDPTEs, event injection and the MSR list. */
export function loadGuestState(vmx: Vmx): void {
  const { i32, region, cpu } = vmx;
  const { w } = cpu;
  const cr0 = mergedCr0(w[CR0]!, i32[region + f.cr0]!);
  vmx.transfers.guestIn(4 * region, cpu.base);
  loadEfer(vmx, cr0);
  w[CR0] = cr0;
  w[CR4] = i32[region + f.cr4]!;
  cpu.writeRflags(i32[region + f.rflags]!);
  w[CPL] = cplOf(w);
  loadMsrs(vmx);
  loadNonRegisters(vmx);
}

/** True when the guest walks PDPTEs from registers: PAE paging outside of IA-32e mode. */
export const usesPdptes = (w: Int32Array): boolean => (w[CR0]! & Cr0.PG) !== 0 && (w[CR4]! & 0x20) !== 0 && (w[EFER]! & Efer.LMA) === 0;

/** Loads the four PDPTEs from the VMCS into the MMU. */
export function loadPdptes(vmx: Vmx): void {
  for (let i = 0; i < 4; i++) {
    const at = vmx.region + f.pdpte + 2 * i;
    vmx.mmu.setPdpte(i, vmx.i32[at]!, vmx.i32[at + 1]!);
  }
}

function saveNonRegisters(vmx: Vmx): void {
  const { i32, region, controls } = vmx;
  const { w } = vmx.cpu;
  const blocking = w[INTERRUPTIBILITY]!;
  const nmi = controls.hasPin(Pin.VIRTUAL_NMIS) ? Shadow.VIRTUAL_NMI : Shadow.NMI;
  i32[region + f.interruptibility] =
    ((blocking & Shadow.STI) !== 0 ? Blocking.STI : 0) |
    ((blocking & Shadow.MOV_SS) !== 0 ? Blocking.MOV_SS : 0) |
    ((blocking & Shadow.SMI) !== 0 ? Blocking.SMI : 0) |
    ((blocking & nmi) !== 0 ? Blocking.NMI : 0);
  const activity = ACTIVITIES.indexOf(w[ACTIVITY] as 0 | 1 | 2 | 3);
  i32[region + f.activity] = activity < 0 ? 0 : activity;
  const pending = w[PENDING_DEBUG]!;
  i32[region + f.pendingDebug] = (pending & 0x400f) | ((pending & 0xf) !== 0 ? ENABLED_BREAKPOINT : 0);
  i32[region + f.pendingDebug + 1] = 0;
}

function saveMsrs(vmx: Vmx): void {
  const { i32, region, controls } = vmx;
  // Some are saved on every exit of a processor that can load them.
  const loadable = vmx.capabilities.controls.entry.may;
  const { w } = vmx.cpu;
  if (controls.hasExit(Exit.SAVE_DEBUG_CONTROLS)) {
    copyQuad(i32, region + f.debugCtl, w, DEBUG_CTL);
    i32[region + f.dr7] = w[DR7]!;
    i32[region + f.dr7 + 1] = 0;
  }
  if (controls.hasExit(Exit.SAVE_PAT)) copyQuad(i32, region + f.pat, w, PAT);
  if (controls.hasExit(Exit.SAVE_PERF_GLOBAL_CTRL)) copyQuad(i32, region + f.counters, w, COUNTER_CONTROL);
  if (controls.hasExit(Exit.SAVE_EFER)) copyQuad(i32, region + f.efer, w, EFER);
  if ((loadable & Entry.LOAD_UINV) !== 0) i32[region + f.uinv] = w[UINTR_MISC + 1]!;
  if ((loadable & Entry.LOAD_BNDCFGS) !== 0) copyQuad(i32, region + f.bndCfgS, w, BND_CFG_S);
  if ((loadable & Entry.LOAD_PKRS) !== 0) copyQuad(i32, region + f.pkrs, w, PKRS);
  if (controls.hasEntry(Entry.LOAD_SPEC_CTRL)) copyQuad(i32, region + f.specCtrl, w, SPEC_CTRL);
  saveGuestCet(vmx);
  if (controls.hasExit(Exit.SAVE_PREEMPTION_TIMER)) i32[region + f.timer] = vmx.timer.value;
}

/** Saves the guest state into the current VMCS (SDM Vol. 3, "Saving Guest State"). */
export function saveGuestState(vmx: Vmx): void {
  const { i32, region, cpu, mmu, controls } = vmx;
  const { w } = cpu;
  vmx.transfers.guestOut(cpu.base, 4 * region);
  i32[region + f.cr0] = w[CR0]!;
  i32[region + f.cr4] = w[CR4]!;
  const flags = cpu.readRflags();
  const { resumeFlag } = vmx.exitRecord;
  i32[region + f.rflags] = resumeFlag === 'keep' ? flags : resumeFlag === 'set' ? flags | Rflags.RF : flags & ~Rflags.RF;
  i32[region + f.rflags + 1] = 0;
  saveMsrs(vmx);
  saveNonRegisters(vmx);
  // The control follows the guest into and out of IA-32e mode where unrestricted guests can switch.
  const entry = i32[region + f.entry]!;
  i32[region + f.entry] = (w[EFER]! & Efer.LMA) !== 0 ? entry | Entry.IA32E_MODE_GUEST : entry & ~Entry.IA32E_MODE_GUEST;
  if (!controls.usesEpt || !usesPdptes(w)) return;
  for (let i = 0; i < 4; i++) {
    i32[region + f.pdpte + 2 * i] = mmu.pdpte(i, 0);
    i32[region + f.pdpte + 2 * i + 1] = mmu.pdpte(i, 1);
  }
}
