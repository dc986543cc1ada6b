import type { Instruction } from '@nestvm/decoder';
import { CLRSSBSY, INCSSP, RSTORSSP, SAVEPREVSSP, SETSSBSY, WRSS, WRUSS } from '../cet/instructions.js';
import { leaveSmm } from '../events/smm.js';
import { Outcome } from '../outcome.js';
import type { Vcpu } from '../vcpu.js';
import { INVLPGB, TLBSYNC } from './broadcast.js';
import { CLTS, LMSW, MOV_CR, SMSW } from './control.js';
import { CPUID } from './cpuid.js';
import { MOV_DR } from './debug-registers.js';
import { CALLF, JMPF, RETF } from './far.js';
import { CLAC, CLI, POPF, PUSHF, STAC, STI } from './flags.js';
import { RDPKRU, RDRAND, RDSEED, WRPKRU, XGETBV, XSETBV } from './identity.js';
import { INT, INT1, INT3, INTO, undefinedInstruction } from './interrupts.js';
import { INVD, INVLPG, INVPCID, WBINVD } from './invalidate.js';
import { IRET } from './iret.js';
import { IN, INS, OUT, OUTS } from './io.js';
import { RDMSRLIST, WRMSRLIST } from './msr-lists.js';
import { RDMSR_IMM, URDMSR, UWRMSR, WRMSRNS_IMM } from './msr-operands.js';
import { RDFSBASE, RDGSBASE, RDMSR, RDPID, RDPMC, RDPRU, RDTSC, RDTSCP, SWAPGS, WRFSBASE, WRGSBASE, WRMSR } from './registers.js';
import { ARPL, LAR, LDS, LES, LFS, LGS, LSL, LSS, MOV_SREG, POP_SREG, VERR, VERW } from './segment-loads.js';
import { FXRSTOR, FXSAVE, LDMXCSR, STMXCSR, XRSTOR, XRSTORS, XSAVE, XSAVEC, XSAVEOPT, XSAVES } from './state-save.js';
import { SYSCALL, SYSENTER, SYSEXIT, SYSRET } from './syscall.js';
import { LGDT, LIDT, LLDT, LTR, SGDT, SIDT, SLDT, STR } from './tables.js';
import { CLUI, SENDUIPI, STUI, TESTUI, UIRET } from './user-interrupts.js';
import { TPAUSE, UMONITOR, UMWAIT } from './user-wait.js';
import { CLZERO, HLT, MONITOR, MWAIT, MWAITX, PAUSE } from './wait.js';

/** Carries out one instruction in TypeScript: RIP is at the instruction. */
export type SystemInstruction = (cpu: Vcpu, insn: Readonly<Instruction>) => Outcome;

const nothing = (): Outcome => Outcome.NEXT;

/** The instructions that are plain TypeScript, by mnemonic. Those that need level 0 by their row are checked before they come here. */
export const SYSTEM_INSTRUCTIONS: Readonly<Record<string, SystemInstruction>> = {
  CLTS,
  LMSW,
  MOV_CR,
  SMSW,
  MOV_DR,
  CALLF,
  JMPF,
  RETF,
  CLAC,
  CLI,
  POPF,
  PUSHF,
  STAC,
  STI,
  CPUID,
  RDPID,
  RDPMC,
  RDPRU,
  RDRAND,
  RDSEED,
  RDTSC,
  RDTSCP,
  INT,
  INT1,
  INT3,
  INTO,
  UD0: undefinedInstruction,
  UD1: undefinedInstruction,
  UD2: undefinedInstruction,
  INVD,
  INVLPG,
  INVPCID,
  INVLPGB,
  TLBSYNC,
  WBINVD,
  WBNOINVD: WBINVD,
  IRET,
  RDFSBASE,
  RDGSBASE,
  RDMSR,
  RDPKRU,
  SWAPGS,
  WRFSBASE,
  WRGSBASE,
  WRMSR,
  WRPKRU,
  WRMSRNS: WRMSR,
  RDMSRLIST,
  WRMSRLIST,
  RDMSR_IMM,
  WRMSRNS_IMM,
  URDMSR,
  UWRMSR,
  XGETBV,
  XSETBV,
  IN,
  INS,
  OUT,
  OUTS,
  ARPL,
  LAR,
  LDS,
  LES,
  LFS,
  LGS,
  LSL,
  LSS,
  MOV_SREG,
  POP_SREG,
  VERR,
  VERW,
  FXRSTOR,
  FXSAVE,
  LDMXCSR,
  STMXCSR,
  VLDMXCSR: LDMXCSR,
  VSTMXCSR: STMXCSR,
  XRSTOR,
  XRSTORS,
  XSAVE,
  XSAVEC,
  XSAVEOPT,
  XSAVES,
  SYSCALL,
  SYSENTER,
  SYSEXIT,
  SYSRET,
  LGDT,
  LIDT,
  LLDT,
  LTR,
  SGDT,
  SIDT,
  SLDT,
  STR,
  HLT,
  MONITOR,
  MONITORX: MONITOR,
  MWAIT,
  MWAITX,
  PAUSE,
  TPAUSE,
  UMONITOR,
  UMWAIT,
  CLUI,
  SENDUIPI,
  STUI,
  TESTUI,
  UIRET,
  SERIALIZE: nothing,
  CLZERO,
  RSM: leaveSmm,
  CLRSSBSY,
  INCSSP,
  RSTORSSP,
  SAVEPREVSSP,
  SETSSBSY,
  WRSS,
  WRUSS,
};
