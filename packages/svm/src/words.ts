import { vcpuState } from '@nestvm/isa';
import { svmState } from './state.js';

const own = (field: keyof typeof svmState.offset): number => (vcpuState.offset.extension + svmState.offset[field]) >>> 2;

// Indices of the extension's own fields in the 32-bit view of the vCPU state; HOST_SELECTOR is one in the 16-bit view.
export const HOST_SELECTOR = (vcpuState.offset.extension + svmState.offset.hostSelector) >>> 1;
export const HOST_ATTRIBUTES = own('hostAttributes');
export const HOST_LIMIT = own('hostLimit');
export const HOST_BASE = own('hostBase');
export const HOST_GDTR_BASE = own('hostGdtrBase');
export const HOST_GDTR_LIMIT = own('hostGdtrLimit');
export const HOST_IDTR_BASE = own('hostIdtrBase');
export const HOST_IDTR_LIMIT = own('hostIdtrLimit');
export const HOST_EFER = own('hostEfer');
export const HOST_CR0 = own('hostCr0');
export const HOST_CR3 = own('hostCr3');
export const HOST_CR4 = own('hostCr4');
export const HOST_RFLAGS = own('hostRflags');
export const HOST_RIP = own('hostRip');
export const HOST_RSP = own('hostRsp');
export const HOST_RAX = own('hostRax');
export const HOST_PAT = own('hostPat');
export const HOST_DEBUG_CTL = own('hostDebugCtl');
export const HOST_LAST_BRANCH = own('hostLastBranch');
export const HOST_CET = own('hostCet');
export const VMCB_ADDRESS = own('vmcbAddress');
export const HSAVE = own('hsave');
export const VM_CR = own('vmCr');
export const SVM_KEY = own('svmKey');
export const TSC_RATIO = own('tscRatio');
export const PAUSE_COUNT = own('pauseCount');
export const LAST_PAUSE = own('lastPause');
export const SMM_GUEST = own('smmGuest');
