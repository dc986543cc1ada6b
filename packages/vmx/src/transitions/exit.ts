import type { Vcpu } from '@nestvm/cpu';
import { ACTIVITY, Activity, GUEST_MODE, recentNs, updateModeBits } from '@nestvm/cpu/extension';
import { Proc2 } from '../controls/controls.js';
import { F, VmcsHeader } from '../fields/layout.js';
import { addressAt } from '../state.js';
import type { Vmx } from '../vmx.js';
import { saveGuestState, usesPdptes } from './guest-state.js';
import { loadHostState } from './host-state.js';
import { loadMsrList, storeMsrList } from './msr-lists.js';
import { ENTRY_FAILURE, EXIT_REASONS, ExitReason } from './reasons.js';

const f = {
  reason: F.EXIT_REASON,
  qualification: F.EXIT_QUALIFICATION,
  linear: F.GUEST_LINEAR_ADDRESS,
  physical: F.GUEST_PHYSICAL_ADDRESS,
  interruption: F.EXIT_INTERRUPTION_INFORMATION,
  error: F.EXIT_INTERRUPTION_ERROR_CODE,
  vectoring: F.IDT_VECTORING_INFORMATION,
  vectoringError: F.IDT_VECTORING_ERROR_CODE,
  length: F.EXIT_INSTRUCTION_LENGTH,
  information: F.EXIT_INSTRUCTION_INFORMATION,
  injection: F.ENTRY_INTERRUPTION_INFORMATION,
  storeAddress: F.EXIT_MSR_STORE_ADDRESS,
  storeCount: F.EXIT_MSR_STORE_COUNT,
  loadAddress: F.EXIT_MSR_LOAD_ADDRESS,
  loadCount: F.EXIT_MSR_LOAD_COUNT,
  pmlIndex: F.PML_INDEX,
} as const;

const VALID = 1 << 31;
const HAS_ERROR = 1 << 11;
/** VMX-abort indicators (SDM Vol. 3, "VMX Aborts"). */
const Abort = { SAVING_MSRS: 1, HOST_PDPTES: 2, LOADING_MSRS: 4 } as const;

/** Clears what belongs to the instruction or event on whose behalf the world was changed. */
export function endInstruction(cpu: Vcpu): void {
  cpu.trapFlag = 0;
  cpu.freshShadow = 1;
  cpu.freshResume = 1;
  cpu.vectoring = 0;
  cpu.nmiUnblocked = 0;
  cpu.attention = 1;
}

/** Writes what the exit record and the vCPU know to the exit-information fields (SDM Vol. 3, "Recording VM-Exit Information"). */
function recordExit(vmx: Vmx, reason: number): void {
  const { i32, region, exitRecord: record, cpu } = vmx;
  i32[region + f.reason] = reason;
  i32[region + f.qualification] = record.qualificationLo;
  i32[region + f.qualification + 1] = record.qualificationHi;
  i32[region + f.linear] = record.linearLo;
  i32[region + f.linear + 1] = record.linearHi;
  if (record.physical >= 0) {
    i32[region + f.physical] = record.physical | 0;
    i32[region + f.physical + 1] = (record.physical / 4294967296) | 0;
  }
  i32[region + f.interruption] = record.interruption;
  if ((record.interruption & HAS_ERROR) !== 0) i32[region + f.error] = record.errorCode;
  const { vectoring } = cpu;
  i32[region + f.vectoring] = vectoring;
  if ((vectoring & HAS_ERROR) !== 0) i32[region + f.vectoringError] = cpu.vectoringError;
  i32[region + f.length] = vectoring !== 0 && record.length === 0 ? cpu.vectoringLength : record.length;
  i32[region + f.information] = record.information;
}

/** A VMX abort: the host's state cannot be had. The processor shuts down, with the cause in the VMCS region. */
function abort(vmx: Vmx, cause: number): void {
  const { cpu, i32, region } = vmx;
  i32[region + VmcsHeader.ABORT] = cause;
  cpu.w[ACTIVITY] = Activity.SHUTDOWN;
  cpu.onPlatformEvent('shutdown');
}

/** Puts the host's world in force: state, MMU, MSRs. */
function enterHost(vmx: Vmx, nmi: boolean): void {
  const { cpu, mmu, i32, region } = vmx;
  vmx.lendFields();
  loadHostState(vmx, nmi);
  // Without VPIDs an exit forgets VPID 0. The entry has done so for the host, and the next entry does for the guest before it runs: nothing can tell.
  updateModeBits(cpu);
  if (mmu.inGuest) mmu.leaveGuest();
  else mmu.setContext();
  endInstruction(cpu);
  const paged = !usesPdptes(cpu.w) || mmu.loadPdptes();
  if (!paged) return abort(vmx, Abort.HOST_PDPTES);
  const count = i32[region + f.loadCount]!;
  if (count !== 0 && loadMsrList(vmx, addressAt(i32, region + f.loadAddress), count >>> 0) !== 0) abort(vmx, Abort.LOADING_MSRS);
}

/** The VM exit: `cause` is a basic exit reason, the exit record has been filled in by the caller. Afterwards the vCPU is in root operation, in the host's state. */
export function exitGuest(vmx: Vmx, cause: number): void {
  // A write to the virtual APIC just before has not been emulated yet: its exit comes first.
  const reason = vmx.apic.settle(cause);
  const { cpu, i32, region, exitRecord, controls, counters } = vmx;
  vmx.touch(region);
  recordExit(vmx, reason);
  saveGuestState(vmx);
  if (controls.hasProc2(Proc2.ENABLE_PML)) i32[region + f.pmlIndex] = vmx.space.pmlIndex & 0xffff;
  i32[region + f.injection] = i32[region + f.injection]! & ~VALID;
  exitRecord.clear();
  vmx.timer.stop();
  vmx.deadline.leave();
  vmx.apic.leave();
  vmx.refusedOffset = -1;
  vmx.singleStep = false;
  vmx.trapPending = false;
  counters.exits[reason < EXIT_REASONS ? reason : EXIT_REASONS - 1]!++;
  noteExit(vmx, reason);
  const stores = i32[region + f.storeCount]!;
  const stored = stores === 0 || storeMsrList(vmx, addressAt(i32, region + f.storeAddress), stores >>> 0) === 0;
  cpu.w[GUEST_MODE] = 0;
  if (!stored) return abort(vmx, Abort.SAVING_MSRS);
  enterHost(vmx, reason === ExitReason.EXCEPTION_OR_NMI && isNmi(i32[region + f.interruption]!));
}

const isNmi = (interruption: number): boolean => (interruption & 0x700) === 0x200;

function noteExit(vmx: Vmx, reason: number): void {
  const { context } = vmx;
  if (context === null) return;
  context.lastExitNs = recentNs(vmx.cpu.clock);
  context.lastExitReason = reason;
}

/**
 * VM entry failed while or after guest state was checked or loaded (SDM Vol. 3, "VM-Entry Failures During or After Loading Guest State"): an exit that saves
 * nothing. `reason` is 33, 34 or 41.
 */
export function failEntry(vmx: Vmx, reason: number, qualification: number, entered: boolean): void {
  const { cpu, i32, region, counters } = vmx;
  vmx.touch(region);
  i32[region + f.reason] = reason | ENTRY_FAILURE;
  i32[region + f.qualification] = qualification;
  i32[region + f.qualification + 1] = 0;
  counters.failedEntries++;
  counters.exits[reason]!++;
  vmx.timer.stop();
  vmx.deadline.leave();
  cpu.w[GUEST_MODE] = 0;
  vmx.singleStep = false;
  vmx.trapPending = false;
  if (!entered) vmx.controls.load(i32, region);
  enterHost(vmx, false);
  vmx.onFailedEntry?.(cpu);
}

/** The exit for an instruction of `length` bytes: RIP stays at it. */
export function exitForInstruction(vmx: Vmx, reason: number, length: number): true {
  vmx.exitRecord.length = length;
  vmx.exitRecord.resumeFlag = 'clear';
  exitGuest(vmx, reason);
  return true;
}

/** … with a qualification. */
export function exitQualified(vmx: Vmx, reason: number, length: number, lo: number, hi = 0): true {
  vmx.exitRecord.qualify(lo, hi);
  return exitForInstruction(vmx, reason, length);
}
