import { GPR, type Instruction, Outcome, updateMode } from '@nestvm/cpu/extension';
import { Proc2, VmFunction } from '../controls/controls.js';
import { F } from '../fields/layout.js';
import { addressAt } from '../state.js';
import { isEptPointerValid } from '../transitions/ept-pointer.js';
import { ExitReason } from '../transitions/reasons.js';
import { setEptPointer } from '../transitions/space.js';
import type { Vmx } from '../vmx.js';
import { exitWithoutOperand, inNonRoot } from './exits.js';
import { fail, InstructionError, isPrivileged, isUndefinedHere, protection, undefinedOpcode } from './results.js';

const f = { functions: F.VM_FUNCTION_CONTROLS, list: F.EPTP_LIST_ADDRESS, eptp: F.EPT_POINTER, index: F.EPTP_INDEX } as const;
const RAX = GPR;
const RCX = GPR + 2;
const EPTP_SWITCHING = 0;
const LIST_ENTRIES = 512;

/** Calls the hypervisor (SDM Vol. 3, VMCALL). */
export function VMCALL(vmx: Vmx, insn: Readonly<Instruction>): Outcome {
  const { cpu } = vmx;
  if (!vmx.on) return undefinedOpcode(cpu);
  if (inNonRoot(cpu)) return exitWithoutOperand(vmx, ExitReason.VMCALL, insn);
  if (isUndefinedHere(cpu)) return undefinedOpcode(cpu);
  return isPrivileged(cpu) ? fail(vmx, InstructionError.VMCALL_IN_ROOT) : protection(cpu);
}

/** EPTP switching; false: the list or its entry is no good, which is an exit. */
function switchEptPointer(vmx: Vmx): boolean {
  const { cpu, i32, region, memory, controls } = vmx;
  const index = cpu.w[RCX]! >>> 0;
  if (index >= LIST_ENTRIES) return false;
  const entry = addressAt(i32, region + f.list) + 8 * index;
  const lo = memory.read32(entry) | 0;
  const hi = memory.read32(entry + 4) | 0;
  if (!isEptPointerValid(vmx.capabilities, lo, hi)) return false;
  i32[region + f.eptp] = lo;
  i32[region + f.eptp + 1] = hi;
  if (controls.hasProc2(Proc2.EPT_VIOLATION_VE)) i32[region + f.index] = index;
  setEptPointer(vmx, lo, hi);
  vmx.mmu.enterGuest(vmx.space);
  updateMode(cpu);
  return true;
}

/** Invokes a VM function (SDM Vol. 3, VMFUNC). */
export function VMFUNC(vmx: Vmx, insn: Readonly<Instruction>): Outcome {
  const { cpu, controls, i32, region } = vmx;
  const number = cpu.w[RAX]! >>> 0;
  if (!vmx.on || !inNonRoot(cpu) || !controls.hasProc2(Proc2.ENABLE_VM_FUNCTIONS) || number >= 64) return undefinedOpcode(cpu);
  const enabled = number === EPTP_SWITCHING && (i32[region + f.functions]! & VmFunction.EPTP_SWITCHING) !== 0;
  return enabled && switchEptPointer(vmx) ? Outcome.NEXT : exitWithoutOperand(vmx, ExitReason.VMFUNC, insn);
}
