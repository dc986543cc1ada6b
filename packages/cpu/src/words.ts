/**
 * Indices of the vCPU state's fields in its own 32-bit view (`cpu.w`), 64-bit view (`cpu.q`), 16-bit view (`cpu.h`) and byte view (`cpu.b`).
 * They are separate constants, not a table, so that hot paths compile to constant offsets. A 64-bit field has its low half at X and its high half at X + 1.
 */
import { vcpuState } from '@nestvm/isa';

const offset = vcpuState.offset;

/** Name of a field of the vCPU state. */
export type StateField = keyof typeof offset;

/** Index of a field in the 32-bit view. */
export const word = (field: StateField): number => offset[field] >>> 2;
/** Index of a field in the 64-bit view. */
export const quad = (field: StateField): number => offset[field] >>> 3;

export const GPR = word('gpr');
export const RIP = word('rip');
export const FLAG_RESULT = word('flagResult');
export const FLAG_AUX = word('flagAux');
export const RFLAGS = word('rflags');
export const MODE = word('mode');
export const CPL = word('cpl');
export const TLB_READ = word('tlbRead');
export const TLB_WRITE = word('tlbWrite');
export const FAULT_VECTOR = word('faultVector');
export const FAULT_ERROR = word('faultError');
export const FAULT_HAS_ERROR = word('faultHasError');
export const SLOW_ADDRESS = word('slowAddress');
export const DEVICE_PAGE = word('devicePage');
export const INTERRUPTIBILITY = word('interruptibility');
export const ACTIVITY = word('activity');
export const GUEST_MODE = word('guestMode');
export const PENDING_DEBUG = word('pendingDebug');
export const PENDING_EVENTS = word('pendingEvents');
/** In the 16-bit view. */
export const SEG_SELECTOR = offset.segSelector >>> 1;
export const SEG_ATTRIBUTES = word('segAttributes');
export const SEG_LIMIT = word('segLimit');
/** Two words for each segment. */
export const SEG_BASE = word('segBase');
export const GDTR_BASE = word('gdtrBase');
export const GDTR_LIMIT = word('gdtrLimit');
export const IDTR_BASE = word('idtrBase');
export const IDTR_LIMIT = word('idtrLimit');
export const CR0 = word('cr0');
export const CR2 = word('cr2');
export const CR3 = word('cr3');
export const CR4 = word('cr4');
export const CR8 = word('cr8');
export const XCR0 = word('xcr0');
export const XSS = word('xss');
export const DR = word('dr');
export const DEBUG_CTL = word('debugCtl');
/** Source and target of the last branch, then those of the last one before an interrupt: two words each. */
export const LAST_BRANCH = word('lbrFrom');
export const LAST_INTERRUPT = word('lastIntFrom');
export const EFER = word('efer');
export const PKRU = word('pkru');
export const PKRS = word('pkrs');
export const USER_MSR_CONTROL = word('userMsrControl');
export const MXCSR = word('mxcsr');
export const STAR = word('star');
export const LSTAR = word('lstar');
export const CSTAR = word('cstar');
export const FMASK = word('fmask');
export const KERNEL_GS_BASE = word('kernelGsBase');
export const TSC_AUX = word('tscAux');
/** Instructions for which the time-stamp counter goes with them; 0: it must be read. */
export const TIME_SPAN = word('timeSpan');
export const TSC_OFFSET = word('tscOffset');
export const SMM = word('smm');
/** CET: controls of user and supervisor mode, the shadow-stack pointer, those of other levels (two words each), the table for interrupts. */
export const U_CET = word('uCet');
export const S_CET = word('sCet');
export const SSP = word('ssp');
export const PL_SSP = word('plSsp');
export const INTERRUPT_SSP_TABLE = word('interruptSspTable');
export const UINTR_HANDLER = word('uintrHandler');
export const UINTR_STACK_ADJUST = word('uintrStackAdjust');
/** Size of the target table; the notification vector is in the next word. */
export const UINTR_MISC = word('uintrMisc');
export const UINTR_DESCRIPTOR = word('uintrDescriptor');
export const UINTR_REQUESTS = word('uintrRequests');
export const UINTR_TARGETS = word('uintrTargets');
export const UIF = word('uif');
/** MPX: four words for each bound register; BNDCFGU, BNDSTATUS, IA32_BNDCFGS. */
export const BOUNDS = word('bounds');
export const BND_CFG_U = word('bndCfgU');
export const BND_STATUS = word('bndStatus');
export const BND_CFG_S = word('bndCfgS');
