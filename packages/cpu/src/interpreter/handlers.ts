import { buildModule, Code, defineFunction, type FunctionDefinition } from '@nestvm/emit';
import type { OpcodeRow } from '@nestvm/isa';
import { Context, type Facts, type Meanings } from '@nestvm/semantics';
import type { KeptCode } from '../ports/kept-code.js';
import type { CodePlaces } from './code-write.js';
import { InterpreterEngine, recordFields } from './engine.js';
import { HANDLER } from './entering.js';
import { factsOf, isLongForm, KEY_FORMS } from './facts.js';
import { Joins } from './joins.js';
import { ExitReason, Slot } from './record.js';
import { crossing, head, leaving, limit, moved, pass, system } from './runtime.js';
import { runtimeFunctions } from './runtime-functions.js';
import { seedKeys } from './seed.js';
import { commonSequences, type Keys, type Placed, sequenceHandler } from './sequences.js';

/** What the handlers need from TypeScript. Arguments: record, cpu (byte offsets), bytes of the access. */
export interface HostFunctions {
  hostRead(record: number, cpu: number, bytes: number): number;
  hostWrite(record: number, cpu: number, bytes: number): number;
  hostModify(record: number, cpu: number, bytes: number): number;
  hostCommit(record: number, cpu: number): void;
  hostProbe(record: number, cpu: number, bytes: number): number;
  hostCodeWrite(offset: number, bytes: number): void;
  hostSystem(record: number, cpu: number): number;
  hostMiss(cpu: number): number;
  hostLink(cpu: number): number;
  hostTime(record: number, cpu: number): void;
}

/** How handlers are made. */
export interface HandlerOptions {
  readonly memory: WebAssembly.Memory;
  readonly shared: boolean;
  readonly rows: readonly OpcodeRow[];
  readonly meanings: Meanings;
  /** Byte offset of the block cache. */
  readonly blockCache: number;
  readonly codePlaces: CodePlaces;
  readonly host: HostFunctions;
  /** Where the handlers that 64-bit code needs most are kept between runs. */
  readonly keptCode?: KeptCode | undefined;
}

/**
 * Slots that the table starts with and grows by. Some engines (V8 of Node 20) give every instance a copy of the whole table, so that a large one makes
 * each small module cost milliseconds.
 */
const TABLE_STEP = 2048;
const TABLE_MAXIMUM = 65536;
/** Slot of the first handler that 64-bit code needs most: the same in each run, whatever came before. */
const FIRST_SEED = 512;
/** Sizes of memory, in 64 KiB pages, that a module which is kept may be linked with. */
const ANY_MEMORY = { memoryPages: 1, memoryMaximum: 65536 } as const;
const engine = new InterpreterEngine();

/** The code of one handler. */
function handler(key: number, rows: readonly OpcodeRow[], meanings: Meanings): FunctionDefinition {
  const facts = factsOf(key, rows);
  const meaning = meanings[facts.row.mnemonic]!;
  return defineFunction(`h${key}`, HANDLER, (code: Code) => {
    const x = new Context(code, code.param(1, 32), facts, recordFields(code, code.param(0, 32)), engine);
    meaning(x);
    if (!x.ended) engine.next(x);
  });
}

const fallThrough = (rows: readonly OpcodeRow[]): FunctionDefinition =>
  defineFunction('fallThrough', HANDLER, (code) => {
    // 64-bit: RIP is not cut. In legacy modes a block never runs over its segment's end.
    const facts = { ...factsOf(rows[0]!.id * KEY_FORMS + (1 << 7), rows), long: true };
    engine.fallThrough(new Context(code, code.param(1, 32), facts, recordFields(code, code.param(0, 32)), engine));
  });

/** The Wasm functions of the interpreter: one for each instruction form that was met, compiled when first needed. */
export class Handlers {
  private readonly table = new WebAssembly.Table({ initial: TABLE_STEP, maximum: TABLE_MAXIMUM, element: 'anyfunc' });
  /** Slots by a row's id and the form. */
  private readonly slots: (Map<number, number> | undefined)[] = [];
  /** By a row's id: 1 has a meaning, 2 has none, 0 was not asked for yet. */
  private readonly known: Uint8Array;
  private readonly keys: number[] = [];
  private readonly joins = new Joins();
  /** What handlers carry out that stand for several instructions, by slot. */
  private readonly sequences: (readonly Placed[] | undefined)[] = [];
  /** Their slots, by those of the instructions. */
  private readonly named = new Map<string, number>();
  /** What was asked for with `factsOf`, by slot. */
  private readonly facts: Facts[] = [];
  private readonly released: number[] = [];
  private pending: number[] = [];
  /** Slots that wait for what 64-bit code needs most. */
  private seeds: number[] = [];
  private next: number = Slot.FIRST_FREE;
  /** The slot behind those; 0 when nobody needed them yet. */
  private seedsEnd = 0;
  private readonly environment: WebAssembly.ModuleImports;
  private readonly exports: WebAssembly.Exports = {};
  /** Modules compiled so far. */
  modules = 0;

  constructor(private readonly options: HandlerOptions) {
    this.known = new Uint8Array(options.rows.length);
    this.environment = { memory: options.memory, table: this.table, ...(options.host as unknown as WebAssembly.ModuleImports) };
    this.exports = this.instantiate(runtimeFunctions(options.blockCache, options.codePlaces), undefined).exports;
    Object.assign(this.environment, this.exports);
    this.instantiate([leaving('leaveStale', ExitReason.STALE), system, fallThrough(options.rows), crossing, head, pass], Slot.STALE);
    this.instantiate([limit, moved], Slot.LIMIT);
  }

  /** Starts the engine at RIP; returns when it leaves. */
  get enter(): (cpu: number) => void {
    return this.exports['enter'] as (cpu: number) => void;
  }

  /** Delivers an event where a plain gate is enough: see `deliverPlain`. */
  get deliverHere(): (cpu: number, vector: number, how: number, error: number, returnLo: number, returnHi: number) => number {
    return this.exports['deliverHere'] as Handlers['deliverHere'];
  }

  /** Starts the engine at a record; `blockRip` is set. */
  get enterAt(): (record: number, cpu: number) => void {
    return this.exports['enterAt'] as (record: number, cpu: number) => void;
  }

  /** True when a mnemonic has a meaning as an emitter. */
  has(row: OpcodeRow): boolean {
    const known = this.known[row.id]!;
    if (known !== 0) return known === 1;
    const has = row.mnemonic in this.options.meanings && row.encoding !== 'evex';
    this.known[row.id] = has ? 1 : 2;
    return has;
  }

  /** Table slot of the handler for a form (see `handlerForm`) of the row with an id; it exists after the next `flush`. */
  slotFor(id: number, form: number): number {
    if (this.seedsEnd === 0 && isLongForm(form)) this.seed();
    const forms = (this.slots[id] ??= new Map());
    const known = forms.get(form);
    if (known !== undefined) return known;
    const slot = this.newSlot();
    forms.set(form, slot);
    this.keys[slot] = id * KEY_FORMS + form;
    this.pending.push(slot);
    return slot;
  }

  /** Asks for what 64-bit code needs most, when the first of it comes: a guest that stays below does not pay for it. */
  private seed(): void {
    const { rows } = this.options;
    const { pending, next } = this;
    [this.pending, this.next, this.seedsEnd] = [this.seeds, FIRST_SEED, FIRST_SEED];
    for (const key of seedKeys(rows.filter((row) => this.has(row)))) this.slotOf(key);
    for (const [first, second] of commonSequences(rows)) this.join(this.slotOfAll(first), this.slotOfAll(second));
    [this.pending, this.next, this.seedsEnd] = [pending, next, this.next];
  }

  private slotOf(key: number): number {
    return this.slotFor(Math.floor(key / KEY_FORMS), key % KEY_FORMS);
  }

  private slotOfAll(keys: Keys): number {
    return keys.map((key) => this.slotOf(key)).reduce((first, second) => this.joinOf(first, second));
  }

  private join(first: number, second: number): void {
    const parts = [first, second].flatMap((part) => this.sequences[part] ?? [{ key: this.keys[part]!, slot: part }]);
    const name = parts.map(({ slot }) => slot).join();
    // Three instructions may be a pair and one, or one and a pair.
    const slot = this.named.get(name) ?? this.newSlot();
    this.joins.add(first, second, slot);
    if (this.named.has(name)) return;
    this.named.set(name, slot);
    // To whoever asks, the record is still that of its first instruction.
    this.keys[slot] = this.keys[first]!;
    this.sequences[slot] = parts;
    this.pending.push(slot);
  }

  /** Slot of the handler that carries out what those in two slots do, one after the other; 0 where there is none. */
  joinOf(first: number, second: number): number {
    return this.joins.of(first, second);
  }

  private newSlot(): number {
    if (this.next === FIRST_SEED && this.seedsEnd !== FIRST_SEED) this.passSeeds();
    const slot = this.next++;
    if (slot >= this.table.length) this.table.grow(TABLE_STEP);
    return slot;
  }

  /** Goes on behind the slots of what 64-bit code needs most. */
  private passSeeds(): void {
    this.flush();
    if (this.seedsEnd === 0) this.seed();
    this.next = this.seedsEnd;
  }

  /** The key whose handler is in a slot; undefined for slots with a fixed meaning and for compiled code. */
  keyOf(slot: number): number | undefined {
    return this.keys[slot];
  }

  /** What is known about the instruction whose handler is in a slot. */
  factsOf(slot: number): Facts | undefined {
    const key = this.keys[slot];
    if (key === undefined) return undefined;
    this.facts[slot] ??= factsOf(key, this.options.rows);
    return this.facts[slot];
  }

  /** The functions that compiled code may import, by name. */
  get runtime(): WebAssembly.Exports {
    return this.exports;
  }

  /** Byte offset of the block cache. */
  get blockCache(): number {
    return this.options.blockCache;
  }

  /** Makes functions that go through the table, which compiled code does not import: a table that many modules share costs some engines more with each of them. */
  provide(functions: FunctionDefinition[]): WebAssembly.Exports {
    return this.instantiate(functions, undefined).exports;
  }

  /** Puts a function of compiled code, (record, cpu), into a slot of its own. */
  place(code: WebAssembly.ExportValue): number {
    this.flush();
    const slot = this.released.pop() ?? this.newSlot();
    this.table.set(slot, code as unknown as () => void);
    return slot;
  }

  /** Forgets what `place` put into a slot. */
  release(slot: number): void {
    this.table.set(slot, null);
    this.released.push(slot);
  }

  /** Compiles what was asked for since the last time, as one module. */
  flush(): void {
    if (this.seeds.length > 0) this.flushSeeds();
    if (this.pending.length === 0) return;
    const { pending } = this;
    this.pending = [];
    this.instantiate(this.functionsOf(pending), pending[0]!);
  }

  private functionsOf(slots: readonly number[]): FunctionDefinition[] {
    const { rows, meanings } = this.options;
    return slots.map((slot) => {
      const sequence = this.sequences[slot];
      return sequence ? sequenceHandler(sequence, rows, meanings) : handler(this.keys[slot]!, rows, meanings);
    });
  }

  /** What 64-bit code needs most, as an earlier run has left it, or generated now: some hundred kilobytes. */
  private flushSeeds(): void {
    const { shared, keptCode } = this.options;
    const slots = this.seeds;
    this.seeds = [];
    const name = shared ? 'handlers-shared' : 'handlers';
    const kept = keptCode?.read(name);
    if (kept !== undefined && this.isLinked(kept)) return;
    const bytes = this.build(this.functionsOf(slots), FIRST_SEED, ANY_MEMORY);
    keptCode?.keep(name, bytes);
    this.link(bytes);
  }

  /** False for bytes that are damaged. */
  private isLinked(bytes: Uint8Array<ArrayBuffer>): boolean {
    try {
      this.link(bytes);
      return true;
    } catch (error) {
      if (error instanceof WebAssembly.CompileError || error instanceof WebAssembly.LinkError) return false;
      throw error;
    }
  }

  private instantiate(functions: FunctionDefinition[], tableOffset: number | undefined): WebAssembly.Instance {
    const pages = this.options.memory.buffer.byteLength / 65536;
    return this.link(this.build(functions, tableOffset, { memoryPages: pages, memoryMaximum: pages }));
  }

  private build(
    functions: FunctionDefinition[],
    tableOffset: number | undefined,
    memory: { readonly memoryPages: number; readonly memoryMaximum: number },
  ): Uint8Array<ArrayBuffer> {
    return buildModule({
      frame: { ...memory, shared: this.options.shared, tableSize: TABLE_STEP },
      functions,
      included: (name) => !(name in this.exports),
      ...(tableOffset === undefined ? {} : { tableOffset }),
    });
  }

  private link(bytes: Uint8Array<ArrayBuffer>): WebAssembly.Instance {
    this.modules++;
    return new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: this.environment });
  }
}
