import { buildModule, defineFunction, type FunctionDefinition, type FunctionRef } from '@nestvm/emit';
import { Evaluator } from '@nestvm/emit/backends';
import { meanings } from '../../src/meanings.js';
import { GuestHost } from '../support/guest-host.js';
import { SIGNATURE, writeForm } from './form-code.js';
import type { Form } from './forms.js';

/** Where the vCPU state is, and the guest's memory: one page, which every address falls into. */
export const CPU = 0x1000;
export const DATA = 0x8000;
export const DATA_BYTES = 0x1000;

/** Every address is in the page. */
const locate = (linear: bigint): number => DATA + Number(BigInt.asUintN(12, linear));

const definitionOf = (form: Form): FunctionDefinition =>
  defineFunction(form.name, SIGNATURE, (code) => writeForm(code, form, meanings[form.row.mnemonic]!));

/** Something that runs forms over a memory of its own. */
export interface FormMachine {
  readonly memory: ArrayBuffer;
  /** Runs a form; how it left, or what it trapped with. */
  run(form: Form, immediate: bigint): readonly string[];
}

function guarded(host: GuestHost, body: () => void): readonly string[] {
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
  private readonly host = new GuestHost(this.memory, CPU, locate);
  private readonly functions: Record<string, (cpu: number, immediate: bigint) => void>;

  constructor(forms: readonly Form[]) {
    const module = new WebAssembly.Module(buildModule({ frame: { memoryPages: 1, memoryMaximum: 1 }, functions: forms.map(definitionOf) }));
    const env = { memory: this.wasm, ...this.host.imports(module) };
    this.functions = new WebAssembly.Instance(module, { env }).exports as typeof this.functions;
  }

  run(form: Form, immediate: bigint): readonly string[] {
    return guarded(this.host, () => this.functions[form.name]!(CPU, immediate));
  }
}

/** Forms statement by statement. */
export class EvaluatingMachine implements FormMachine {
  readonly memory = new ArrayBuffer(0x10000);
  private readonly host = new GuestHost(this.memory, CPU, locate);
  private readonly evaluator = new Evaluator({ memory: this.memory, host: (target: FunctionRef, args) => this.host.call(target.name, args) });
  private readonly definitions = new Map<Form, FunctionDefinition>();

  run(form: Form, immediate: bigint): readonly string[] {
    let definition = this.definitions.get(form);
    if (!definition) this.definitions.set(form, (definition = definitionOf(form)));
    return guarded(this.host, () => void this.evaluator.call(definition, [CPU, immediate]));
  }
}
