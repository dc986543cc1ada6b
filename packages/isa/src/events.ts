/**
 * Everything about a single instruction that a hypervisor can intercept: the union of the VMX exits (SDM Vol. 3, "VM Exits") and the SVM
 * instruction intercepts (APM Vol. 2, "Instruction Intercepts"). Where the two differ in grain the finer one is listed. CR and DR accesses and I/O carry
 * their register or port in the instruction.
 */
export const sensitiveEvents = [
  'CPUID', 'HLT', 'PAUSE', 'RDTSC', 'RDTSCP', 'RDPMC', 'RDPRU', 'RDMSR', 'WRMSR', 'RDRAND', 'RDSEED',
  'INVD', 'WBINVD', 'INVLPG', 'INVLPGA', 'INVLPGB', 'TLBSYNC', 'INVPCID', 'INVEPT', 'INVVPID',
  'CR_READ', 'CR_WRITE', 'DR_READ', 'DR_WRITE', 'CLTS', 'SMSW', 'LMSW', 'XSETBV',
  'SGDT', 'SIDT', 'LGDT', 'LIDT', 'SLDT', 'STR', 'LLDT', 'LTR',
  'IN', 'OUT', 'INS', 'OUTS',
  'INT', 'INT1', 'INT3', 'INTO', 'PUSHF', 'POPF', 'IRET', 'RSM', 'TASK_SWITCH',
  'MONITOR', 'MWAIT', 'TPAUSE', 'UMWAIT', 'XSAVES', 'XRSTORS', 'GETSEC', 'ENCLS', 'ENCLV', 'PCONFIG', 'ENQCMD', 'ENQCMDS', 'LOADIWKEY',
  'VMCALL', 'VMCLEAR', 'VMFUNC', 'VMLAUNCH', 'VMRESUME', 'VMPTRLD', 'VMPTRST', 'VMREAD', 'VMWRITE', 'VMXOFF', 'VMXON',
  'VMRUN', 'VMMCALL', 'VMLOAD', 'VMSAVE', 'STGI', 'CLGI', 'SKINIT',
] as const;

/** The name of an event that a hypervisor can intercept. */
export type SensitiveEvent = (typeof sensitiveEvents)[number];
