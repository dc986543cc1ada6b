import { deliverFault, GPR, type Instruction, XSS } from '@nestvm/cpu/extension';
import { type SensitiveEvent, Vector } from '@nestvm/isa';
import { Proc1, Proc2 } from '../controls/controls.js';
import { F } from '../fields/layout.js';
import { displacement, operandInformation } from '../instructions/operand.js';
import { endInstruction, exitForInstruction, exitQualified } from '../transitions/exit.js';
import { ExitReason } from '../transitions/reasons.js';
import type { Vmx } from '../vmx.js';
import { clts, controlRead, controlWrite, debugRegister, lmsw } from './control-registers.js';
import { portAccess, stringPortAccess } from './io.js';
import { msrListRead, msrListWrite, msrOperand, msrRead, msrWrite } from './msrs.js';
import { pause } from './pause.js';

/** What VMX does about a sensitive instruction in non-root operation; true: it is done (an exit, an exception, or the instruction itself). */
export type Answer = (vmx: Vmx, length: number, number: number, write: boolean, extra: number) => boolean;

const XSS_BITMAP = F.XSS_EXITING_BITMAP;
const RAX = GPR;
const RDX = GPR + 4;

const never: Answer = () => false;
const always =
  (reason: number): Answer =>
  (vmx, length) =>
    exitForInstruction(vmx, reason, length);
/** An exit under a primary control. */
const under =
  (control: number, reason: number): Answer =>
  (vmx, length) =>
    vmx.controls.hasProc1(control) && exitForInstruction(vmx, reason, length);
/** … under a secondary control. */
const underSecondary =
  (control: number, reason: number): Answer =>
  (vmx, length) =>
    vmx.controls.hasProc2(control) && exitForInstruction(vmx, reason, length);

/** Delivers #UD in place of an instruction that a control has not enabled. */
function undefinedHere(vmx: Vmx): true {
  const { cpu } = vmx;
  cpu.raise(Vector.UD);
  deliverFault(cpu);
  endInstruction(cpu);
  return true;
}

/** Instructions that do not exist until a secondary control enables them. */
const enabledBy =
  (control: number, then: Answer): Answer =>
  (vmx, length, number, write, extra) =>
    vmx.controls.hasProc2(control) ? then(vmx, length, number, write, extra) : undefinedHere(vmx);

const insnOf = (vmx: Vmx): Readonly<Instruction> => vmx.cpu.instruction!;

/** An exit with displacement and instruction information. */
function withOperand(vmx: Vmx, reason: number, length: number, information: number): true {
  const { cpu } = vmx;
  displacement(cpu, insnOf(vmx));
  vmx.exitRecord.information = information;
  return exitQualified(vmx, reason, length, cpu.lo, cpu.hi);
}

const OPERAND_32 = 1 << 11;

/** LGDT, LIDT, SGDT, SIDT: `identity` in bits 29:28. */
const tableRegister =
  (identity: number): Answer =>
  (vmx, length) => {
    if (!vmx.controls.hasProc2(Proc2.DESCRIPTOR_TABLE_EXITING)) return false;
    const insn = insnOf(vmx);
    const size = insn.operandSize === 16 ? 0 : OPERAND_32;
    return withOperand(vmx, ExitReason.GDTR_OR_IDTR, length, operandInformation(insn, 0) | size | (identity << 28));
  };

/** LLDT, LTR, SLDT, STR. */
const systemSelector =
  (identity: number): Answer =>
  (vmx, length) =>
    vmx.controls.hasProc2(Proc2.DESCRIPTOR_TABLE_EXITING) &&
    withOperand(vmx, ExitReason.LDTR_OR_TR, length, operandInformation(insnOf(vmx), 0) | (identity << 28));

/** RDRAND, RDSEED, TPAUSE, UMWAIT: destination register and operand size. */
function registerInformation(insn: Readonly<Instruction>): number {
  return (insn.rm << 3) | ((insn.operandSize >>> 5) << 11);
}

const random =
  (control: number, reason: number): Answer =>
  (vmx, length) => {
    if (!vmx.controls.hasProc2(control)) return false;
    vmx.exitRecord.information = registerInformation(insnOf(vmx));
    return exitForInstruction(vmx, reason, length);
  };

const invlpg: Answer = (vmx, length, lo, _write, hi) =>
  vmx.controls.hasProc1(Proc1.INVLPG_EXITING) && exitQualified(vmx, ExitReason.INVLPG, length, lo, hi);

const invpcid: Answer = (vmx, length) => {
  const insn = insnOf(vmx);
  return vmx.controls.hasProc1(Proc1.INVLPG_EXITING) && withOperand(vmx, ExitReason.INVPCID, length, operandInformation(insn, insn.reg));
};

const mwait: Answer = (vmx, length, _number, _write, armed) =>
  vmx.controls.hasProc1(Proc1.MWAIT_EXITING) && exitQualified(vmx, ExitReason.MWAIT, length, armed & 1);

/** XSAVES and XRSTORS: exit when a component that IA32_XSS has and the instruction asks for is in the XSS-exiting bitmap. */
const supervisorState =
  (reason: number): Answer =>
  (vmx, length) => {
    const { i32, region } = vmx;
    const { w } = vmx.cpu;
    const lo = i32[region + XSS_BITMAP]! & w[XSS]! & w[RAX]!;
    const hi = i32[region + XSS_BITMAP + 1]! & w[XSS + 1]! & w[RDX]!;
    return (lo | hi) !== 0 && withOperand(vmx, reason, length, operandInformation(insnOf(vmx), 0));
  };

const userWait =
  (reason: number): Answer =>
  (vmx, length) => {
    if (!vmx.controls.hasProc1(Proc1.RDTSC_EXITING)) return false;
    vmx.exitRecord.information = registerInformation(insnOf(vmx));
    return exitForInstruction(vmx, reason, length);
  };

/** What VMX does about each sensitive event of the instruction set. VMX's own instructions ask nobody: they know non-root operation themselves. */
export const answers: Readonly<Record<SensitiveEvent, Answer>> = {
  CPUID: always(ExitReason.CPUID),
  HLT: under(Proc1.HLT_EXITING, ExitReason.HLT),
  PAUSE: pause,
  RDTSC: under(Proc1.RDTSC_EXITING, ExitReason.RDTSC),
  RDTSCP: enabledBy(Proc2.ENABLE_RDTSCP, under(Proc1.RDTSC_EXITING, ExitReason.RDTSCP)),
  RDPMC: under(Proc1.RDPMC_EXITING, ExitReason.RDPMC),
  RDPRU: never,
  RDMSR: msrRead,
  WRMSR: msrWrite,
  RDMSRLIST: msrListRead,
  WRMSRLIST: msrListWrite,
  RDMSR_IMM: msrOperand(ExitReason.RDMSR_IMM, false),
  WRMSRNS_IMM: msrOperand(ExitReason.WRMSRNS_IMM, true),
  URDMSR: msrOperand(ExitReason.URDMSR, false),
  UWRMSR: msrOperand(ExitReason.UWRMSR, true),
  RDRAND: random(Proc2.RDRAND_EXITING, ExitReason.RDRAND),
  RDSEED: random(Proc2.RDSEED_EXITING, ExitReason.RDSEED),
  INVD: always(ExitReason.INVD),
  WBINVD: underSecondary(Proc2.WBINVD_EXITING, ExitReason.WBINVD),
  INVLPG: invlpg,
  INVLPGA: never,
  INVLPGB: never,
  INVLPGB_ILLEGAL: never,
  TLBSYNC: never,
  INVPCID: enabledBy(Proc2.ENABLE_INVPCID, invpcid),
  INVEPT: never,
  INVVPID: never,
  CR_READ: controlRead,
  CR_WRITE: controlWrite,
  DR_READ: debugRegister,
  DR_WRITE: debugRegister,
  CLTS: clts,
  SMSW: never,
  LMSW: lmsw,
  XSETBV: always(ExitReason.XSETBV),
  SGDT: tableRegister(0),
  SIDT: tableRegister(1),
  LGDT: tableRegister(2),
  LIDT: tableRegister(3),
  SLDT: systemSelector(0),
  STR: systemSelector(1),
  LLDT: systemSelector(2),
  LTR: systemSelector(3),
  IN: portAccess,
  OUT: portAccess,
  INS: stringPortAccess,
  OUTS: stringPortAccess,
  // Software interrupts are delivered; INT1, INT3 and INTO exit as the exceptions that they are.
  INT: never,
  INT1: never,
  INT3: never,
  INTO: never,
  PUSHF: never,
  POPF: never,
  IRET: never,
  RSM: never,
  TASK_SWITCH: never,
  MONITOR: under(Proc1.MONITOR_EXITING, ExitReason.MONITOR),
  MWAIT: mwait,
  TPAUSE: userWait(ExitReason.TPAUSE),
  UMWAIT: userWait(ExitReason.UMWAIT),
  XSAVES: enabledBy(Proc2.ENABLE_XSAVES, supervisorState(ExitReason.XSAVES)),
  XRSTORS: enabledBy(Proc2.ENABLE_XSAVES, supervisorState(ExitReason.XRSTORS)),
  GETSEC: always(ExitReason.GETSEC),
  // SGX, PCONFIG, ENQCMD and key locker are not there: #UD comes first.
  ENCLS: never,
  ENCLV: never,
  PCONFIG: never,
  ENQCMD: never,
  ENQCMDS: never,
  LOADIWKEY: never,
  VMCALL: never,
  VMCLEAR: never,
  VMFUNC: never,
  VMLAUNCH: never,
  VMRESUME: never,
  VMPTRLD: never,
  VMPTRST: never,
  VMREAD: never,
  VMWRITE: never,
  VMXOFF: never,
  VMXON: never,
  VMRUN: never,
  VMMCALL: never,
  VMLOAD: never,
  VMSAVE: never,
  STGI: never,
  CLGI: never,
  SKINIT: never,
};

/** See `Virtualization.intercept`. */
export function intercept(vmx: Vmx, event: SensitiveEvent, length: number, number: number, write: boolean, extra: number): boolean {
  return answers[event](vmx, length, number, write, extra);
}
