import { FAULT_VECTOR, GPR } from '@nestvm/cpu/extension';
import { Vector } from '@nestvm/isa';
import { fieldNamed, fieldOrdinal, fields, VmcsHeader } from '../fields/layout.js';
import { addressAt, VmxWord } from '../state.js';
import type { Vmx } from '../vmx.js';
import { faultReasons } from './instruction-faults.js';

/** What a VM-instruction error means (SDM Vol. 3, "VM Instruction Error Numbers"), and what usually causes it. */
interface ErrorRow {
  readonly text: string;
  readonly hint?: string;
  /** The values behind it, found right after the failure. */
  readonly say?: (vmx: Vmx) => string;
}

const hex = (value: number, digits = 8): string => value.toString(16).padStart(digits, '0');

/** The 64-bit pointer that VMXON, VMPTRLD and VMCLEAR have just read. */
const operand = ({ cpu }: Vmx): number => (cpu.hi >>> 0) * 4294967296 + (cpu.lo >>> 0);

function badAddress(vmx: Vmx): string {
  const { capabilities, cpu } = vmx;
  const address = `the pointer is ${hex(cpu.hi >>> 0)}_${hex(cpu.lo >>> 0)}h`;
  if ((cpu.lo & 0xfff) !== 0) return `${address}: bits 11:0 must be 0`;
  return `${address}: it has bits beyond the ${capabilities.physicalBits} of physical addresses (CPUID 8000_0008H EAX[7:0])`;
}

const isVmxonRegion = (vmx: Vmx): string => `${hex(addressAt(vmx.cpu.w, VmxWord.VMXON_POINTER))}h is the VMXON region of this processor`;

function badRevision(vmx: Vmx): string {
  const { memory, capabilities } = vmx;
  const address = operand(vmx);
  if (memory.arenaOffsetOf(address) < 0) return `there is no memory at ${hex(address)}h`;
  return `the region at ${hex(address)}h begins with ${hex(memory.read32(address))}h; IA32_VMX_BASIC[30:0] is ${hex(capabilities.revision)}h`;
}

/** The field that VMREAD or VMWRITE has asked for. */
function badField({ cpu, capabilities }: Vmx): string {
  const at = GPR + 2 * cpu.instruction!.reg;
  const encoding = cpu.w[at]!;
  const ordinal = cpu.w[at + 1] === 0 ? fieldOrdinal(encoding) : -1;
  if (ordinal < 0) return `${hex(encoding >>> 0, 4)}h is the encoding of no field`;
  const field = fields[ordinal]!;
  if (capabilities.fieldExists[ordinal] === 1) return `${hex(encoding, 4)}h is the ${field.title}`;
  return `${hex(encoding, 4)}h is the ${field.title}, which comes with “${field.needs}”: this CPU model does not offer that`;
}

function badInvalidation({ cpu }: Vmx): string {
  const { w, instruction } = cpu;
  const at = GPR + 2 * instruction!.reg;
  return `the type is ${hex(w[at + 1]! >>> 0)}_${hex(w[at]! >>> 0)}h; the descriptor or its type is not one that IA32_VMX_EPT_VPID_CAP has`;
}

const launchState = (vmx: Vmx): string =>
  `the VMCS at ${hex(vmx.regionAddress)}h has the launch state “${vmx.i32[vmx.region + VmcsHeader.LAUNCHED] === 0 ? 'clear' : 'launched'}”`;

/** Every VM-instruction error that there is, by number. */
export const instructionErrors: Readonly<Record<number, ErrorRow>> = {
  1: { text: 'VMCALL executed in VMX root operation', hint: 'VMCALL calls a hypervisor from its guest; root operation has nobody to call' },
  2: {
    text: 'VMCLEAR with invalid physical address',
    say: badAddress,
    hint: 'the operand is a location in memory that holds the physical address, not the region itself',
  },
  3: { text: 'VMCLEAR with VMXON pointer', say: isVmxonRegion, hint: 'VMXON region and VMCSs are different pages' },
  4: { text: 'VMLAUNCH with non-clear VMCS', say: launchState, hint: 'after the first entry use VMRESUME, or VMCLEAR first' },
  5: { text: 'VMRESUME with non-launched VMCS', say: launchState, hint: 'the first entry after VMCLEAR (also on another processor) is VMLAUNCH' },
  6: { text: 'VMRESUME after VMXOFF (VMXOFF and VMXON between VMLAUNCH and VMRESUME)', say: launchState, hint: 'VMCLEAR every VMCS before VMXOFF' },
  7: { text: 'VM entry with invalid control field(s)' },
  8: { text: 'VM entry with invalid host-state field(s)' },
  9: {
    text: 'VMPTRLD with invalid physical address',
    say: badAddress,
    hint: 'the operand is a location in memory that holds the physical address, not the region itself',
  },
  10: { text: 'VMPTRLD with VMXON pointer', say: isVmxonRegion, hint: 'VMXON region and VMCSs are different pages' },
  11: {
    text: 'VMPTRLD with incorrect VMCS revision identifier',
    say: badRevision,
    hint: 'write IA32_VMX_BASIC[30:0] into the first four bytes of the region before VMPTRLD',
  },
  12: {
    text: 'VMREAD or VMWRITE from or to unsupported VMCS component',
    say: badField,
    hint: 'the encoding goes into the register operand: VMREAD r/m, reg and VMWRITE reg, r/m have it at different places',
  },
  13: { text: 'VMWRITE to read-only VMCS component', say: badField, hint: 'exit-information fields can be written only when IA32_VMX_MISC[29] is 1' },
  15: { text: 'VMXON executed in VMX root operation', hint: 'VMX operation is on already: execute VMXON once on each processor' },
  16: { text: 'VM entry with invalid executive-VMCS pointer' },
  17: { text: 'VM entry with non-launched executive VMCS' },
  18: { text: 'VM entry with executive-VMCS pointer not VMXON pointer' },
  19: { text: 'VMCALL with non-clear VMCS (when attempting to deactivate the dual-monitor treatment)' },
  20: { text: 'VMCALL with invalid VM-exit control fields' },
  22: { text: 'VMCALL with incorrect MSEG revision identifier' },
  23: { text: 'VMXOFF under dual-monitor treatment of SMIs and SMM' },
  24: { text: 'VMCALL with invalid SMM-monitor features' },
  25: { text: 'VM entry with invalid VM-execution control fields in executive VMCS' },
  26: { text: 'VM entry with events blocked by MOV SS', hint: 'MOV SS or POP SS must not come right before VMLAUNCH or VMRESUME' },
  28: {
    text: 'invalid operand to INVEPT or INVVPID',
    say: badInvalidation,
    hint: 'INVEPT wants an EPTP that VM entry would take; INVVPID a VPID that is not 0, and zeros in bits 63:16',
  },
};

/** Why an instruction that wants a current VMCS, or a VMXON region, has set CF. */
function whyInvalid(vmx: Vmx): readonly string[] {
  const { cpu, memory, capabilities } = vmx;
  const name = cpu.instruction!.row.mnemonic;
  if (name !== 'VMXON' || vmx.on)
    return vmx.region < 0
      ? ['  there is no current VMCS on this processor', '  hint: VMCLEAR a region, then VMPTRLD it']
      : ['  the current VMCS is a shadow VMCS (bit 31 of its first word is 1), which cannot be entered'];
  const address = operand(vmx);
  if ((cpu.lo & 0xfff) !== 0 || (cpu.hi & capabilities.reservedPhysicalHi) !== 0) return [`  ${badAddress(vmx)}`];
  return [
    `  the region at ${hex(address)}h begins with ${hex(memory.read32(address))}h; IA32_VMX_BASIC[30:0] is ${hex(capabilities.revision)}h`,
    '  hint: write the revision into the first four bytes of the VMXON region, with bit 31 clear',
  ];
}

/** What came of a VMX instruction that was refused: 0 is VMfailInvalid, -1 a fault (its vector is in the state), else the number of a VMfailValid. */
export function explainInstruction(vmx: Vmx, error: number): readonly string[] {
  const { cpu } = vmx;
  const insn = cpu.instruction!;
  const what = `vmx: ${insn.row.mnemonic} at ${hex(Number(cpu.rip))}h`;
  if (error < 0) {
    const vector = cpu.w[FAULT_VECTOR] === Vector.UD ? '#UD' : '#GP(0)';
    return [`${what}: ${vector}`, ...faultReasons(vmx).map((reason) => `  ${reason}`)];
  }
  if (error === 0) return [`${what}: VMfailInvalid`, ...whyInvalid(vmx)];
  const row = instructionErrors[error];
  const lines = [
    `${what}: VM-instruction error ${error}: ${row?.text ?? 'unknown'} (${fieldNamed('INSTRUCTION_ERROR').title} [${hex(F_ERROR, 4)}h])`,
  ];

  if (row?.say !== undefined) lines.push(`  ${row.say(vmx)}`);
  if (row?.hint !== undefined) lines.push(`  hint: ${row.hint}`);
  return lines;
}

const F_ERROR = fieldNamed('INSTRUCTION_ERROR').encoding;
