import type { NestedContext, TransitionCounters, Vcpu } from '@nestvm/cpu';
import { NestedLedger } from '@nestvm/cpu';
import { GUEST_MODE, Shadow, word } from '@nestvm/cpu/extension';
import { PageFlag, type PhysicalMemory } from '@nestvm/memory';
import { createGuestSpace, type GuestSpace, type Mmu } from '@nestvm/mmu';
import { GuestDeadline } from './apic/deadline.js';
import { VirtualApic } from './apic/virtual-apic.js';
import type { VmxCapabilities } from './capabilities/capabilities.js';
import { createCapabilities, generationOf } from './capabilities/capabilities.js';
import { EntryContext } from './checks/context.js';
import { createRemembered } from './checks/table.js';
import { Proc1, Proc2, Proc3 } from './controls/controls.js';
import { ControlsInForce } from './controls-in-force.js';
import { exitReasonName } from './exits/qualification.js';
import { F } from './fields/layout.js';
import { LentVmcs } from './fields/lent-vmcs.js';
import { addressAt, pageOf, VmxWord } from './state.js';
import { ExitRecord } from './transitions/exit-record.js';
import { unscaleTicks } from './transitions/physical-delay.js';
import { PreemptionTimer, type VmxClock } from './transitions/preemption-timer.js';
import { EXIT_REASONS } from './transitions/reasons.js';
import { createTransfers, type VmcsTransfers } from './transitions/transfers.js';

/** What {@link attachVmx} needs beside the vCPU. */
export interface VmxOptions {
  /** The memory and the MMU that the vCPU works with. */
  readonly memory: PhysicalMemory;
  readonly mmu: Mmu;
  /** For the VMX-preemption timer. */
  readonly clock: VmxClock;
  /** Capabilities to take away, by name; see `createCapabilities`. */
  readonly without?: readonly string[];
  /** How firmware left IA32_FEATURE_CONTROL: locked with VMX enabled outside of SMX (`true`, the default), or not locked and zero. */
  readonly locked?: boolean;
}

/** When the PAUSE loop in progress began and went on, in guest nanoseconds. */
export interface PauseLoop {
  first: number;
  last: number;
}

const CR4_VMXE = 0x2000;
const MSR_BITMAP = word('msrBitmap');

const f = { link: F.VMCS_LINK_POINTER, readBitmap: F.VMREAD_BITMAP, writeBitmap: F.VMWRITE_BITMAP } as const;

/**
 * The state of Intel VMX on one vCPU. Everything that must survive is in guest memory (the VMCS) or in the `extension` area of the vCPU state; the rest is what the
 * processor keeps while it is in non-root operation, loaded at every VM entry.
 * What it does with it is in `extension.ts`.
 */
export class Vmx {
  readonly cpu: Vcpu;
  readonly memory: PhysicalMemory;
  readonly mmu: Mmu;
  readonly capabilities: VmxCapabilities;
  /** The arena in words: VMCS regions are read and written here. */
  readonly i32: Int32Array;
  /** First word of the current VMCS in `i32`, and its physical address; -1 without one. */
  region = -1;
  regionAddress = -1;
  /** Reason of the exit that follows the register of WRMSRLIST that was just written; -1 for none. */
  owedByList = -1;
  /** A page of nobody's, in place of a VMCS whose memory has gone away. */
  private readonly nowhere: number;
  /** The current VMCS, as generated code has it. */
  private readonly lent: LentVmcs;
  readonly transfers: VmcsTransfers;
  readonly controls = new ControlsInForce();
  readonly exitRecord = new ExitRecord();
  readonly space: GuestSpace = createGuestSpace();
  /** What the entry checks look at. */
  readonly entryContext: EntryContext;
  readonly remembered = createRemembered();
  readonly timer: PreemptionTimer;
  readonly deadline: GuestDeadline;
  readonly apic: VirtualApic;
  readonly counters: TransitionCounters = { entries: 0, failedEntries: 0, exits: new Float64Array(EXIT_REASONS) };
  readonly ledger = new NestedLedger('vmcs');
  onFailedEntry: ((cpu: Vcpu) => void) | null = null;
  onRefusal: ((cpu: Vcpu, explain: () => readonly string[]) => void) | null = null;
  /** The ledger's entry of the VMCS in use. */
  context: NestedContext | null = null;

  /** See `Virtualization` of `@nestvm/cpu`. */
  tscOffsetLo = 0;
  tscOffsetHi = 0;
  multiplierLo = 0;
  multiplierHi = 1 << 16;
  singleStep = false;
  nmiBlockedBy: number = Shadow.NMI | Shadow.MOV_SS | Shadow.STI;
  iretUnblocks: number = Shadow.NMI;
  /** Offset and kind of an access to the APIC-access page that was refused and has not become an exit yet; -1: none. */
  refusedOffset = -1;
  refusedType = 0;
  readonly pauseLoop: PauseLoop = { first: 0, last: 0 };
  /** A monitor-trap-flag exit is due. */
  trapPending = false;
  /** The instruction that entered is stepped, and its completion is still to come. */
  enteredByStep = false;

  constructor(cpu: Vcpu, options: VmxOptions) {
    this.cpu = cpu;
    this.memory = options.memory;
    this.mmu = options.mmu;
    this.i32 = options.memory.arena.i32;
    const { model, features } = cpu;
    const { eax } = model.cpuid(1, 0, { apicId: 0, apicEnabled: true, cr4: 0, xcr0: 1, xss: 0, limitMaximum: false });
    this.capabilities = createCapabilities({
      has: (feature) => model.has(feature),
      physicalBits: model.physicalBits,
      cr4: features.cr4 & ~CR4_VMXE,
      generation: model.isEveryCore === true ? 'newest' : generationOf(eax),
      ...(options.without === undefined ? {} : { without: options.without }),
    });
    this.entryContext = new EntryContext(options.memory, this.capabilities);
    this.transfers = createTransfers(options.memory.arena);
    this.nowhere = options.memory.arena.allocate(`vmx nowhere ${cpu.index}`, 4096, 4096) >>> 2;
    this.lent = new LentVmcs(options.memory, cpu.w, `vmcs fields ${cpu.index}`, this.capabilities);
    this.timer = new PreemptionTimer(cpu, options.clock);
    this.apic = new VirtualApic(this);
    this.deadline = new GuestDeadline(this, options.clock);
    options.memory.observe({ mapChanged: () => this.locateRegion(), writeAccessRevoked: (page) => this.lent.revoke(page) });
  }

  /** See `Virtualization.unscaleTicks`. */
  unscaleTicks(ticks: number): number {
    return unscaleTicks(this, ticks);
  }

  /** True in VMX operation, root or not. */
  get on(): boolean {
    return this.cpu.w[VmxWord.ON] !== 0;
  }

  get blocksInit(): boolean {
    return this.on;
  }

  /** Physical address of the VMXON region. */
  get vmxonAddress(): number {
    return addressAt(this.cpu.w, VmxWord.VMXON_POINTER);
  }

  /** Makes the VMCS at a physical address current, or none (-1). */
  setCurrent(address: number): void {
    const { w } = this.cpu;
    w[VmxWord.CURRENT_VALID] = address < 0 ? 0 : 1;
    w[VmxWord.CURRENT] = address < 0 ? 0 : address | 0;
    w[VmxWord.CURRENT + 1] = address < 0 ? 0 : (address / 4294967296) | 0;
    this.locateRegion();
  }

  /** Follows the saved words: after a load of the vCPU state, when the memory map changed, and when SMM has switched VMX off or on. */
  locateRegion(): void {
    const { w } = this.cpu;
    this.regionAddress = w[VmxWord.CURRENT_VALID] === 0 ? -1 : addressAt(w, VmxWord.CURRENT);
    this.region = this.regionAddress < 0 ? -1 : this.wordsAt(this.regionAddress);
    this.lendFields();
  }

  /** Lends generated code the MSR bitmap, and the VMCS that VMREAD and VMWRITE work on: where VMX is on or off, whatever the current VMCS is, in root operation or not. */
  lendFields(): void {
    const { cpu, lent, region } = this;
    cpu.w[MSR_BITMAP] = this.msrBitmap();
    if (!this.on || region < 0) lent.lend(-1);
    else if (cpu.w[GUEST_MODE] === 0) lent.lend(region);
    else this.lendShadow();
  }

  /** The MSR bitmap, while it alone decides what happens to registers that generated code knows; 0 otherwise. */
  private msrBitmap(): number {
    const { controls, memory, cpu } = this;
    if (cpu.w[GUEST_MODE] === 0 || !controls.hasProc1(Proc1.USE_MSR_BITMAPS) || controls.hasProc3(Proc3.VIRTUALIZE_SPEC_CTRL)) return 0;
    return Math.max(0, memory.arenaOffsetOf(controls.msrBitmap));
  }

  /** What "VMCS shadowing" gives the guest, if it is on and all of it is in memory. */
  private lendShadow(): void {
    const { i32, region, memory, lent } = this;
    const link = region + f.link;
    const isShadowed = this.controls.hasProc2(Proc2.VMCS_SHADOWING) && (i32[link] !== -1 || i32[link + 1] !== -1);
    const reads = isShadowed ? memory.arenaOffsetOf(addressAt(i32, region + f.readBitmap)) : -1;
    const writes = isShadowed ? memory.arenaOffsetOf(addressAt(i32, region + f.writeBitmap)) : -1;
    if (reads < 0 || writes < 0) lent.lend(-1);
    else lent.lendShadow(this.wordsAt(pageOf(addressAt(i32, link))), reads, writes);
  }

  /** First word in `i32` of a page of physical memory; a page of nobody's when there is no memory that may be written. */
  wordsAt(address: number): number {
    const { memory } = this;
    const offset = memory.arenaOffsetOf(address);
    if (offset < 0 || (memory.pageFlags[offset >>> 12]! & PageFlag.ROM) !== 0) return this.nowhere;
    return offset >>> 2;
  }

  /** Tells dirty log and code cache that words of a VMCS region are about to be written. */
  touch(region: number): void {
    this.memory.beforeWrite(region * 4, 4096);
    this.lent.lendWrites(region);
  }

  reset(): void {
    this.restored();
  }

  restored(): void {
    this.timer.stop();
    this.deadline.leave();
    this.singleStep = false;
    this.trapPending = false;
    this.ledger.forget();
    this.context = null;
    if (this.mmu.inGuest) this.mmu.leaveGuest();
    this.locateRegion();
  }

  exitName(reason: number): string {
    return exitReasonName(reason);
  }
}
