import { ByteWriter } from './byte-writer.js';
import { VALUE_TYPE, type ValueType } from './instructions.js';

/** A function signature. */
export interface Signature {
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}

/** What a function body needs to be written down: its locals after the parameters, and its code with the final `end`. */
export interface FunctionBody {
  readonly locals: readonly ValueType[];
  readonly code: Uint8Array;
}

interface FunctionImport {
  readonly module: string;
  readonly name: string;
  readonly type: number;
}

const SECTION = { TYPE: 1, IMPORT: 2, FUNCTION: 3, TABLE: 4, EXPORT: 7, ELEMENT: 9, CODE: 10 } as const;

/** Builds one WebAssembly module: imports first, then functions; ends with `toBytes()`. */
export class ModuleBuilder {
  private readonly types: Signature[] = [];
  private readonly typeIndex = new Map<string, number>();
  private readonly imports: FunctionImport[] = [];
  private readonly functions: { type: number; body: FunctionBody }[] = [];
  private readonly exports: { name: string; index: number }[] = [];
  private readonly elements: { offset: number; functions: number[] }[] = [];
  private memory: { module: string; name: string; minimum: number; maximum: number; shared: boolean } | undefined;
  private table: { module: string; name: string; minimum: number } | undefined;

  /** Index of a signature, added when new. */
  type(signature: Signature): number {
    const key = `${signature.params.join()}>${signature.results.join()}`;
    const known = this.typeIndex.get(key);
    if (known !== undefined) return known;
    this.types.push(signature);
    this.typeIndex.set(key, this.types.length - 1);
    return this.types.length - 1;
  }

  /** Imports the memory (sizes in 64 KiB pages). */
  importMemory(module: string, name: string, minimum: number, maximum: number, shared = false): void {
    this.memory = { module, name, minimum, maximum, shared };
  }

  /** Imports a table of functions. */
  importTable(module: string, name: string, minimum: number): void {
    this.table = { module, name, minimum };
  }

  /** Imports a function; all imports come before the first function. Returns its index. */
  importFunction(module: string, name: string, signature: Signature): number {
    this.imports.push({ module, name, type: this.type(signature) });
    return this.imports.length - 1;
  }

  /** Adds a function; returns its index in the module's function space. */
  addFunction(signature: Signature, body: FunctionBody): number {
    this.functions.push({ type: this.type(signature), body });
    return this.imports.length + this.functions.length - 1;
  }

  /** Exports a function under a name. */
  exportFunction(name: string, index: number): void {
    this.exports.push({ name, index });
  }

  /** Puts functions into the imported table from `offset` on, at instantiation. */
  addElements(offset: number, functions: number[]): void {
    this.elements.push({ offset, functions });
  }

  /** The finished module. */
  toBytes(): Uint8Array<ArrayBuffer> {
    const out = new ByteWriter();
    out.bytes([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    this.section(out, SECTION.TYPE, this.types, (w, type) => {
      w.byte(0x60);
      for (const list of [type.params, type.results]) {
        w.unsigned(list.length);
        for (const value of list) w.byte(VALUE_TYPE[value]);
      }
    });
    this.writeImports(out);
    this.section(out, SECTION.FUNCTION, this.functions, (w, f) => w.unsigned(f.type));
    this.section(out, SECTION.EXPORT, this.exports, (w, e) => {
      w.name(e.name);
      w.byte(0);
      w.unsigned(e.index);
    });
    this.section(out, SECTION.ELEMENT, this.elements, (w, e) => {
      w.bytes([0, 0x41]);
      w.signed(e.offset);
      w.byte(0x0b);
      w.unsigned(e.functions.length);
      for (const index of e.functions) w.unsigned(index);
    });
    const body = new ByteWriter();
    this.section(out, SECTION.CODE, this.functions, (w, f) => {
      body.clear();
      writeBody(body, f.body);
      w.section(body);
    });
    return out.take();
  }

  private writeImports(out: ByteWriter): void {
    const entries: ((w: ByteWriter) => void)[] = this.imports.map((i) => (w) => {
      w.name(i.module);
      w.name(i.name);
      w.byte(0);
      w.unsigned(i.type);
    });
    const { memory, table } = this;
    if (memory) {
      entries.push((w) => {
        w.name(memory.module);
        w.name(memory.name);
        w.bytes([2, memory.shared ? 3 : 1]);
        w.unsigned(memory.minimum);
        w.unsigned(memory.maximum);
      });
    }
    if (table) {
      entries.push((w) => {
        w.name(table.module);
        w.name(table.name);
        w.bytes([1, 0x70, 0]);
        w.unsigned(table.minimum);
      });
    }
    this.section(out, SECTION.IMPORT, entries, (w, entry) => entry(w));
  }

  private section<T>(out: ByteWriter, id: number, items: readonly T[], write: (w: ByteWriter, item: T) => void): void {
    if (items.length === 0) return;
    const content = new ByteWriter();
    content.unsigned(items.length);
    for (const item of items) write(content, item);
    out.byte(id);
    out.section(content);
  }
}

/** Locals are written as runs of one type. */
function writeBody(w: ByteWriter, body: FunctionBody): void {
  const runs: { type: ValueType; count: number }[] = [];
  for (const type of body.locals) {
    const last = runs[runs.length - 1];
    if (last?.type === type) last.count++;
    else runs.push({ type, count: 1 });
  }
  w.unsigned(runs.length);
  for (const { type, count } of runs) {
    w.unsigned(count);
    w.byte(VALUE_TYPE[type]);
  }
  w.bytes(body.code);
}
