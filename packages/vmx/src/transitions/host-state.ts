import { ACTIVITY, Activity, CPL, CR0, CR4, EFER, INTERRUPTIBILITY, PENDING_DEBUG, RFLAGS, Shadow, UINTR_MISC, word } from '@nestvm/cpu/extension';
import { Cr4, Efer } from '@nestvm/isa';
import { Exit, Exit2 } from '../controls/controls.js';
import { F } from '../fields/layout.js';
import type { Vmx } from '../vmx.js';
import { loadHostCet } from './cet-state.js';
import { copyQuad } from './copy-quad.js';
import { loadCounterControl, loadDr7, mergedCr0 } from './guest-state.js';

const PAT = word('pat');
const DEBUG_CTL = word('debugCtl');
const PKRS = word('pkrs');
const BND_CFG_S = word('bndCfgS');
const SPEC_CTRL = word('specCtrl');

const f = {
  cr0: F.HOST_CR0,
  cr4: F.HOST_CR4,
  efer: F.HOST_IA32_EFER,
  pat: F.HOST_IA32_PAT,
  pkrs: F.HOST_IA32_PKRS,
  counters: F.HOST_IA32_PERF_GLOBAL_CTRL,
  spec: F.HOST_IA32_SPEC_CTRL,
} as const;

function loadControlRegisters(vmx: Vmx, long: boolean): void {
  const { i32, region, controls } = vmx;
  const { w } = vmx.cpu;
  w[CR0] = mergedCr0(w[CR0]!, i32[region + f.cr0]!);
  const cr4 = i32[region + f.cr4]!;
  w[CR4] = long ? cr4 | Cr4.PAE : cr4 & ~Cr4.PCIDE;
  const base = controls.hasExit(Exit.LOAD_EFER) ? i32[region + f.efer]! : w[EFER]!;
  const both = Efer.LMA | Efer.LME;
  w[EFER] = long ? base | both : base & ~both;
  w[EFER + 1] = 0;
}

function loadMsrs(vmx: Vmx): void {
  const { i32, region, controls } = vmx;
  const { w } = vmx.cpu;
  w[DEBUG_CTL] = 0;
  w[DEBUG_CTL + 1] = 0;
  if (controls.hasExit(Exit.LOAD_PAT)) copyQuad(w, PAT, i32, region + f.pat);
  if (controls.hasExit(Exit.LOAD_PERF_GLOBAL_CTRL)) loadCounterControl(vmx, region + f.counters);
  if (controls.hasExit(Exit.CLEAR_UINV)) w[UINTR_MISC + 1] = 0;
  if (controls.hasExit(Exit.CLEAR_BNDCFGS)) w.fill(0, BND_CFG_S, BND_CFG_S + 2);
  if (controls.hasExit(Exit.LOAD_PKRS)) copyQuad(w, PKRS, i32, region + f.pkrs);
  if ((controls.exit2 & Exit2.LOAD_SPEC_CTRL) !== 0) copyQuad(w, SPEC_CTRL, i32, region + f.spec);
  loadHostCet(vmx);
}

/**
 * Loads the host state of the current VMCS into the vCPU (SDM Vol. 3, "Loading Host State"). The MMU, PDPTEs and the MSR list are the caller's. `nmi`: the exit
 * was caused by an NMI, whose successors are blocked from now on.
 */
export function loadHostState(vmx: Vmx, nmi: boolean): void {
  const { region, cpu, controls } = vmx;
  const { w } = cpu;
  const long = controls.hasExit(Exit.HOST_ADDRESS_SPACE_SIZE);
  const { host64In, host32In } = vmx.transfers;
  if (long) host64In(4 * region, cpu.base);
  else host32In(4 * region, cpu.base);
  loadControlRegisters(vmx, long);
  loadDr7(vmx, 0);
  loadMsrs(vmx);
  cpu.writeRflags(2);
  w[RFLAGS] = 2;
  w[CPL] = 0;
  w[PENDING_DEBUG] = 0;
  w[ACTIVITY] = Activity.ACTIVE;
  w[INTERRUPTIBILITY] = (w[INTERRUPTIBILITY]! & Shadow.NMI) | (nmi ? Shadow.NMI : 0);
}
