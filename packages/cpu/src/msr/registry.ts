import { CpuError } from '../errors.js';
import type { Vcpu } from '../vcpu.js';
import { word } from '../words.js';
import type { MsrDefinition } from './definition.js';
import { msrDefinitions } from './definitions.js';

interface Entry extends MsrDefinition {
  /** Word index in `cpu.w`, or in the registry's own store when `own`. */
  readonly at: number;
  readonly own: boolean;
}

/** The model-specific registers of one vCPU. Unknown ones are #GP: software probes for them. */
export class MsrRegistry {
  private readonly entries = new Map<number, Entry>();
  private store = new Int32Array(64);
  private used = 0;
  private readonly cpu: Vcpu;
  /** For logs: told of accesses to registers that the CPU does not have. */
  onUnknown: ((index: number, write: boolean) => void) | null = null;

  constructor(cpu: Vcpu) {
    this.cpu = cpu;
  }

  /** Adds a register; extensions (VMX, SVM) bring theirs. Throws `CpuError` (`duplicate-msr`). */
  define(definition: MsrDefinition): void {
    if (this.entries.has(definition.index)) {
      throw new CpuError(
        'duplicate-msr',
        `MSR 0x${definition.index.toString(16)} (${definition.name}) is defined twice; remove one of the definitions`,
      );
    }
    const own = definition.home === undefined;
    const at = own ? this.allocate() : word(definition.home!) + 2 * (definition.element ?? 0);
    this.entries.set(definition.index, { ...definition, at, own });
    this.applyReset(this.entries.get(definition.index)!);
  }

  /** True when the CPU has this register. */
  has(index: number): boolean {
    return this.entries.has(index);
  }

  /** Reads into `cpu.lo`/`cpu.hi`; false means #GP. */
  read(index: number): boolean {
    const { cpu } = this;
    const entry = this.entries.get(index);
    if (entry === undefined) return this.readInterruptController(index);
    if (entry.read !== undefined) return entry.read(cpu);
    if (entry.constant !== undefined) {
      const [lo, hi] = entry.constant(cpu);
      cpu.lo = lo;
      cpu.hi = hi;
      return true;
    }
    const words = entry.own ? this.store : cpu.w;
    cpu.lo = words[entry.at]!;
    cpu.hi = words[entry.at + 1]!;
    return true;
  }

  /** Writes; false means #GP, and nothing has changed. */
  write(index: number, lo: number, hi: number): boolean {
    const { cpu } = this;
    const entry = this.entries.get(index);
    if (entry === undefined) return this.writeInterruptController(index, lo, hi);
    if (entry.write !== undefined) return entry.write(cpu, lo, hi);
    if (entry.constant !== undefined) return false;
    const mask = entry.mask;
    if (mask !== undefined) {
      if (entry.ignore !== true && ((lo & ~mask[0]) !== 0 || (hi & ~mask[1]) !== 0)) return false;
      lo &= mask[0];
      hi &= mask[1];
    }
    if (entry.canonical === true && !isCanonicalHigh(cpu, hi)) return false;
    if (entry.allow !== undefined && !entry.allow(cpu, lo, hi)) return false;
    const words = entry.own ? this.store : cpu.w;
    words[entry.at] = lo;
    words[entry.at + 1] = hi;
    if (entry.changed !== undefined) entry.changed(cpu);
    return true;
  }

  /** RESET: every register gets its reset value. */
  reset(): void {
    for (const entry of this.entries.values()) this.applyReset(entry);
  }

  /** The registers that have no home in the vCPU state, for snapshots: [index, lo, hi]. */
  saveOwn(): readonly (readonly [number, number, number])[] {
    const saved: (readonly [number, number, number])[] = [];
    for (const entry of this.entries.values()) {
      if (entry.own && entry.constant === undefined) saved.push([entry.index, this.store[entry.at]!, this.store[entry.at + 1]!]);
    }
    return saved;
  }

  /** Puts back what `saveOwn` gave; false when a register is not there or its value is not one that it may have, with nothing changed. */
  loadOwn(saved: readonly (readonly [number, number, number])[]): boolean {
    for (const [index, lo, hi] of saved) {
      const entry = this.entries.get(index);
      if (entry === undefined || !entry.own || entry.constant !== undefined) return false;
      if (
        entry.mask !== undefined &&
        ((lo & ~(entry.mask[0] | (entry.reset?.[0] ?? 0))) !== 0 || (hi & ~(entry.mask[1] | (entry.reset?.[1] ?? 0))) !== 0)
      )
        return false;
    }
    for (const [index, lo, hi] of saved) {
      const { at } = this.entries.get(index)!;
      this.store[at] = lo;
      this.store[at + 1] = hi;
    }
    return true;
  }

  /** All definitions, by index. */
  list(): readonly MsrDefinition[] {
    return [...this.entries.values()].sort((a, b) => a.index - b.index);
  }

  private allocate(): number {
    if (this.used + 2 > this.store.length) {
      const larger = new Int32Array(this.store.length * 2);
      larger.set(this.store);
      this.store = larger;
    }
    this.used += 2;
    return this.used - 2;
  }

  private applyReset(entry: Entry): void {
    if (entry.constant !== undefined || (!entry.own && entry.reset === undefined)) return;
    const words = entry.own ? this.store : this.cpu.w;
    words[entry.at] = entry.reset?.[0] ?? 0;
    words[entry.at + 1] = entry.reset?.[1] ?? 0;
  }

  private readInterruptController(index: number): boolean {
    const { cpu } = this;
    if (!isInterruptControllerMsr(cpu, index)) return this.unknown(index, false);
    const source = cpu.interrupts;
    if (!source.readMsr(index)) return false;
    cpu.lo = source.msrLo | 0;
    cpu.hi = source.msrHi | 0;
    return true;
  }

  private writeInterruptController(index: number, lo: number, hi: number): boolean {
    const { cpu } = this;
    if (!isInterruptControllerMsr(cpu, index)) return this.unknown(index, true);
    const source = cpu.interrupts;
    source.msrLo = lo;
    source.msrHi = hi;
    cpu.attention = 1;
    return source.writeMsr(index);
  }

  private unknown(index: number, write: boolean): false {
    if (this.onUnknown !== null) this.onUnknown(index, write);
    return false;
  }
}

const APIC_BASE = 0x1b;
const TSC_DEADLINE = 0x6e0;

function isInterruptControllerMsr(cpu: Vcpu, index: number): boolean {
  if (index === APIC_BASE) return cpu.features.has('apic');
  if (index === TSC_DEADLINE) return cpu.features.has('tsc-deadline');
  return index >= 0x800 && index <= 0x8ff && cpu.features.has('x2apic');
}

function isCanonicalHigh(cpu: Vcpu, hi: number): boolean {
  const top = hi >> (cpu.features.has('la57') ? 24 : 15);
  return top === 0 || top === -1;
}

/** The registers that a vCPU's model has. */
export function createMsrRegistry(cpu: Vcpu): MsrRegistry {
  const registry = new MsrRegistry(cpu);
  for (const definition of msrDefinitions) if (definition.when === undefined || definition.when(cpu)) registry.define(definition);
  return registry;
}
