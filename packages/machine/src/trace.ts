import type { MmioSpace, PortSpace } from '@nestvm/bus';
import type { Engine, Vcpu } from '@nestvm/cpu';
import { Mode } from '@nestvm/isa';
import { explainFailedEntry } from './nested.js';

/** What a machine tells a log as it runs; `cpu` is the number of a vCPU. Whatever is left out costs nothing. */
export interface MachineTrace {
  /** An interrupt or exception is about to be delivered; the vCPU's RIP is where it will return to. `kind` is the interruption type of VMX (0 external, 3 exception …). */
  delivery?(cpu: number, vector: number, kind: number, error: number | undefined): void;
  /** A block of instructions was decoded: `bytes` (of its first page) at the vCPU's RIP, in 16-, 32- or 64-bit code. */
  block?(cpu: number, bits: 16 | 32 | 64, bytes: Uint8Array): void;
  /** The machine has been reset, or switched on. */
  reset?(): void;
  /** A byte was read (no value) or written where nothing is. */
  unclaimed?(space: 'port' | 'memory', address: number, value: number | undefined): void;
  /** RDMSR or WRMSR of a register that the CPU does not have. */
  unknownMsr?(cpu: number, index: number, write: boolean): void;
  /** VMLAUNCH, VMRESUME or VMRUN failed: every check that does, with field, value, rule and hint, a line or more each. */
  failedEntry?(cpu: number, extension: 'vmx' | 'svm', lines: readonly string[]): void;
  /** Another instruction of VMX or SVM was refused (VMfail, #UD, #GP), and why. */
  refusedInstruction?(cpu: number, extension: 'vmx' | 'svm', lines: readonly string[]): void;
}

/** The parts that tell. */
export interface TracedParts {
  readonly cpus: readonly Vcpu[];
  readonly engine: Engine;
  readonly ports: PortSpace;
  readonly mmio: MmioSpace;
  /** Number of the running vCPU. */
  readonly current: () => number;
}

/** Connects a log to the parts of a machine; one at a time. */
export function installTrace(trace: MachineTrace, { cpus, engine, ports, mmio, current }: TracedParts): void {
  for (const cpu of cpus) {
    cpu.onDelivery = trace.delivery
      ? (vector, kind, error, hasError) => trace.delivery?.(cpu.index, vector, kind, hasError ? error : undefined)
      : null;
    const { virtualization } = cpu;
    if (virtualization) {
      const extension = virtualization.ledger.kind === 'vmcs' ? 'vmx' : 'svm';
      virtualization.onFailedEntry = trace.failedEntry ? () => trace.failedEntry?.(cpu.index, extension, explainFailedEntry(cpu)) : null;
      virtualization.onRefusal = trace.refusedInstruction ? (_cpu, explain) => trace.refusedInstruction?.(cpu.index, extension, explain()) : null;
    }
    cpu.msrs.onUnknown = trace.unknownMsr ? (index, write) => trace.unknownMsr?.(cpu.index, index, write) : null;
  }
  engine.builder.onBuilt = trace.block
    ? (offset, mode, bytes) => trace.block?.(current(), bitsOf(mode), engine.arena.u8.slice(offset, offset + bytes))
    : null;
  ports.onUnclaimed = trace.unclaimed ? (port, value) => trace.unclaimed?.('port', port, value) : null;
  mmio.onUnclaimed = trace.unclaimed ? (address, value) => trace.unclaimed?.('memory', address, value) : null;
}

const bitsOf = (mode: number): 16 | 32 | 64 => ((mode & Mode.LONG) !== 0 ? 64 : (mode & Mode.CODE32) !== 0 ? 32 : 16);
