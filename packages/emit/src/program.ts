import { ModuleBuilder, type Signature } from '@nestvm/wasm';
import { Code } from './code.js';
import { encodeFunction } from './encode.js';
import { EmitError } from './errors.js';
import type { FunctionRef } from './node.js';

/** A function of a program: what calls name, and what it does. */
export interface FunctionDefinition extends FunctionRef {
  readonly write: (code: Code) => void;
}

/** A function that is written already. */
export interface WrittenFunction extends FunctionRef {
  readonly code: Code;
}

/** Declares a function; it becomes part of each module whose functions call it (or that is given it). */
export const defineFunction = (name: string, signature: Signature, write: (code: Code) => void): FunctionDefinition => ({ name, signature, write });

/** Declares a function that the host or another module supplies under `name`. */
export const importedFunction = (name: string, signature: Signature): FunctionRef => ({ name, signature });

/** Where a module's memory and table come from, and how large they are. */
export interface ModuleFrame {
  /** Minimum and maximum of the imported memory, in 64 KiB pages. */
  readonly memoryPages: number;
  readonly memoryMaximum: number;
  readonly shared?: boolean;
  /** Minimum size of the imported table; without it no table is imported. */
  readonly tableSize?: number;
}

/** Imports are named `env.memory`, `env.table`, and `env.<function>`. */
const ENV = 'env';

/**
 * Links functions into one module: those given are exported under their names (or put into the table); definitions that they call are
 * included, everything else that they call is imported.
 */
export function buildModule(options: {
  readonly frame: ModuleFrame;
  readonly functions: readonly (FunctionDefinition | WrittenFunction)[];
  /** Whether a called function that has a definition becomes part of this module (the default), or is imported. */
  readonly included?: (name: string) => boolean;
  /** Table slot from which `functions` are placed, in order; without it they are exported. */
  readonly tableOffset?: number;
}): Uint8Array<ArrayBuffer> {
  const { frame, functions } = options;
  const isIncluded = options.included ?? (() => true);
  const included: FunctionRef[] = [];
  const imports: FunctionRef[] = [];
  const codes: Code[] = [];
  const place = new Map<string, number>();
  const pending = [...functions];
  const importIndex = new Map<string, number>();
  const queued = new Set(pending.map((f) => f.name));
  if (queued.size !== pending.length) throw new EmitError('duplicate', 'two functions of one module have the same name');
  for (let i = 0; i < pending.length; i++) {
    const definition = pending[i];
    const code = 'code' in definition ? definition.code : new Code(definition.signature);
    if ('write' in definition) definition.write(code);
    place.set(definition.name, i);
    included.push(definition);
    codes.push(code);
    for (const target of code.called.values()) {
      if (queued.has(target.name)) continue;
      queued.add(target.name);
      if ('write' in target && isIncluded(target.name)) pending.push(target as FunctionDefinition);
      else {
        importIndex.set(target.name, imports.length);
        imports.push(target);
      }
    }
  }
  const module = new ModuleBuilder();
  module.importMemory(ENV, 'memory', frame.memoryPages, frame.memoryMaximum, frame.shared);
  if (frame.tableSize !== undefined) module.importTable(ENV, 'table', frame.tableSize);
  for (const target of imports) module.importFunction(ENV, target.name, target.signature);
  const resolver = {
    typeIndex: (signature: Signature) => module.type(signature),
    functionIndex: (target: FunctionRef) => {
      const local = place.get(target.name);
      return local === undefined ? importIndex.get(target.name)! : imports.length + local;
    },
  };
  for (const [i, definition] of included.entries()) module.addFunction(definition.signature, encodeFunction(codes[i], resolver));
  if (options.tableOffset !== undefined)
    module.addElements(
      options.tableOffset,
      functions.map((_, i) => imports.length + i),
    );
  else for (const [i, definition] of functions.entries()) module.exportFunction(definition.name, imports.length + i);
  return module.toBytes();
}
