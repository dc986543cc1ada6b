import type { Vcpu } from '@nestvm/cpu';
import { GPR, readHostTsc, readTsc } from '@nestvm/cpu/extension';
import { Proc3 } from '../controls/controls.js';
import type { ControlsInForce } from '../controls-in-force.js';
import { F } from '../fields/layout.js';
import type { VmxClock } from '../transitions/preemption-timer.js';

/** Index of IA32_TSC_DEADLINE. */
export const TSC_DEADLINE = 0x6e0;

const f = { deadline: F.GUEST_DEADLINE, shadow: F.GUEST_DEADLINE_SHADOW, vector: F.VIRTUAL_TIMER_VECTOR } as const;
const RAX = GPR;
const RDX = GPR + 4;
const TWO_32 = 4294967296;
/** Beyond this a number is not exact, and no machine runs so long. */
const NEVER = Number.MAX_SAFE_INTEGER;

/** What the virtual timer works on: VMX of one vCPU has this shape. */
interface DeadlineHost {
  readonly cpu: Vcpu;
  readonly controls: ControlsInForce;
  readonly i32: Int32Array;
  readonly region: number;
  readonly apic: { request(vector: number): void };
  unscaleTicks(ticks: number): number;
}

/**
 * APIC-timer virtualization (Intel Architecture Instruction Set Extensions, "APIC-Timer Virtualization"): the guest's IA32_TSC_DEADLINE is the guest deadline shadow, and
 * the processor's TSC is compared with the guest deadline. When that is reached, both become 0 and the virtual timer's vector is requested of the virtual APIC.
 */
export class GuestDeadline {
  private readonly timer: { arm(deadlineNs: number): void; cancel(): void };
  private isOn = false;
  private armed = false;

  constructor(
    private readonly vmx: DeadlineHost,
    private readonly clock: VmxClock,
  ) {
    const { cpu } = vmx;
    this.timer = clock.createTimer(`vmx guest deadline ${cpu.index}`, () => {
      this.armed = false;
      cpu.requestAttention();
    });
  }

  /** VM entry. */
  enter(): void {
    this.isOn = this.vmx.controls.hasProc3(Proc3.APIC_TIMER_VIRTUALIZATION);
    if (this.isOn) this.schedule();
  }

  /** VM exit. */
  leave(): void {
    this.isOn = false;
    this.cancel();
  }

  /** Requests the timer's interrupt when its time has come. */
  service(): void {
    if (!this.isOn) return;
    const { i32, region, apic } = this.vmx;
    const left = this.ticksLeft();
    if (left > 0) return;
    for (const field of [f.deadline, f.shadow]) {
      i32[region + field] = 0;
      i32[region + field + 1] = 0;
    }
    this.cancel();
    apic.request(i32[region + f.vector]! & 0xff);
  }

  /** RDMSR of IA32_TSC_DEADLINE. */
  read(): void {
    const { i32, region, cpu } = this.vmx;
    const { w } = cpu;
    w[RAX] = i32[region + f.shadow]!;
    w[RAX + 1] = 0;
    w[RDX] = i32[region + f.shadow + 1]!;
    w[RDX + 1] = 0;
  }

  /** WRMSR of IA32_TSC_DEADLINE: 0 disarms. */
  write(): void {
    const { i32, region, cpu } = this.vmx;
    const lo = cpu.w[RAX]!;
    const hi = cpu.w[RDX]!;
    i32[region + f.shadow] = lo;
    i32[region + f.shadow + 1] = hi;
    const deadline = (lo | hi) === 0 ? 0 : this.physical((hi >>> 0) * TWO_32 + (lo >>> 0));
    i32[region + f.deadline] = (deadline % TWO_32) | 0;
    i32[region + f.deadline + 1] = (deadline / TWO_32) | 0;
    this.schedule();
  }

  /** The processor's TSC when the guest's TSC is `virtual`; a time that is past is 1 at least. */
  private physical(virtual: number): number {
    const { cpu } = this.vmx;
    readTsc(cpu);
    const ticks = virtual - ((cpu.hi >>> 0) * TWO_32 + (cpu.lo >>> 0));
    readHostTsc(cpu);
    const now = (cpu.hi >>> 0) * TWO_32 + (cpu.lo >>> 0);
    return Math.max(1, Math.min(now + (ticks <= 0 ? 0 : Math.ceil(this.vmx.unscaleTicks(ticks))), NEVER));
  }

  /** Ticks of the processor's TSC until the deadline, 0 or less when it is reached; Infinity when there is none. */
  private ticksLeft(): number {
    const { i32, region, cpu } = this.vmx;
    const deadline = (i32[region + f.deadline + 1]! >>> 0) * TWO_32 + (i32[region + f.deadline]! >>> 0);
    if (deadline === 0) return Infinity;
    readHostTsc(cpu);
    return deadline - ((cpu.hi >>> 0) * TWO_32 + (cpu.lo >>> 0));
  }

  private schedule(): void {
    this.cancel();
    const left = this.ticksLeft();
    if (left >= NEVER) return;
    if (left <= 0) {
      this.vmx.cpu.attention = 1;
      return;
    }
    this.armed = true;
    this.timer.arm(this.clock.nowNs() + left);
  }

  private cancel(): void {
    if (this.armed) this.timer.cancel();
    this.armed = false;
  }
}
