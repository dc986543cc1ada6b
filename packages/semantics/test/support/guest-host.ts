import type { Value } from '@nestvm/emit/backends';
import { vcpuState } from '@nestvm/isa';
import { LENT } from './marked-engine.js';

const { offset } = vcpuState;

/** Thrown by `locate` for an address that is not there: nothing of the instruction after it is carried out. */
export class PageFault extends Error {}

/** What answers the calls of the marked engine, over plain memory with one vCPU state. */
export class GuestHost {
  /** How instructions left: name and arguments of the call. */
  readonly log: string[] = [];
  private lent = { at: 0, bytes: 0 };
  private readonly u8: Uint8Array;

  constructor(
    memory: ArrayBufferLike,
    private readonly cpu: number,
    private readonly locate: (linear: bigint, bytes: number) => number,
  ) {
    this.u8 = new Uint8Array(memory);
  }

  /** Carries out one call. */
  call(name: string, args: readonly Value[]): Value | undefined {
    if (name === 'guest.segment') return BigInt((args[1] as number) >>> 0);
    if (name === 'guest.commit') {
      this.u8.copyWithin(this.lent.at, this.cpu + LENT, this.cpu + LENT + this.lent.bytes);
      return undefined;
    }
    if (!/^guest\.(read|write|modify|probe)$/.test(name)) {
      this.log.push([name, ...args].join(' '));
      return undefined;
    }
    const bytes = args[1] as number;
    this.access(name, this.locate(args[0] as bigint, bytes), bytes);
    return undefined;
  }

  private access(name: string, at: number, bytes: number): void {
    const scratch = this.cpu + offset.scratch;
    if (name === 'guest.read') this.u8.copyWithin(scratch, at, at + bytes);
    else if (name === 'guest.write') this.u8.copyWithin(at, scratch, scratch + bytes);
    else if (name === 'guest.modify') {
      this.lent = { at, bytes };
      this.u8.copyWithin(this.cpu + LENT, at, at + bytes);
    }
  }

  /** What a module of marked code imports, beside its memory. */
  imports(module: WebAssembly.Module): WebAssembly.ModuleImports {
    const functions = WebAssembly.Module.imports(module).filter(({ kind }) => kind === 'function');
    return Object.fromEntries(functions.map(({ name }) => [name, (...args: Value[]) => this.call(name, args)]));
  }
}
