import type { Engine, Vcpu } from '@nestvm/cpu';
import { type HotCode, Record, Slot } from '@nestvm/cpu/compiling';
import { buildModule, type FunctionDefinition } from '@nestvm/emit';
import { Mode } from '@nestvm/isa';
import { meanings } from '@nestvm/semantics';
import { isLoneReturn } from './block.js';
import { CompiledCode } from './compiled-code.js';
import { JitError, NotCompilable } from './errors.js';
import { ExitLog } from './exit-log.js';
import { countTurns, cutTurns, grantTurns, isOpen, openFrom, turnsOf } from './heat.js';
import { FunctionLibrary } from './library.js';
import { ModulesUnderWay } from './modules-under-way.js';
import { type Region, selectRegion } from './region.js';
import type { RegionCode } from './region-code.js';
import { ReturnCache } from './return-cache.js';
import { Translator } from './translate.js';
import { defineWayOut } from './way-out.js';

const PAGE_BYTES = 4096;

/** How the JIT works. */
export interface JitOptions {
  /** Turns of a function, or of a loop, after which it is looked at more closely and then compiled (16384). Below 24, each block is compiled by itself. */
  readonly threshold?: number;
  /**
   * Instructions after which an engine is no longer young: in a young one it takes eight times as many turns (600 million, about what a kernel's boot takes; none where `threshold` is given).
   */
  readonly youth?: number;
  /** Bytes of memory that compiled code may take, about (128 MiB). */
  readonly codeBytes?: number;
  /**
   * Whether modules are compiled while the guest runs on, by other threads of the engine; they come into force when the event loop gets a turn, and until then what they hold is
   * interpreted, and counted as if it had never been compiled (false). It is done so in any case where the engine refuses to compile at once, as browsers do on a page's own thread.
   */
  readonly background?: boolean;
}

/** A region on its way into a module. */
interface Translated {
  /** Its hot block. */
  readonly head: number;
  readonly region: Region;
  readonly code: RegionCode;
}

/** What has been done so far. */
export interface JitCounters {
  modules: number;
  /** Regions compiled, and the instructions and bytes of WebAssembly in them. */
  regions: number;
  instructions: number;
  bytes: number;
  /** Regions dropped for want of room, which were not used lately. */
  evicted: number;
  /** Times that all code was dropped on demand. */
  flushes: number;
}

/** Regions that are compiled together: a module alone costs more than its code. */
const BATCH = 48;
/**
 * A block that waits for the batch to fill says so each time after turns with about so many instructions; after so many words of that kind the batch is compiled as it is:
 * interpreting those has cost about what a module does.
 */
const PATIENCE = 4096;
const MOST_REPORTS = 16;
/** Below so many turns there is no waiting, and no looking closer: each block is compiled by itself. */
const EACH_BY_ITSELF = 24;
/** Bytes of memory that an engine takes for a byte of WebAssembly, about: machine code and what belongs to it. */
const EXPANSION = 12;
/** Part of the threshold for which a hot block and what it leads to are looked at more closely before they are compiled. */
const CLOSER = 1 / 16;
/** Part of those turns that a block must have gone to be compiled along with a hot one. */
const WARM = 1 / 4;
/**
 * Instructions from one turn of a block to the next, on average, from which on it is left to the interpreter: by then the host's caches have lost what compiled code needs, which is
 * several times as much as the interpreter does for the same instructions.
 */
const RARE = 65536;
/**
 * Times the threshold that code of a young engine takes. A kernel boots then, most of whose code soon has run for the last time, and compiling is dear: our own code has not been
 * compiled yet either, a tenth of a boot's CPU time. What is hot for good gets there in some milliseconds more.
 */
const YOUNG_TIMES = 8;
const YOUTH = 600e6;
/** Turns for which a block whose code is under way is not reported. */
const AWAITED_TURNS = 2 ** 30;
/** Times that the threshold of a page is doubled at most, for code that was written anew. */
const MOST_DOUBLINGS = 8;

/**
 * Modes whose blocks are compiled. Left out: single steps, virtual-8086 mode, alignment checks, and where an ENDBRANCH is due. A mode that comes to be later is not among
 * them until somebody has looked.
 */
const { LONG, CODE32, STACK32, PROTECTED, USER, IA32E, FLAT, LA57, X87, SSE, AVX, IBT, SUPPRESSED, SHADOW_STACK, MPX, BOUNDS } = Mode;
const MODES = LONG | CODE32 | STACK32 | PROTECTED | USER | IA32E | FLAT | LA57 | X87 | SSE | AVX | IBT | SUPPRESSED | SHADOW_STACK | MPX | BOUNDS;

/** Compiles hot blocks of an engine. */
export class Jit implements HotCode {
  readonly modes = MODES;
  readonly threshold: number;
  readonly countsAll: boolean;
  readonly counters: JitCounters = { modules: 0, regions: 0, instructions: 0, bytes: 0, evicted: 0, flushes: 0 };
  private readonly codeBytes: number;
  private readonly compiled: CompiledCode;
  private readonly excluded = new Set<number>();
  /** Heads of hot blocks that wait for a batch, and their modes. */
  private readonly queue = new Map<number, number>();
  /** Heads of blocks that have had their turns, and how many instructions had run by then. */
  private readonly trials = new Map<number, number>();
  /** Heads of blocks that have had their turns while the engine was young; null when it no longer is. */
  private young: Set<number> | null;
  private readonly youth: number;
  private reports = 0;
  private readonly library: FunctionLibrary;
  private readonly exits: ExitLog;
  private readonly returns: ReturnCache;
  private readonly waysOut: { readonly long: FunctionDefinition; readonly legacy: FunctionDefinition };
  private background: boolean;
  private readonly underWay = new ModulesUnderWay<Translated>();

  constructor(
    private readonly engine: Engine,
    options: JitOptions,
  ) {
    this.threshold = options.threshold ?? 16384;
    this.codeBytes = options.codeBytes ?? 128 << 20;
    this.background = options.background ?? false;
    this.countsAll = this.threshold < EACH_BY_ITSELF;
    this.youth = options.youth ?? (options.threshold === undefined ? YOUTH : 0);
    this.young = this.youth > 0 ? new Set() : null;
    if (!(this.threshold >= 1)) throw new JitError('bad-option', `threshold ${this.threshold}: give at least 1 turn`);
    this.exits = new ExitLog(engine.arena, this.threshold);
    this.returns = new ReturnCache(engine.arena);
    const wayOut = (isLong: boolean): FunctionDefinition => defineWayOut(this.exits, this.returns, engine.handlers.blockCache, isLong);
    this.waysOut = { long: wayOut(true), legacy: wayOut(false) };
    this.library = new FunctionLibrary(engine.arena.memory, engine.arena.shared, engine.handlers, new Set(Object.values(this.waysOut)));
    this.compiled = new CompiledCode(engine.arena, engine.handlers);
  }

  /** Memory that compiled code takes, about: what `codeBytes` bounds. It goes beyond that by a batch at most. */
  get heldBytes(): number {
    return this.compiled.bytes;
  }

  /** See {@link HotCode}. Pages that are written to again and again go back to the interpreter step by step. */
  turns(arenaPage: number): number {
    return this.threshold * 2 ** Math.min(this.compiled.losses(arenaPage), MOST_DOUBLINGS);
  }

  /** See {@link HotCode}. */
  hot(cpu: Vcpu, head: number): void {
    const { arena, handlers, cache } = this.engine;
    if (this.compiled.revive(head)) return;
    if (!this.countsAll && !isOpen(arena, head)) {
      if (this.isEarly(head) || this.isRare(head)) return;
      const mode = cpu.get32('mode');
      openFrom(arena, handlers, head, (host) => cache.find(host, mode));
      return grantTurns(arena, head, Math.ceil(this.threshold * CLOSER));
    }
    if (this.queue.has(head)) this.reports++;
    else this.queue.set(head, cpu.get32('mode'));
    grantTurns(arena, head, Math.min(Math.ceil(PATIENCE / arena.u16[(head + Record.RECORDS) >>> 1]!), this.threshold));
    if (this.queue.size >= BATCH || this.reports >= MOST_REPORTS || this.countsAll) this.compileQueue();
  }

  /** Whether a block has had its turns in a young engine, and counts on for the others. */
  private isEarly(head: number): boolean {
    const { young, engine } = this;
    if (young === null || this.trials.has(head)) return false;
    if (engine.retired >= this.youth) {
      // What would have been hot by now is so at its next turn.
      for (const other of young) if (engine.arena.i32[other >>> 2] === Slot.HEAD) cutTurns(engine.arena, other);
      this.young = null;
      return false;
    }
    if (young.delete(head)) return false;
    young.add(head);
    grantTurns(engine.arena, head, this.threshold * (YOUNG_TIMES - 1));
    return true;
  }

  /** Whether a block that has had its turns has them so seldom that compiled code would not pay; if so, or if that must be seen first, it counts on. Blocks that a hot one leads to are not asked. */
  private isRare(head: number): boolean {
    const trial = Math.ceil(this.threshold * CLOSER);
    const { retired } = this.engine;
    const since = this.trials.get(head);
    this.trials.delete(head);
    if (since !== undefined && retired - since < trial * RARE) return false;
    if (since === undefined) this.trials.set(head, retired);
    grantTurns(this.engine.arena, head, since === undefined ? trial : this.threshold);
    return true;
  }

  /** See {@link HotCode}. */
  dropped(arenaPage: number): void {
    for (const head of this.underWay.drop(arenaPage)) {
      // On the page itself it is stale; one on another page counts again.
      if (arenaPage >= 0 && this.engine.arena.i32[head >>> 2] === Slot.HEAD) countTurns(this.engine.arena, head, this.threshold);
    }
    if (arenaPage >= 0) return this.compiled.dropPage(arenaPage, this.threshold);
    this.queue.clear();
    this.trials.clear();
    this.young?.clear();
    this.exits.clear();
    this.returns.clear();
    this.compiled.clear(null);
  }

  /** Drops all compiled code; what is hot is compiled again. */
  flush(): void {
    this.counters.flushes++;
    for (const head of this.underWay.drop(-1)) countTurns(this.engine.arena, head, this.threshold);
    this.compiled.clear(this.threshold);
  }

  private isWarm(head: number): boolean {
    const { arena } = this.engine;
    const slot = arena.i32[head >>> 2]!;
    if (slot !== Slot.HEAD) return slot !== Slot.PASS;
    // In a region its turns are not counted.
    if (this.compiled.isMember(head)) return true;
    if (!this.countsAll) return turnsOf(arena, head) >= this.threshold * CLOSER * WARM;
    const turns = this.turns(arena.i32[(head + Record.HOST) >>> 2]! >>> 12);
    return turns - arena.i32[(head + Record.COUNTDOWN) >>> 2]! >= turns * WARM;
  }

  private compileQueue(): void {
    this.counters.evicted += this.compiled.makeRoom(this.codeBytes, this.threshold);
    this.exits.read();
    const { i32 } = this.engine.arena;
    const batch: Translated[] = [];
    const taken = new Set<number>();
    for (const [head, mode] of this.queue) {
      if (i32[head >>> 2] !== Slot.HEAD || taken.has(head)) continue;
      const translated = this.translate(head, mode);
      if (translated === null) i32[head >>> 2] = Slot.PASS;
      else {
        batch.push(translated);
        for (const block of translated.region.blocks) taken.add(block.head);
      }
    }
    this.queue.clear();
    this.reports = 0;
    if (batch.length > 0) this.compile(batch);
  }

  /** Writes the region of a hot block; null when nothing of it can be compiled. */
  private translate(head: number, mode: number): Translated | null {
    const { arena, handlers, cache } = this.engine;
    const host = arena.i32[(head + Record.HOST) >>> 2]! >>> 0;
    const source = {
      views: arena,
      handlers,
      excluded: this.excluded,
      isWarm: (other: number) => this.isWarm(other),
      blockAt: (at: number) => cache.find(at, mode),
      isFollowed: (link: number, other: number) => (mode & Mode.LONG) !== 0 && (this.exits.isFollowed(link) || isLoneReturn(arena, handlers, other)),
      isEntry: (other: number) => this.compiled.isEntry(other),
      targetsOf: (record: number) => this.exits.targetsOf(record, (mode & Mode.LONG) !== 0),
      jumpersTo: (at: number) => this.exits.jumpersTo(at),
    };
    for (;;) {
      const region = selectRegion(source, head, host % PAGE_BYTES);
      if (region === null) return null;
      try {
        const isLong = (mode & Mode.LONG) !== 0;
        const { code } = new Translator(region, arena, meanings, this.exits, isLong ? this.waysOut.long : this.waysOut.legacy, isLong);
        return { head, region, code };
      } catch (error) {
        if (!(error instanceof NotCompilable) || error.row < 0) throw error;
        this.excluded.add(error.row);
      }
    }
  }

  private compile(batch: readonly Translated[]): void {
    const { counters, library } = this;
    for (const { code } of batch) for (const target of code.called.values()) library.provide(target);
    const functions = batch.map(({ code }, i) => ({ name: `region${i}`, signature: code.signature, code }));
    const bytes = buildModule({ frame: library.frame, functions, included: () => false });
    counters.modules++;
    counters.bytes += bytes.length;
    const share = (bytes.length * EXPANSION) / batch.length;
    const ready = this.compileNow(bytes);
    if (ready !== null) return this.install(batch.entries(), ready, share);
    for (const { head } of batch) grantTurns(this.engine.arena, head, AWAITED_TURNS);
    this.underWay.compile(bytes, batch, (module, present) => this.install(present, module, share));
  }

  /** The module at once; null where that is not wanted, or not allowed. Engines check it then, and make code of a function when it first runs. */
  private compileNow(bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module | null {
    if (this.background) return null;
    try {
      return new WebAssembly.Module(bytes);
    } catch {
      this.background = true;
      return null;
    }
  }

  /** Puts regions of a module into force, each by its number in the module. */
  private install(batch: Iterable<[number, Translated]>, module: WebAssembly.Module, share: number): void {
    const { exports } = new WebAssembly.Instance(module, this.library.imports);
    for (const [i, { region }] of batch) {
      this.counters.regions++;
      this.counters.instructions += region.instructions;
      this.compiled.install(region, exports[`region${i}`]!, share, this.threshold);
    }
  }
}

/** Gives an engine a JIT: hot code of all its vCPUs is compiled from now on. */
export function attachJit(engine: Engine, options: JitOptions = {}): Jit {
  const jit = new Jit(engine, options);
  engine.attach(jit);
  return jit;
}
