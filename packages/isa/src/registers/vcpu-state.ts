import { array, bytes, derived, struct, u8, u16, u32, u64 } from '@nestvm/state';

/** Indices of general-purpose registers in `gpr`, as ModRM and REX number them. */
export const Gpr = {
  RAX: 0,
  RCX: 1,
  RDX: 2,
  RBX: 3,
  RSP: 4,
  RBP: 5,
  RSI: 6,
  RDI: 7,
  R8: 8,
  R9: 9,
  R10: 10,
  R11: 11,
  R12: 12,
  R13: 13,
  R14: 14,
  R15: 15,
} as const;

/** Segment registers as the instruction formats number them; LDTR and TR follow. */
export const Segment = { ES: 0, CS: 1, SS: 2, DS: 3, FS: 4, GS: 5, LDTR: 6, TR: 7 } as const;

/**
 * The registers of one vCPU in linear memory. Everything that runs guest code (interpreter, JIT, system
 * instructions, VMX and SVM transitions) works on this one struct; the base address is per vCPU.
 */
export const vcpuState = struct('vcpu', 3, {
  /** RAX … R15. A byte register is a byte offset: AL is 0, AH is 1, SPL is 32. */
  gpr: array(u64, 16),
  /** Always zero: the base or index that an address lacks. */
  zero: derived(u64),
  /** Linear-address offset (RIP) of the first byte of the running block; valid while a block runs. */
  blockRip: derived(u64),
  /** RIP; up to date whenever no block is running. */
  rip: u64,
  /** Last result, sign-extended to 64 bits: ZF = (flagResult == 0); SF and PF see flagAux. */
  flagResult: u64,
  /**
   * The other half of the lazy arithmetic flags: bit 31 CF; bit 30 CF^OF ("carry into the top bit"); bit 3 AF;
   * bit 0 is XORed into SF (bit 63 of flagResult); bits 15:8 are XORed into the low byte of flagResult before PF's parity is taken.
   */
  flagAux: u32,
  /** RFLAGS without CF PF AF ZF SF OF (those are in flagResult/flagAux), bit 1 set. DF, IF, TF, IOPL … live here. */
  rflags: u32,

  /** Derived facts about the mode: see `Mode` (bits). Recomputed by `updateMode`. */
  mode: derived(u32),
  /** Current privilege level, 0 … 3 (3 in virtual-8086 mode, 0 in real mode). */
  cpl: u32,
  /** Base addresses (byte offsets in linear memory) of the TLB tables in force. */
  tlbRead: derived(u32),
  tlbWrite: derived(u32),
  tlbExec: derived(u32),
  /** The TLB bank in force (`tlbBank` in @nestvm/mmu), from which generated code finds those of other privilege. */
  bank: derived(u32),
  /** Where generated code finds what it must know to walk page tables by itself (`plainWalk` in @nestvm/mmu); 0 while it must not. */
  walk: derived(u32),
  /** Instructions left before the engine must return to its caller; negative means: leave at the next block end. */
  budget: derived(u32),
  /** The time-stamp counter as software saw it when `budget` (at the very instruction) was `timeBudget`. It goes on by `timeRate` with each instruction, for `timeSpan` of them. */
  timeBase: derived(u64),
  timeBudget: derived(u32),
  timeSpan: derived(u32),
  timeRate: derived(u32),
  /** Why the engine returned: see `ExitReason` in @nestvm/cpu. */
  exitReason: derived(u32),
  /** Record of the instruction that left the block (byte offset), for exact RIP and count. */
  exitRecord: derived(u32),
  /** The pending fault: vector, error code, and whether it has one; written by the slow paths, read by delivery. */
  faultVector: derived(u32),
  faultError: derived(u32),
  faultHasError: derived(u32),
  /** Linear address argument of slow paths (and CR2 of a page fault). */
  slowAddress: derived(u64),
  /** Linear page of the last slow path that led to a device: one that likely does so again. */
  devicePage: derived(u64),
  /** Data argument and result of slow paths; also the scratch that split or device accesses go through. */
  scratch: derived(bytes(64)),
  /** Bit 0: blocked by STI; bit 1: blocked by MOV SS/POP SS; bit 2: by NMI; bit 3: by SMI. */
  interruptibility: u32,
  /** 0 active, 1 HLT, 2 shutdown, 3 wait-for-SIPI, 4 MWAIT. */
  activity: u32,
  /** Nonzero in guest mode (VMX non-root or SVM guest): sensitive events ask the virtualization port first. Bits: `GuestMode`. */
  guestMode: u32,
  /** Not 0 while an interrupt, or what a hypervisor wants to do then, waits for RFLAGS.IF. */
  interruptHeld: derived(u32),
  /** Not 0 when STGI would have an event to deliver; meaningful while GIF is clear. */
  eventHeld: derived(u32),
  /** Not 0 while somebody wants to hear of every change of privilege (performance counters that tell levels apart). */
  privilegeWatched: derived(u32),
  /** Not 0 while somebody wants to hear of every interrupt and exception. */
  deliveryWatched: derived(u32),
  /** Arena offset of the VMCS that VMREAD reads (in guest mode a shadow VMCS), 0 for none; of the one that VMWRITE may write without telling anybody; and of their `VmcsTable`. */
  vmcsRead: derived(u32),
  vmcsWrite: derived(u32),
  /** Arena offsets of the bitmaps of the fields that VMREAD and VMWRITE of guest mode must not touch; 0 where nothing restricts them. */
  vmcsReadBitmap: derived(u32),
  vmcsWriteBitmap: derived(u32),
  vmcsFields: derived(u32),
  /** Arena offset of the vCPU's `MsrTable`, 0 for none; and of the hypervisor's bitmap of guest mode, 0 when every access is to be asked about. */
  msrTable: derived(u32),
  msrBitmap: derived(u32),
  /** Instructions retired before the current run of the engine. */
  retired: u64,

  segSelector: array(u16, 8),
  /** Access rights in the VMX format (SDM Vol. 3, "Guest Register State"): type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15, unusable 16. */
  segAttributes: array(u32, 8),
  /** Byte-granular limits. */
  segLimit: array(u32, 8),
  segBase: array(u64, 8),
  gdtrBase: u64,
  idtrBase: u64,
  gdtrLimit: u32,
  idtrLimit: u32,

  cr0: u64,
  cr2: u64,
  cr3: u64,
  cr4: u64,
  cr8: u64,
  xcr0: u64,
  dr: array(u64, 8),
  efer: u64,
  pkru: u32,
  mxcsr: u32,

  /** x87: physical registers R0-R7, 16 bytes each: significand at +0 (8 bytes), sign and exponent at +8 (2 bytes). MMi is the significand of Ri. */
  fpr: bytes(128),
  /** Control word, status word without TOP, TOP apart, and the abridged tag word (bit i set: Ri not empty). */
  fcw: u32,
  fsw: u32,
  ftop: u32,
  ftag: u32,
  fop: u32,
  fcs: u32,
  fds: u32,
  fip: u64,
  fdp: u64,
  /** Vector registers, 64 bytes each: XMMi is the low 16 bytes of slot i, YMMi the low 32. */
  vec: bytes(32 * 64),
  /** Opmask registers. */
  opmask: array(u64, 8),

  // Model-specific registers with a fixed home; the rest are in the MSR registry of @nestvm/cpu.
  apicBase: u64,
  sysenterCs: u64,
  sysenterEsp: u64,
  sysenterEip: u64,
  star: u64,
  lstar: u64,
  cstar: u64,
  fmask: u64,
  kernelGsBase: u64,
  tscAux: u64,
  tscOffset: u64,
  tscAdjust: u64,
  tscDeadline: u64,
  pat: u64,
  mtrrDefType: u64,
  mtrrFixed: array(u64, 11),
  mtrrVariable: array(u64, 32),
  miscEnable: u64,
  specCtrl: u64,
  xss: u64,
  pkrs: u64,
  debugCtl: u64,
  lbrFrom: u64,
  lbrTo: u64,
  lastIntFrom: u64,
  lastIntTo: u64,
  uCet: u64,
  sCet: u64,
  plSsp: array(u64, 4),
  interruptSspTable: u64,
  ssp: u64,
  smbase: u64,
  featureControl: u64,
  mcgStatus: u64,
  microcodeRevision: u64,
  syscfg: u64,
  hwcr: u64,
  virtSpecCtrl: u64,
  patchLevel: u64,
  /** 1 while in system-management mode. */
  smm: u32,
  a20Mask: u32,
  /** Armed MONITOR range: 1 when armed, and its physical line. */
  monitorArmed: u32,
  monitorAddress: u64,
  /** Guest time in ns at which UMWAIT or TPAUSE ends. */
  waitDeadline: u64,
  /** Performance counters: six general and three fixed ones, the event selects of the general ones, and Intel's controls. */
  pmcCount: array(u64, 9),
  pmcSelect: array(u64, 6),
  pmcFixedControl: u64,
  pmcGlobalControl: u64,
  pmcGlobalStatus: u64,
  /** User interrupts: handler, stack adjustment, size of the target table with the notification vector in its high half, descriptor, requests, target table. */
  uintrHandler: u64,
  uintrStackAdjust: u64,
  uintrMisc: u64,
  uintrDescriptor: u64,
  uintrRequests: u64,
  uintrTargets: u64,
  /** UIF: user interrupts are not blocked. */
  uif: u32,
  /** MPX: lower bound and upper bound (the complement of it) of BND0-BND3; BNDCFGU and BNDSTATUS; IA32_BNDCFGS. */
  bounds: array(u64, 8),
  bndCfgU: u64,
  bndStatus: u64,
  bndCfgS: u64,
  /** IA32_USER_MSR_CTL: where the bitmap of the MSRs is that URDMSR and UWRMSR may name, and whether they exist. */
  userMsrControl: u64,
  /** Debug traps to be taken at the next instruction boundary, as the bits they will set in DR6 (B0-B3, BS, BT, BLD). */
  pendingDebug: u32,
  /** Events latched while they are blocked: bit 0 NMI, bit 1 SMI, bit 2 INIT, bit 3 machine check, bit 4 one for the next VM entry. */
  pendingEvents: u32,
  /** Spare room for the extensions (VMX, SVM), laid out by them. */
  extension: bytes(512),
  /** Index of this vCPU. */
  index: u32,
  reserved: array(u8, 12),
});

/** Classes of privilege that have TLB banks of their own in one address space: above level 3 without and with RFLAGS.AC under SMAP, and level 3. */
export const PrivilegeClass = { SUPERVISOR: 0, SUPERVISOR_AC: 1, USER: 2 } as const;

/** Bit of `vcpuState.interruptibility`: GIF of SVM is clear, and everything from outside waits. */
export const GIF_CLEAR = 1 << 4;

/** Bits of `vcpuState.guestMode`. */
export const GuestMode = {
  /** In guest mode. */
  ON: 1 << 0,
  /** PUSHF is not intercepted: generated code may execute it. */
  PLAIN_PUSHF: 1 << 1,
  /** Likewise POPF and IRET, which exits do not follow either when they set RFLAGS.IF, unless `interruptHeld` says so. */
  PLAIN_POPF: 1 << 2,
  PLAIN_IRET: 1 << 3,
  /** RDTSC and RDTSCP are not intercepted. */
  PLAIN_RDTSC: 1 << 4,
  /** Reads of CR2, of CR3 are not intercepted. */
  PLAIN_CR2: 1 << 5,
  PLAIN_CR3: 1 << 6,
  /** LGDT and SGDT are not intercepted. */
  PLAIN_GDT: 1 << 7,
  /** Page faults, INT n are not intercepted. */
  PLAIN_PF: 1 << 8,
  PLAIN_INT: 1 << 9,
  /** INVLPG is not intercepted. */
  PLAIN_INVLPG: 1 << 10,
} as const;

/** Bits of `vcpuState.mode`; a block of decoded code is valid only under the mode it was decoded in. */
export const Mode = {
  /** CS.L in IA-32e mode: 64-bit code. */
  LONG: 1 << 0,
  /** CS.D: 32-bit default operand and address size. */
  CODE32: 1 << 1,
  /** SS.B: 32-bit stack pointer (64-bit code always uses RSP). */
  STACK32: 1 << 2,
  /** CR0.PE set and RFLAGS.VM clear. */
  PROTECTED: 1 << 3,
  /** RFLAGS.VM in protected mode. */
  V8086: 1 << 4,
  /** CPL is 3. */
  USER: 1 << 5,
  /** Execute one instruction per block: TF, RF, an interrupt shadow, code breakpoints. */
  SINGLE: 1 << 6,
  /** EFER.LMA: IA-32e mode (64-bit or compatibility). */
  IA32E: 1 << 7,
  /** CS, DS, ES, SS are flat (base 0, limit 4 GiB, usable): linear = effective address. */
  FLAT: 1 << 8,
  /** Alignment checking is in force: CR0.AM, RFLAGS.AC, CPL 3. */
  ALIGN: 1 << 9,
  /** CR4.LA57 in IA-32e mode: canonical addresses have 57 bits. */
  LA57: 1 << 10,
  /** x87 and MMX run: CR0.EM and CR0.TS clear. */
  X87: 1 << 11,
  /** SSE runs: CR0.EM and CR0.TS clear, CR4.OSFXSR set. */
  SSE: 1 << 12,
  /** AVX runs: CR0.TS clear, CR4.OSXSAVE and CR0.PE set, XCR0[2:1] = 3, not virtual-8086. */
  AVX: 1 << 13,
  /** Beside SINGLE: a repeated string instruction stops after each element, for TF or a hypervisor's monitor trap flag. */
  ELEMENT: 1 << 14,
  /** Near indirect branches are tracked (CET, at the present CPL). */
  IBT: 1 << 15,
  /** The next instruction has to be an ENDBRANCH. */
  ENDBRANCH: 1 << 16,
  /** Tracking is suppressed until an ENDBRANCH. */
  SUPPRESSED: 1 << 17,
  /** Calls and returns use the shadow stack (CET, at the present CPL). */
  SHADOW_STACK: 1 << 18,
  /** Any of the four. */
  CET: 0xf << 15,
  /** MPX is enabled at the present CPL: without it its instructions are NOPs. */
  MPX: 1 << 19,
  /** Beside MPX: bounds are in use, and a near branch without the BND prefix forgets them. */
  BOUNDS: 1 << 20,
  /** Any of the six: instructions may mean something else than they do otherwise. */
  GOVERNED: 0x3f << 15,
} as const;
