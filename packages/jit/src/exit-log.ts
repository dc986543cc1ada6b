import { Record, Slot } from '@nestvm/cpu/compiling';
import { type Code, defineFunction, type Val } from '@nestvm/emit';
import { vcpuState } from '@nestvm/isa';
import type { ArenaViews } from './arena-views.js';

const ENTRIES = 1024;
const ENTRY_SHIFT = 5;
/** An entry: the record, or link, of what left, where in the arena it led, and how often; and how far that is from the start of its page. */
const RECORD = 0;
const WHERE = 4;
const COUNT = 8;
const DELTA = 16;
const PAGE_BYTES = 4096;
/** In place of where it led: the interpreter had to do the instruction. */
const GAVE_UP = 0;
/** …or the link of a jump to another page was followed. */
const FAR = 1;
/** …or that of one in its page, to code that is not in the region. */
const LINKED = 2;
/** Times, in those after which jumps in a page are reported, after which links in a page are: where they lead is compiled already. */
const LINK_FACTOR = 4;
/** …and after which the code of another page is worth having twice. */
const FAR_FACTOR = 16;
/** Of so many jumps out of regions one is remembered, and stands for all of them; with low thresholds each is. */
const SAMPLE_BITS = 4;
/** Spreads what is left of the budget, which loops use up at regular steps. */
const SPREAD = 0x9e3779b1 | 0;
/** Places on other pages that one jump is known to lead to. */
const MOST_FAR = 4;

/** A place that an indirect jump was seen to lead to. */
export interface Target {
  /** Its arena offset. */
  readonly host: number;
  /** How far it is from the start of the page of the jump. */
  readonly delta: number;
}

/** Where an arena's memory is had from. */
export interface LogHome extends ArenaViews {
  readonly u32: Uint32Array;
  allocate(name: string, bytes: number, alignment?: number): number;
}

function add<T>(map: Map<number, T[]>, key: number, value: T): void {
  const those = map.get(key);
  if (those === undefined) map.set(key, [value]);
  else those.push(value);
}

/**
 * Where compiled code's indirect jumps led when they left it, and which instructions it left to the interpreter: what is compiled next goes there without a look-up, or
 * carries them out at the price of longer code. Entries overwrite each other.
 */
export class ExitLog {
  private readonly address: number;
  /** Jumps that each one which is remembered stands for. */
  private readonly weight: number;
  private readonly logExit = defineFunction('logExit', { params: ['i32', 'i32', 'i64', 'i32', 'i32'], results: [] }, (code) => this.writeLog(code));
  private readonly known = new Map<number, Target[]>();
  /** The same on other pages, which is kept: code that has been compiled with a jump's target jumps there no more. */
  private readonly knownFar = new Map<number, Target[]>();
  /** Heads of the blocks that jumped somewhere, by the arena offset of where. */
  private readonly jumpers = new Map<number, number[]>();
  private readonly givenUp = new Set<number>();
  private readonly far = new Set<number>();

  constructor(
    private readonly home: LogHome,
    /** Times after which a way out of a region is reported. */
    private readonly reported: number,
  ) {
    this.weight = reported < 1 << (2 * SAMPLE_BITS) ? 1 : 1 << SAMPLE_BITS;
    this.address = home.allocate('exits of compiled code', ENTRIES << ENTRY_SHIFT, 64);
  }

  /**
   * Writes the code that remembers a jump out of a region that was entered at a head. A way that was gone so often that the region would better hold its target has that
   * head reported as hot. Returns to other pages are not worth it: callers take along what they call.
   */
  writeJump(
    code: Code,
    jump: { readonly record: Val<32>; readonly host: Val<32>; readonly delta: Val<64>; readonly isReturn: Val<32>; readonly entered: Val<32> },
  ): void {
    const { record, host, delta, isReturn, entered } = jump;
    const isNear = delta.ltU(PAGE_BYTES);
    const times = code.select(isNear, code.constant(32, this.reported), code.constant(32, this.reported * FAR_FACTOR));
    code.if(isNear.or(isReturn.isZero()), () => code.run(this.logExit, record, host, delta, entered, times));
  }

  /** Writes code that is run for one jump in so many, as each counts for. */
  sampled(code: Code, cpu: Val<32>, write: () => void): void {
    if (this.weight === 1) return write();
    const drawn = code.load('i32.load', 32, cpu, vcpuState.offset.budget).mul(SPREAD);
    code.rarely(drawn.ltU(1 << (32 - SAMPLE_BITS)), write);
  }

  /** Writes the code that remembers an instruction which is left to the interpreter; the region is compiled anew when one is so often. */
  writeGivenUp(code: Code, record: Val<32>, entered: Val<32>): void {
    this.write(code, record, GAVE_UP, entered, this.reported);
  }

  /** Writes the code that remembers a jump to another page by its link's address; the region is compiled anew, with what is there, when it is gone very often. */
  writeFar(code: Code, link: Val<32>, entered: Val<32>): void {
    this.write(code, link, FAR, entered, this.reported * FAR_FACTOR);
  }

  /** Writes the code that remembers a jump in the page to code that is not in the region, by its link's address: it was cold when the region was compiled. */
  writeLink(code: Code, link: Val<32>, entered: Val<32>): void {
    this.write(code, link, LINKED, entered, this.reported * LINK_FACTOR);
  }

  private write(code: Code, record: Val<32>, where: number, entered: Val<32>, times: number): void {
    code.run(this.logExit, record, code.constant(32, where), code.constant(64, 0), entered, code.constant(32, times));
  }

  /** Counts a way out: (record, where it led, distance, head that the region was entered at, times after which that head is reported as hot). */
  private writeLog(c: Code): void {
    const [record, where, delta, entered, times] = [c.param(0, 32), c.param(1, 32), c.param(2, 64), c.param(3, 32), c.param(4, 32)];
    const entry = record
      .shrU(5)
      .xor(where)
      .and(ENTRIES - 1)
      .shl(ENTRY_SHIFT);
    const at = (field: number): Val<32> => c.load('i32.load', 32, entry, this.address + field);
    const put = (field: number, value: Val<32>): void => c.store('i32.store', entry, value, this.address + field);
    const isSame = at(RECORD).eq(record).and(at(WHERE).eq(where));
    const weight = c.select(where.gtU(GAVE_UP), c.constant(32, this.weight), c.constant(32, 1));
    const before = c.select(isSame, at(COUNT), c.constant(32, 0));
    const count = before.add(weight);
    put(RECORD, record);
    put(WHERE, where);
    put(COUNT, count);
    c.store('i64.store', entry, delta, this.address + DELTA);
    c.if(before.ltU(times).and(count.geU(times)), () => {
      c.store('i32.store', entered, c.constant(32, Slot.HEAD), Record.HANDLER);
      c.store('i32.store', entered, c.constant(32, 1), Record.COUNTDOWN);
    });
  }

  /** Reads what has been remembered so far. */
  read(): void {
    const { i32, u32 } = this.home;
    this.known.clear();
    this.jumpers.clear();
    for (let at = this.address >>> 2; at < (this.address + (ENTRIES << ENTRY_SHIFT)) >>> 2; at += 1 << (ENTRY_SHIFT - 2)) {
      const [record, where, count] = [i32[at]!, u32[at + WHERE / 4]!, i32[at + COUNT / 4]!];
      if (record === 0) continue;
      if (where > LINKED) this.readJump(record, { host: where, delta: i32[at + DELTA / 4 + 1]! * 2 ** 32 + u32[at + DELTA / 4]! }, count);
      else if (where === GAVE_UP && count >= this.reported) this.givenUp.add(record);
      else if (where === FAR && count >= this.reported * FAR_FACTOR) this.far.add(record);
    }
  }

  private readJump(record: number, target: Target, count: number): void {
    if (target.delta >= 0 && target.delta < PAGE_BYTES) {
      add(this.known, record, target);
      add(this.jumpers, target.host, record - (this.home.u8[record + Record.INDEX]! + 1) * Record.BYTES);
    } else if (count >= this.reported * FAR_FACTOR) {
      const those = this.knownFar.get(record) ?? [];
      if (those.length < MOST_FAR && !those.some(({ host, delta }) => host === target.host && delta === target.delta))
        add(this.knownFar, record, target);
    }
  }

  /** Heads of blocks in the page that jumped to an arena offset; some may have gone. */
  jumpersTo(host: number): readonly number[] {
    return this.jumpers.get(host) ?? [];
  }

  /** Where in its page a jump led to lately, as of the last `read`, and where on other pages it led to very often if that is wanted. */
  targetsOf(record: number, withFar: boolean): readonly Target[] {
    return [...(this.known.get(record) ?? []), ...((withFar && this.knownFar.get(record)) || [])];
  }

  /** Forgets everything: records have gone. */
  clear(): void {
    this.home.i32.fill(0, this.address >>> 2, (this.address + (ENTRIES << ENTRY_SHIFT)) >>> 2);
    this.givenUp.clear();
    this.far.clear();
    this.knownFar.clear();
  }

  /** Whether the jump to another page with a link at an address was gone very often. */
  isFollowed(link: number): boolean {
    return this.far.has(link);
  }

  /** Whether the interpreter had to do an instruction often. */
  isGivenUp(record: number): boolean {
    return this.givenUp.has(record);
  }
}
