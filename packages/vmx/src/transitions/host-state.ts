import {
  ACTIVITY,
  Activity,
  CPL,
  CR0,
  CR3,
  CR4,
  EFER,
  GDTR_BASE,
  GDTR_LIMIT,
  GPR,
  IDTR_BASE,
  IDTR_LIMIT,
  INTERRUPTIBILITY,
  PENDING_DEBUG,
  RFLAGS,
  RIP,
  SEG_ATTRIBUTES,
  SEG_BASE,
  SEG_LIMIT,
  SEG_SELECTOR,
  Shadow,
  UINTR_MISC,
  word,
} from '@nestvm/cpu/extension';
import { Cr4, Efer, Segment } from '@nestvm/isa';
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
const RSP = GPR + 8;

/** Host fields that are copied as 64 bits, and where they go. */
const quads = Int32Array.from(
  [
    [F.HOST_CR3, CR3],
    [F.HOST_RSP, RSP],
    [F.HOST_RIP, RIP],
    [F.HOST_GDTR_BASE, GDTR_BASE],
    [F.HOST_IDTR_BASE, IDTR_BASE],
    [F.HOST_SYSENTER_ESP, word('sysenterEsp')],
    [F.HOST_SYSENTER_EIP, word('sysenterEip')],
    [F.HOST_SYSENTER_CS, word('sysenterCs')],
    [F.HOST_FS_BASE, SEG_BASE + 2 * Segment.FS],
    [F.HOST_GS_BASE, SEG_BASE + 2 * Segment.GS],
    [F.HOST_TR_BASE, SEG_BASE + 2 * Segment.TR],
  ].flat(),
);
const selectors = Int32Array.from(
  (['ES', 'CS', 'SS', 'DS', 'FS', 'GS', 'TR'] as const).flatMap((name) => [F[`HOST_${name}_SELECTOR`], Segment[name]]),
);
const f = {
  cr0: F.HOST_CR0,
  cr4: F.HOST_CR4,
  efer: F.HOST_IA32_EFER,
  pat: F.HOST_IA32_PAT,
  pkrs: F.HOST_IA32_PKRS,
  counters: F.HOST_IA32_PERF_GLOBAL_CTRL,
  spec: F.HOST_IA32_SPEC_CTRL,
} as const;

const CODE64 = 0xa09b;
const CODE32 = 0xc09b;
const DATA = 0xc093;
const TSS = 0x8b;
const UNUSABLE = 1 << 16;

/** Segment registers of the host: flat, but for the bases that have fields (SDM Vol. 3, "Loading Host Segment and Descriptor-Table Registers"). */
function loadSegments(vmx: Vmx, long: boolean): void {
  const { i32, region } = vmx;
  const { w, h } = vmx.cpu;
  for (let i = 0; i < selectors.length; i += 2) {
    const segment = selectors[i + 1]!;
    const selector = i32[region + selectors[i]!]! & 0xffff;
    h[SEG_SELECTOR + segment] = selector;
    if (segment < Segment.FS) {
      w[SEG_BASE + 2 * segment] = 0;
      w[SEG_BASE + 2 * segment + 1] = 0;
    }
    w[SEG_LIMIT + segment] = -1;
    w[SEG_ATTRIBUTES + segment] = selector === 0 ? DATA | UNUSABLE : DATA;
  }
  w[SEG_ATTRIBUTES + Segment.CS] = long ? CODE64 : CODE32;
  w[SEG_LIMIT + Segment.TR] = 0x67;
  w[SEG_ATTRIBUTES + Segment.TR] = TSS;
  h[SEG_SELECTOR + Segment.LDTR] = 0;
  w[SEG_ATTRIBUTES + Segment.LDTR] = UNUSABLE;
  w[GDTR_LIMIT] = 0xffff;
  w[IDTR_LIMIT] = 0xffff;
}

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
  const { i32, region, cpu, controls } = vmx;
  const { w } = cpu;
  const long = controls.hasExit(Exit.HOST_ADDRESS_SPACE_SIZE);
  for (let i = 0; i < quads.length; i += 2) {
    const from = region + quads[i]!;
    const to = quads[i + 1]!;
    w[to] = i32[from]!;
    w[to + 1] = i32[from + 1]!;
  }
  loadControlRegisters(vmx, long);
  loadSegments(vmx, long);
  loadDr7(vmx, 0);
  loadMsrs(vmx);
  cpu.writeRflags(2);
  w[RFLAGS] = 2;
  w[CPL] = 0;
  w[PENDING_DEBUG] = 0;
  w[ACTIVITY] = Activity.ACTIVE;
  w[INTERRUPTIBILITY] = (w[INTERRUPTIBILITY]! & Shadow.NMI) | (nmi ? Shadow.NMI : 0);
}
