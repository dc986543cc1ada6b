import { buildModule, defineFunction, type FunctionDefinition, type FunctionRef } from '@nestvm/emit';
import { Evaluator, type Value } from '@nestvm/emit/backends';
import { vcpuState } from '@nestvm/isa';
import { meanings } from '../../src/meanings.js';
import type { Form } from './forms.js';
import { LENT, SIGNATURE, writeForm } from './marked-engine.js';

const { offset } = vcpuState;
/** Where the vCPU state is, and the guest's memory: one page, which every address falls into. */
export const CPU = 0x1000;
export const DATA = 0x8000;
export const DATA_BYTES = 0x1000;

/** The engine's side of a form: guest memory, and a log of how it left. */
class Host {
  readonly log: string[] = [];
  private lent: { at: number; bytes: number } = { at: 0, bytes: 0 };
  private readonly u8: Uint8Array;

  constructor(memory: ArrayBufferLike) {
    this.u8 = new Uint8Array(memory);
  }

  call(name: string, args: readonly Value[]): Value | undefined {
    const at = DATA + Number(BigInt.asUintN(12, BigInt(args[0] === undefined ? 0 : (args[0] as number | bigint))));
    const bytes = Number(args[1] ?? 0);
    switch (name) {
      case 'guest.read':
        this.u8.copyWithin(CPU + offset.scratch, at, at + bytes);
        return undefined;
      case 'guest.write':
        this.u8.copyWithin(at, CPU + offset.scratch, CPU + offset.scratch + bytes);
        return undefined;
      case 'guest.modify':
        this.lent = { at, bytes };
        this.u8.copyWithin(CPU + LENT, at, at + bytes);
        return undefined;
      case 'guest.commit':
        this.u8.copyWithin(this.lent.at, CPU + LENT, CPU + LENT + this.lent.bytes);
        return undefined;
      case 'guest.probe':
        return undefined;
      case 'guest.segment':
        return BigInt((args[1] as number) >>> 0);
      default:
        this.log.push([name, ...args].join(' '));
        return undefined;
    }
  }
}

const definitionOf = (form: Form): FunctionDefinition =>
  defineFunction(form.name, SIGNATURE, (code) => writeForm(code, form, meanings[form.row.mnemonic]!));

/** Something that runs forms over a memory of its own. */
export interface FormMachine {
  readonly memory: ArrayBuffer;
  /** Runs a form; how it left, or what it trapped with. */
  run(form: Form, immediate: bigint): readonly string[];
}

function guarded(host: Host, body: () => void): readonly string[] {
  host.log.length = 0;
  try {
    body();
  } catch (error) {
    if (!(error instanceof RangeError || error instanceof WebAssembly.RuntimeError)) throw error;
    return ['trap'];
  }
  return [...host.log];
}

/** Forms as WebAssembly. */
export class WasmMachine implements FormMachine {
  private readonly wasm = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  readonly memory = this.wasm.buffer;
  private readonly host = new Host(this.memory);
  private readonly functions: Record<string, (cpu: number, immediate: bigint) => void>;

  constructor(forms: readonly Form[]) {
    const module = new WebAssembly.Module(buildModule({ frame: { memoryPages: 1, memoryMaximum: 1 }, functions: forms.map(definitionOf) }));
    const env: WebAssembly.ModuleImports = { memory: this.wasm };
    for (const { name } of WebAssembly.Module.imports(module)) env[name] ??= (...args: Value[]) => this.host.call(name, args);
    this.functions = new WebAssembly.Instance(module, { env }).exports as typeof this.functions;
  }

  run(form: Form, immediate: bigint): readonly string[] {
    return guarded(this.host, () => this.functions[form.name]!(CPU, immediate));
  }
}

/** Forms statement by statement. */
export class EvaluatingMachine implements FormMachine {
  readonly memory = new ArrayBuffer(0x10000);
  private readonly host = new Host(this.memory);
  private readonly evaluator = new Evaluator({ memory: this.memory, host: (target: FunctionRef, args) => this.host.call(target.name, args) });
  private readonly definitions = new Map<Form, FunctionDefinition>();

  run(form: Form, immediate: bigint): readonly string[] {
    let definition = this.definitions.get(form);
    if (!definition) this.definitions.set(form, (definition = definitionOf(form)));
    return guarded(this.host, () => void this.evaluator.call(definition, [CPU, immediate]));
  }
}
