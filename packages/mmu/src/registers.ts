import { vcpuState } from '@nestvm/isa';

const word = (field: keyof typeof vcpuState.offset): number => vcpuState.offset[field] / 4;

// Where the registers that translation depends on lie in the vCPU state, in 32-bit words; of 64-bit ones the low half.
export const CR0 = word('cr0');
export const CR3 = word('cr3');
export const CR4 = word('cr4');
export const EFER = word('efer');
export const RFLAGS = word('rflags');
export const CPL = word('cpl');
export const PKRU = word('pkru');
export const PKRS = word('pkrs');
export const A20_MASK = word('a20Mask');
export const TLB_READ = word('tlbRead');
export const TLB_WRITE = word('tlbWrite');
export const TLB_EXEC = word('tlbExec');
export const WALK = word('walk');
export const BANK = word('bank');
