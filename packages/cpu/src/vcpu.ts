import type { Instruction } from '@nestvm/decoder';
import { type SensitiveEvent, vcpuState } from '@nestvm/isa';
import { ShadowCursor } from './cet/shadow-stack.js';
import { PerformanceCounters } from './counters/counters.js';
import { TimedWait } from './events/timed-wait.js';
import { createFeatures, type Features } from './features.js';
import { LinearMemory } from './linear.js';
import { createMsrRegistry, type MsrRegistry } from './msr/registry.js';
import { Outcome } from './outcome.js';
import type { CpuClock } from './ports/clock.js';
import { createNullInterruptSource, type InterruptSource } from './ports/interrupts.js';
import type { CpuModel } from './ports/model.js';
import type { RandomSource } from './ports/random.js';
import { Access, type PhysicalAccess, type Translation } from './ports/translation.js';
import type { Virtualization } from './ports/virtualization.js';
import { Descriptor } from './segments/descriptor.js';
import { StackCursor } from './stack.js';
import { CpuidAnswers } from './system/cpuid.js';
import type { SystemInstruction } from './system/index.js';
import {
  FAULT_ERROR,
  FAULT_HAS_ERROR,
  FAULT_VECTOR,
  FLAG_AUX,
  FLAG_RESULT,
  GPR,
  GUEST_MODE,
  PENDING_DEBUG,
  quad,
  RFLAGS,
  RIP,
  SLOW_ADDRESS,
  type StateField,
  word,
} from './words.js';

/** Port space as a CPU sees it: `PortSpace` of `@nestvm/bus` has this shape. */
export interface PortAccess {
  read(port: number, width: 1 | 2 | 4): number;
  write(port: number, width: 1 | 2 | 4, value: number): void;
}

/** What a {@link Vcpu} is made of. */
export interface VcpuOptions {
  /** Number of this vCPU, and its initial APIC id unless `apicId` is given. */
  readonly index: number;
  readonly apicId?: number;
  /** The one WebAssembly memory (or any buffer, in tests). */
  readonly buffer: ArrayBufferLike;
  /** Arena offset of this vCPU's `vcpuState`, a multiple of 16. */
  readonly base: number;
  readonly mmu: Translation;
  readonly memory: PhysicalAccess;
  readonly ports: PortAccess;
  readonly clock: CpuClock;
  readonly model: CpuModel;
  readonly random: RandomSource;
  /** True for the bootstrap processor. */
  readonly bootstrap?: boolean;
}

/**
 * One virtual CPU: the views of its state in linear memory, what it is connected to, and access to its registers.
 * Hot code indexes `w` with the constants of `words.ts`; everything else may use the bigint helpers.
 */
export class Vcpu {
  readonly index: number;
  readonly apicId: number;
  readonly bootstrap: boolean;
  readonly base: number;
  /** The state as int32, uint16, uint8 and uint64 elements. */
  readonly w: Int32Array;
  readonly h: Uint16Array;
  readonly b: Uint8Array;
  readonly q: BigUint64Array;
  readonly mmu: Translation;
  readonly memory: PhysicalAccess;
  readonly ports: PortAccess;
  readonly clock: CpuClock;
  readonly model: CpuModel;
  readonly features: Features;
  readonly random: RandomSource;
  /** Guest memory by linear address: the program's accesses, and the processor's own (descriptor tables, TSS). */
  readonly linear: LinearMemory;
  readonly tables: LinearMemory;
  /** The shadow stacks (CET). */
  readonly shadowMemory: LinearMemory;
  readonly msrs: MsrRegistry;
  interrupts: InterruptSource = createNullInterruptSource();
  virtualization: Virtualization | null = null;
  /** Instructions that the hypervisor extension adds or replaces, by mnemonic; asked before those of the CPU itself. */
  readonly extensionInstructions: Record<string, SystemInstruction | undefined> = {};
  /** Asked before CR0 or CR4 change (VMX fixed bits); false means #GP. */
  controlGuard: ((register: 0 | 4, value: number) => boolean) | null = null;
  /** Asked before EFER changes (SVM: SVME edges); false means #GP. */
  eferGuard: ((old: number, value: number) => boolean) | null = null;
  /** The instruction that TypeScript carries out, or carried out last: what exits say about operands comes from it. */
  instruction: Readonly<Instruction> | null = null;
  /** Called when the vCPU must look at events soon: the executor makes the engine leave at the next block end. */
  onAttention: () => void = () => {};
  /** Called when the system asks the platform for something: shutdown after a triple fault, FERR#, SMI acknowledgement. */
  onPlatformEvent: (event: 'shutdown' | 'ferr' | 'smm-enter' | 'smm-leave') => void = () => {};
  /** All vCPUs of the machine, this one among them: what INVLPGB is for. */
  peers: () => readonly Vcpu[] = () => [this];
  /** For logs: told of each event that is about to be delivered, with RIP where it will return to. */
  onDelivery: ((vector: number, kind: number, error: number, hasError: boolean) => void) | null = null;
  /** Generated code that delivers an event where a plain gate is enough; 0: it has not. See `Delivery` for `how`. */
  deliverPlain: (base: number, vector: number, how: number, error: number, returnLo: number, returnHi: number) => number = () => 0;
  /** Nonzero when `serviceEvents` has something to look at. */
  attention = 1;
  /** Result pair of address computations and operand reads, int32 halves. */
  lo = 0;
  hi = 0;
  /** 1 while an event from outside of the program is being delivered: the EXT bit of error codes. */
  ext = 0;
  /** RFLAGS.TF when the running instruction began; instructions that drop the single-step trap clear it. */
  trapFlag = 0;
  /** 1 when the running instruction itself began an interrupt shadow, or set RF: see `afterInstruction`. */
  freshShadow = 0;
  freshResume = 0;
  /** 1 when the running instruction was a branch, or something was delivered: what single-stepping on branches looks at. */
  branched = 0;

  /**
   * The event whose delivery is under way in guest mode, as VMX and SVM report it when an exit interrupts it: vector, kind << 8, bit 11 with an error code,
   * bit 31 valid; 0 when none is. With it the error code, and the length of the instruction that a software event came from.
   */
  vectoring = 0;
  vectoringError = 0;
  vectoringLength = 0;
  /** 1 when the running IRET has ended the blocking of NMIs: an exit that it causes by a fault says so. */
  nmiUnblocked = 0;

  /** Scratch of segment loads and of event delivery: never holds anything between two instructions. */
  readonly descriptor = new Descriptor();
  readonly stackDescriptor = new Descriptor();
  readonly gate = new Descriptor();
  readonly stack = new StackCursor(this);
  readonly shadowStack = new ShadowCursor(this);
  /** What the line under MONITOR held when it was armed. */
  readonly monitoredLine = new Uint32Array(16);
  readonly timedWait = new TimedWait(this);
  readonly cpuid = new CpuidAnswers(this);
  readonly counters = new PerformanceCounters(this);

  constructor(options: VcpuOptions) {
    this.index = options.index;
    this.apicId = options.apicId ?? options.index;
    this.bootstrap = options.bootstrap ?? options.index === 0;
    this.base = options.base;
    const { buffer, base } = options;
    this.w = new Int32Array(buffer, base, vcpuState.size >>> 2);
    this.h = new Uint16Array(buffer, base, vcpuState.size >>> 1);
    this.b = new Uint8Array(buffer, base, vcpuState.size);
    this.q = new BigUint64Array(buffer, base, vcpuState.size >>> 3);
    this.mmu = options.mmu;
    this.memory = options.memory;
    this.ports = options.ports;
    this.clock = options.clock;
    this.model = options.model;
    this.features = createFeatures(options.model);
    this.random = options.random;
    this.linear = new LinearMemory(this, options.memory, options.mmu, buffer);
    this.tables = new LinearMemory(this, options.memory, options.mmu, buffer, Access.IMPLICIT);
    this.shadowMemory = new LinearMemory(this, options.memory, options.mmu, buffer, Access.SHADOW_STACK);
    this.msrs = createMsrRegistry(this);
  }

  /** Introduces the interrupt source: a local APIC, or the PIC alone. */
  connectInterrupts(source: InterruptSource): void {
    this.interrupts = source;
    source.setWake(() => this.requestAttention());
    this.requestAttention();
  }

  /** Asks for `serviceEvents` at the next instruction boundary that the executor can reach. */
  requestAttention(): void {
    this.attention = 1;
    this.onAttention();
  }

  /** Records a fault; see {@link Outcome}. Selector error codes get the EXT bit while an external event is delivered. */
  raise(vector: number, error?: number): Outcome {
    const w = this.w;
    w[FAULT_VECTOR] = vector;
    w[FAULT_HAS_ERROR] = error === undefined ? 0 : 1;
    // #TS #NP #SS #GP: their bit 0 says that the event came from outside of the program.
    w[FAULT_ERROR] = (error ?? 0) | (vector >= 10 && vector <= 13 ? this.ext : 0);
    return Outcome.FAULT;
  }

  /** Same as `raise`, for helpers that answer with a boolean. */
  fail(vector: number, error?: number): false {
    this.raise(vector, error);
    return false;
  }

  setPageFaultAddress(lo: number, hi: number): void {
    this.w[SLOW_ADDRESS] = lo;
    this.w[SLOW_ADDRESS + 1] = hi;
  }

  /** Asks the hypervisor extension about a sensitive instruction; true: the VM exit was made, return `Outcome.JUMPED`. */
  intercepted(event: SensitiveEvent, length: number, number = 0, write = false, extra = 0): boolean {
    if (this.w[GUEST_MODE] === 0 || this.virtualization === null) return false;
    return this.virtualization.intercept(this, event, length, number, write, extra);
  }

  /** The full RFLAGS (low half), lazy arithmetic flags included. */
  readRflags(): number {
    const w = this.w;
    const lo = w[FLAG_RESULT]!;
    const hi = w[FLAG_RESULT + 1]!;
    const aux = w[FLAG_AUX]!;
    let parity = (lo ^ (aux >>> 8)) & 0xff;
    parity ^= parity >>> 4;
    const pf = (0x9669 >>> (parity & 15)) & 1;
    const cf = aux >>> 31;
    const of = cf ^ ((aux >>> 30) & 1);
    const sf = (hi >>> 31) ^ (aux & 1);
    const zf = (lo | hi) === 0 ? 1 : 0;
    return w[RFLAGS]! | cf | (pf << 2) | (((aux >>> 3) & 1) << 4) | (zf << 6) | (sf << 7) | (of << 11);
  }

  /** Sets all of RFLAGS; the caller has masked what may change, and calls `updateMode` when TF, VM, AC or RF changed. */
  writeRflags(value: number): void {
    this.w[RFLAGS] = (value & ~0x8d5) | 2;
    this.writeArithmeticFlags(value);
  }

  /** Sets CF PF AF ZF SF OF from the bits of `value`. */
  writeArithmeticFlags(value: number): void {
    const w = this.w;
    const zf = (value >>> 6) & 1;
    const pf = (value >>> 2) & 1;
    const cf = value & 1;
    const of = (value >>> 11) & 1;
    w[FLAG_RESULT] = zf ^ 1;
    w[FLAG_RESULT + 1] = 0;
    // The low byte of the result is 0 (even parity) or 1 (odd): bit 8 turns it into what PF says.
    const parityFix = zf === 1 ? pf ^ 1 : pf;
    w[FLAG_AUX] = (cf << 31) | ((cf ^ of) << 30) | (parityFix << 8) | (((value >>> 4) & 1) << 3) | ((value >>> 7) & 1);
  }

  /** Sets or clears ZF alone, keeping the others. */
  writeZf(zf: boolean): void {
    const flags = this.readRflags();
    this.writeArithmeticFlags(zf ? flags | 0x40 : flags & ~0x40);
  }

  /** Adds traps to be taken at the next instruction boundary (bits as in DR6). */
  addPendingDebug(bits: number): void {
    this.w[PENDING_DEBUG] = this.w[PENDING_DEBUG]! | bits;
    this.attention = 1;
  }

  hasPendingDebug(): boolean {
    return this.w[PENDING_DEBUG] !== 0;
  }

  /** Writes a 32-bit result into a general register, zero-extended. */
  setGpr32(register: number, value: number): void {
    this.w[GPR + 2 * register] = value;
    this.w[GPR + 2 * register + 1] = 0;
  }

  /** A general register as a bigint. */
  gpr(register: number): bigint {
    return this.q[register]!;
  }

  setGpr(register: number, value: bigint): void {
    this.q[register] = value;
  }

  get rip(): bigint {
    return this.q[RIP >>> 1]!;
  }

  set rip(value: bigint) {
    this.q[RIP >>> 1] = value;
  }

  /** A 64-bit field by name. */
  get64(field: StateField, element = 0): bigint {
    return this.q[quad(field) + element]!;
  }

  set64(field: StateField, value: bigint, element = 0): void {
    this.q[quad(field) + element] = value;
  }

  /** A 32-bit field by name, unsigned. */
  get32(field: StateField, element = 0): number {
    return this.w[word(field) + element]! >>> 0;
  }

  set32(field: StateField, value: number, element = 0): void {
    this.w[word(field) + element] = value;
  }
}
