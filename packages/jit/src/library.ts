import type { Handlers } from '@nestvm/cpu/compiling';
import { buildModule, type FunctionDefinition, type FunctionRef } from '@nestvm/emit';

/** Bounds of the memory as a module imports it. */
export interface MemoryFrame {
  readonly memoryPages: number;
  readonly memoryMaximum: number;
  readonly shared: boolean;
}

/**
 * What compiled code imports: the memory, the functions of the interpreter, and helpers of the meanings (division of 128 bits, exact floating point), each made once when
 * first needed. Functions that WebAssembly exports cost nothing to import.
 */
export class FunctionLibrary {
  readonly frame: MemoryFrame;
  private readonly environment: WebAssembly.ModuleImports;

  constructor(
    memory: WebAssembly.Memory,
    shared: boolean,
    private readonly handlers: Handlers,
    /** Functions that go through the interpreter's table. */
    private readonly tabled: ReadonlySet<FunctionRef>,
  ) {
    const pages = memory.buffer.byteLength / 65536;
    this.frame = { memoryPages: pages, memoryMaximum: pages, shared };
    this.environment = { memory, ...handlers.runtime };
  }

  get imports(): WebAssembly.Imports {
    return { env: this.environment };
  }

  /** Makes sure that a function can be imported. */
  provide(target: FunctionRef | FunctionDefinition): void {
    if (target.name in this.environment || !('write' in target)) return;
    const exports = this.tabled.has(target) ? this.handlers.provide([target]) : this.instantiate(target);
    this.environment[target.name] = exports[target.name] as WebAssembly.ImportValue;
  }

  private instantiate(target: FunctionDefinition): WebAssembly.Exports {
    const bytes = buildModule({ frame: this.frame, functions: [target], included: (name) => !(name in this.environment) });
    return new WebAssembly.Instance(new WebAssembly.Module(bytes), this.imports).exports;
  }
}
