import {
  ACTIVITY,
  Activity,
  EventKind,
  GUEST_MODE,
  INTERRUPTIBILITY,
  injectEvent,
  machineCheckAtEntry,
  recentNs,
  Shadow,
  updateModeBits,
} from '@nestvm/cpu/extension';
import { Pin, Proc1, Proc2 } from '../controls/controls.js';
import { F, VmcsHeader } from '../fields/layout.js';
import { addressAt, VmxWord } from '../state.js';
import type { Vmx } from '../vmx.js';
import { endInstruction, failEntry } from './exit.js';
import { guestModeOf } from './guest-mode.js';
import { loadGuestState, loadPdptes, usesPdptes } from './guest-state.js';
import { loadMsrList } from './msr-lists.js';
import { ExitReason } from './reasons.js';
import { describeSpace } from './space.js';
import { loadTsc } from './time.js';

const f = {
  injection: F.ENTRY_INTERRUPTION_INFORMATION,
  injectionError: F.ENTRY_EXCEPTION_ERROR_CODE,
  injectionLength: F.ENTRY_INSTRUCTION_LENGTH,
  loadAddress: F.ENTRY_MSR_LOAD_ADDRESS,
  loadCount: F.ENTRY_MSR_LOAD_COUNT,
  timer: F.PREEMPTION_TIMER_VALUE,
} as const;

const VALID = 1 << 31;
const HAS_ERROR = 1 << 11;
/** Interruption type of events that are none of the IDT's: vector 0 is a pending monitor-trap-flag exit. */
const OTHER_EVENT = 7;
/** Exit qualification of entry failure 33 for PDPTEs. */
const PDPTES = 2;

/** Non-root operation as the cpu package must know it: what blocks NMIs, whether instructions run one at a time. */
function setRules(vmx: Vmx): void {
  const { controls } = vmx;
  const virtual = controls.hasPin(Pin.VIRTUAL_NMIS);
  // Virtual NMIs: physical ones are never blocked. Without NMI exiting everything is as outside.
  vmx.nmiBlockedBy = Shadow.MOV_SS | Shadow.STI | (virtual ? 0 : Shadow.NMI);
  vmx.iretUnblocks = virtual ? Shadow.VIRTUAL_NMI : controls.hasPin(Pin.NMI_EXITING) ? 0 : Shadow.NMI;
  vmx.singleStep = controls.hasProc1(Proc1.MONITOR_TRAP_FLAG);
  vmx.trapPending = false;
  // The first PAUSE after an entry begins a loop.
  vmx.pauseLoop.last = -Infinity;
  loadTsc(vmx);
}

/** Injects the event that the VM-entry interruption-information field holds (SDM Vol. 3, "Event Injection"). */
function inject(vmx: Vmx, information: number): void {
  const { cpu, i32, region } = vmx;
  const { w } = cpu;
  const kind = (information >>> 8) & 7;
  const vector = information & 0xff;
  if (kind === OTHER_EVENT) {
    vmx.trapPending = true;
    return;
  }
  w[ACTIVITY] = Activity.ACTIVE;
  const software = kind >= EventKind.SOFTWARE_INTERRUPT;
  if (kind === EventKind.NMI) w[INTERRUPTIBILITY] = w[INTERRUPTIBILITY]! | (vmx.controls.hasPin(Pin.VIRTUAL_NMIS) ? Shadow.VIRTUAL_NMI : Shadow.NMI);
  const length = software ? i32[region + f.injectionLength]! & 0xff : 0;
  const hasError = (information & HAS_ERROR) !== 0;
  injectEvent(cpu, vector, kind as EventKind, hasError ? i32[region + f.injectionError]! : 0, hasError, length);
}

/** What makes this VMCS's next L2 known to the ledger. */
function note(vmx: Vmx): void {
  const context = vmx.ledger.at(vmx.regionAddress);
  vmx.context = context;
  context.launched = true;
  context.activeOn = vmx.cpu.index;
  context.entries++;
  context.lastEntryNs = recentNs(vmx.cpu.clock);
  context.root = vmx.space.root;
  context.tag = vmx.space.tag;
  context.clearedNs = -1;
}

/** Loads the guest's world; false: the entry failed, and the host's state was loaded in its place. */
function loadWorld(vmx: Vmx): boolean {
  const { cpu, mmu, i32, region, controls } = vmx;
  controls.load(i32, region);
  describeSpace(vmx);
  loadGuestState(vmx);
  if (!controls.hasProc2(Proc2.ENABLE_VPID)) mmu.invalidateTag(0);
  setRules(vmx);
  cpu.w[GUEST_MODE] = guestModeOf(controls);
  updateModeBits(cpu);
  vmx.lendFields();
  mmu.enterGuest(vmx.space);
  const pdptes = usesPdptes(cpu.w);
  if (pdptes && controls.usesEpt) loadPdptes(vmx);
  if (pdptes && !controls.usesEpt && !mmu.loadPdptes()) {
    failEntry(vmx, ExitReason.ENTRY_GUEST_STATE, PDPTES, true);
    return false;
  }
  if (machineCheckAtEntry(cpu)) {
    failEntry(vmx, ExitReason.ENTRY_MACHINE_CHECK, 0, true);
    return false;
  }
  const count = i32[region + f.loadCount]!;
  const bad = count === 0 ? 0 : loadMsrList(vmx, addressAt(i32, region + f.loadAddress), count >>> 0);
  if (bad !== 0) failEntry(vmx, ExitReason.ENTRY_MSR_LOADING, bad, true);
  return bad === 0;
}

/** Non-root operation again, after the state of a vCPU in it and its memory were loaded: what VM entry takes from the VMCS is taken anew. */
export function resumeGuest(vmx: Vmx): void {
  const { controls, i32, region, mmu, timer, cpu } = vmx;
  controls.load(i32, region);
  cpu.w[GUEST_MODE] = guestModeOf(controls);
  describeSpace(vmx);
  vmx.lendFields();
  mmu.enterGuest(vmx.space);
  setRules(vmx);
  note(vmx);
  if (controls.hasPin(Pin.ACTIVATE_PREEMPTION_TIMER)) timer.resume();
  vmx.apic.enter();
  vmx.deadline.enter();
}

/** VM entry after its checks have passed (SDM Vol. 3, "VM Entries"). Afterwards the vCPU is in non-root operation, or in the host's state after a failure. */
export function enterGuest(vmx: Vmx): void {
  const { cpu, i32, region, controls } = vmx;
  vmx.touch(region);
  vmx.exitRecord.clear();
  if (!loadWorld(vmx)) return;
  i32[region + VmcsHeader.LAUNCHED] = cpu.w[VmxWord.SESSION]!;
  endInstruction(cpu);
  vmx.counters.entries++;
  note(vmx);
  if (controls.hasPin(Pin.ACTIVATE_PREEMPTION_TIMER)) vmx.timer.start(i32[region + f.timer]!);
  vmx.apic.enter();
  vmx.deadline.enter();
  const information = i32[region + f.injection]!;
  if ((information & VALID) !== 0) inject(vmx, information);
}
