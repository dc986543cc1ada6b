import type { Engine, Vcpu } from '@nestvm/cpu';
import { type HotCode, Record, Slot } from '@nestvm/cpu/compiling';
import { buildModule } from '@nestvm/emit';
import { Mode } from '@nestvm/isa';
import { meanings } from '@nestvm/semantics';
import { CompiledCode } from './compiled-code.js';
import { JitError, NotCompilable } from './errors.js';
import { FunctionLibrary } from './library.js';
import { countdown, type Region, selectRegion } from './region.js';
import { Translator } from './translate.js';

const PAGE_BYTES = 4096;

/** How the JIT works. */
export interface JitOptions {
  /** Turns of a block after which it is compiled (256). */
  readonly threshold?: number;
  /** Bytes of memory that compiled code may take, about (128 MiB). */
  readonly codeBytes?: number;
}

/** What has been done so far. */
export interface JitCounters {
  /** Regions compiled, and the instructions and bytes of WebAssembly in them. */
  regions: number;
  instructions: number;
  bytes: number;
  /** Milliseconds that it took, where a clock was given. */
  /** Times that all code was dropped for want of room. */
  flushes: number;
}

/** Bytes of memory that an engine takes for a byte of WebAssembly, about: machine code and what belongs to it. */
const EXPANSION = 12;
/** Turns, in thresholds, until a block that is in a region, but no entry of it, becomes one. */
const ENTRY_FACTOR = 4;

/** Compiles hot blocks of an engine. */
export class Jit implements HotCode {
  readonly threshold: number;
  readonly counters: JitCounters = { regions: 0, instructions: 0, bytes: 0, flushes: 0 };
  private readonly codeBytes: number;
  private readonly compiled: CompiledCode;
  private readonly excluded = new Set<number>();
  private readonly library: FunctionLibrary;

  constructor(
    private readonly engine: Engine,
    options: JitOptions,
  ) {
    this.threshold = options.threshold ?? 256;
    this.codeBytes = options.codeBytes ?? 128 << 20;
    if (!(this.threshold >= 1)) throw new JitError('bad-option', `threshold ${this.threshold}: give at least 1 turn`);
    this.library = new FunctionLibrary(engine.arena.memory, engine.arena.shared, engine.handlers.runtime);
    this.compiled = new CompiledCode(engine.arena, engine.handlers);
  }

  /** See {@link HotCode}. */
  hot(cpu: Vcpu, head: number): void {
    const { arena, handlers } = this.engine;
    const { i32 } = arena;
    const host = i32[(head + Record.HOST) >>> 2]! >>> 0;
    const source = {
      views: arena,
      handlers,
      excluded: this.excluded,
      isWarm: (other: number) => this.isWarm(other),
      isEntry: (other: number) => this.compiled.isEntry(other),
    };
    for (;;) {
      const region = selectRegion(source, head, host % PAGE_BYTES);
      if (region === null) {
        i32[head >>> 2] = Slot.PASS;
        return;
      }
      try {
        return this.compile(region, Math.floor(host / PAGE_BYTES), (cpu.get32('mode') & Mode.LONG) !== 0);
      } catch (error) {
        if (!(error instanceof NotCompilable) || error.row < 0) throw error;
        this.excluded.add(error.row);
      }
    }
  }

  /** See {@link HotCode}. */
  dropped(arenaPage: number): void {
    if (arenaPage < 0) this.compiled.clear(null);
    else this.compiled.dropPage(arenaPage);
  }

  /** Drops all compiled code; what is hot is compiled again. */
  flush(): void {
    this.counters.flushes++;
    this.compiled.clear(this.threshold);
  }

  private isWarm(head: number): boolean {
    const { i32 } = this.engine.arena;
    const slot = i32[head >>> 2]!;
    if (slot !== Slot.HEAD) return slot !== Slot.PASS;
    return this.threshold - countdown(this.engine.arena, head) >= this.threshold >>> 4;
  }

  private compile(region: Region, page: number, isLong: boolean): void {
    const { engine, counters, library } = this;
    if (this.compiled.bytes > this.codeBytes) this.flush();
    const { code } = new Translator(region, engine.arena, meanings, isLong);
    for (const target of code.called.values()) library.provide(target);
    const bytes = buildModule({ frame: library.frame, functions: [{ name: 'region', signature: code.signature, code }], included: () => false });
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), library.imports);
    counters.regions++;
    counters.instructions += region.instructions;
    counters.bytes += bytes.length;
    this.compiled.install(region, page, exports['region']!, bytes.length * EXPANSION, this.threshold * ENTRY_FACTOR);
  }
}

/** Gives an engine a JIT: hot code of all its vCPUs is compiled from now on. */
export function attachJit(engine: Engine, options: JitOptions = {}): Jit {
  const jit = new Jit(engine, options);
  engine.attach(jit);
  return jit;
}
