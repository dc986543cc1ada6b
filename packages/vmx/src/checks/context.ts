import type { PhysicalMemory } from '@nestvm/memory';
import type { VmxCapabilities } from '../capabilities/capabilities.js';
import { Exit, Proc1, Proc2 } from '../controls/controls.js';
import { F, VmcsHeader } from '../fields/layout.js';

/** Which instruction asks for the VM entry. */
export const EntryInstruction = { VMLAUNCH: 0, VMRESUME: 1 } as const;

/**
 * What the entry checks look at: a VMCS in guest memory, and the processor around it. One per vCPU, filled before each use; nothing in it allocates.
 * Physical addresses are numbers; 64-bit values of fields are two int32 halves.
 */
export class EntryContext {
  readonly memory: PhysicalMemory;
  readonly i32: Int32Array;
  capabilities: VmxCapabilities;
  /** Word (int32) of `i32` at which the VMCS region starts. */
  base = 0;
  /** Physical address of the current VMCS; -1: none. */
  currentVmcs = -1;
  /** Physical address of the VMXON region. */
  vmxonRegion = -1;
  /** One of {@link EntryInstruction}. */
  instruction = 0;
  /** The processor is in VMX operation, in an allowed mode, in root operation, at CPL 0. */
  vmxOperation = true;
  legalMode = true;
  rootOperation = true;
  cpl = 0;
  /** MOV SS blocks events at the instruction. */
  movSsBlocking = false;
  /** IA32_EFER.LMA at the instruction. */
  longMode = false;
  inSmm = false;
  /** IA32_RTIT_CTL.TraceEn at the instruction. */
  tracing = false;
  /** The local APIC is in x2APIC mode. */
  x2apic = false;
  /** The VMCS was launched before the last VMXOFF. */
  launchedBeforeVmxoff = false;
  /** The entry of the VM-entry MSR-load list that is looked at. */
  msrIndex = 0;
  msrReserved = 0;
  msrLo = 0;
  msrHi = 0;
  /** Whether WRMSR at CPL 0 would take the value. */
  canWriteMsr: (index: number, lo: number, hi: number) => boolean = () => true;

  constructor(memory: PhysicalMemory, capabilities: VmxCapabilities) {
    this.memory = memory;
    this.i32 = memory.arena.i32;
    this.capabilities = capabilities;
  }

  /** Low half of a field, by its word (`F.GUEST_CR0`). */
  lo(word: number): number {
    return this.i32[this.base + word]!;
  }

  /** High half of a field, by its word. */
  hi(word: number): number {
    return this.i32[this.base + word + 1]!;
  }

  /** A word of the header, by `VmcsHeader`. */
  header(word: number): number {
    return this.i32[this.base + word]!;
  }

  get pin(): number {
    return this.lo(F.PIN_CONTROLS);
  }
  get proc1(): number {
    return this.lo(F.PRIMARY_CONTROLS);
  }
  /** Secondary controls in force: 0 unless activated. */
  get proc2(): number {
    return (this.lo(F.PRIMARY_CONTROLS) & Proc1.ACTIVATE_SECONDARY_CONTROLS) === 0 ? 0 : this.lo(F.SECONDARY_CONTROLS);
  }
  /** Tertiary controls in force, low half. */
  get proc3(): number {
    return (this.lo(F.PRIMARY_CONTROLS) & Proc1.ACTIVATE_TERTIARY_CONTROLS) === 0 ? 0 : this.lo(F.TERTIARY_CONTROLS);
  }
  get exit(): number {
    return this.lo(F.EXIT_CONTROLS);
  }
  /** Secondary VM-exit controls in force, low half. */
  get exit2(): number {
    return (this.lo(F.EXIT_CONTROLS) & Exit.ACTIVATE_SECONDARY_CONTROLS) === 0 ? 0 : this.lo(F.SECONDARY_EXIT_CONTROLS);
  }
  get entry(): number {
    return this.lo(F.ENTRY_CONTROLS);
  }
  /** VM-function controls in force, low half. */
  get vmfunc(): number {
    return (this.proc2 & Proc2.ENABLE_VM_FUNCTIONS) === 0 ? 0 : this.lo(F.VM_FUNCTION_CONTROLS);
  }

  /** Sets a field, as tests and examples do; VMWRITE has its own way. */
  set(word: number, lo: number, hi = 0): void {
    this.i32[this.base + word] = lo;
    this.i32[this.base + word + 1] = hi;
    this.i32[this.base + VmcsHeader.CLEAN_GROUPS] = 0;
  }

  /** A 32-bit word of RAM or ROM at a physical address (two halves); all ones where there is none, without asking a device. */
  physicalWord(lo: number, hi: number): number {
    const at = hi >>> 0 >= 0x10_0000 ? -1 : this.memory.arenaOffsetOf((lo >>> 0) + (hi >>> 0) * 0x1_0000_0000);
    return at < 0 ? -1 : this.i32[at >>> 2]!;
  }
}
