import type { Vcpu } from '@nestvm/cpu';
import type { PhysicalMemory } from '@nestvm/memory';
import { formatShadow, type Mmu, pagingMode, type Shadow } from '@nestvm/mmu';

const PAGE_BYTES = 4096;
const PAGING = ['none', '32-bit', 'PAE', '4-level', '5-level'] as const;
const low = (address: bigint): number => Number(BigInt.asIntN(32, address));
const high = (address: bigint): number => Number(BigInt.asIntN(32, address >> 32n));

/** Looks into a machine for debuggers and monitors, leaving no trace in it. Use it while no slice runs; linear addresses are 64-bit values. */
export class MachineInspector {
  constructor(
    private readonly cpus: readonly Vcpu[],
    private readonly mmus: readonly Mmu[],
    private readonly memory: PhysicalMemory,
  ) {}

  /** Paging of a vCPU. */
  paging(cpu: number): (typeof PAGING)[number] {
    const state = this.cpus[cpu]!;
    return PAGING[pagingMode(state.get32('cr0'), state.get32('cr4'), state.get32('efer'))]!;
  }

  /** Physical address that a linear one leads to on a vCPU, through both stages in guest mode; undefined when unmapped. */
  translate(cpu: number, linear: bigint): number | undefined {
    const physical = this.mmus[cpu]!.peek(low(linear), high(linear));
    return physical < 0 ? undefined : physical;
  }

  /** The walk of a linear address through the tables in force on a vCPU, step by step. */
  shadow(cpu: number, linear: bigint): Shadow {
    return this.mmus[cpu]!.shadow(low(linear), high(linear));
  }

  /** The same as text, a line for each step. */
  explainTranslation(cpu: number, linear: bigint): string[] {
    const world =
      this.cpus[cpu]!.get32('guestMode') === 0 ? 'tables of the host mode' : 'tables of the nested guest, and under them those of its hypervisor';
    return [world, ...formatShadow(this.shadow(cpu, linear))];
  }

  /** Copies RAM or ROM at a physical address; returns how many bytes from the start could be read: devices are not asked. */
  readPhysical(address: number, into: Uint8Array): number {
    return this.copy(into, (done) => address + done);
  }

  /** Copies what a vCPU sees at a linear address; returns how many bytes from the start could be read. */
  readLinear(cpu: number, linear: bigint, into: Uint8Array): number {
    return this.copy(into, (done) => this.translate(cpu, linear + BigInt(done)));
  }

  private copy(into: Uint8Array, physicalOf: (done: number) => number | undefined): number {
    const { u8 } = this.memory.arena;
    let done = 0;
    while (done < into.length) {
      const physical = physicalOf(done);
      const offset = physical === undefined ? -1 : this.memory.arenaOffsetOf(physical);
      if (physical === undefined || offset < 0) break;
      const length = Math.min(into.length - done, PAGE_BYTES - (physical % PAGE_BYTES));
      into.set(u8.subarray(offset, offset + length), done);
      done += length;
    }
    return done;
  }
}
