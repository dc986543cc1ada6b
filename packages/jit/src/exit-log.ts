import { Record, Slot } from '@nestvm/cpu/compiling';
import { type Code, defineFunction, type Val } from '@nestvm/emit';
import type { ArenaViews } from './arena-views.js';

const ENTRIES = 1024;
const ENTRY_SHIFT = 4;
/** An entry: the record of what left, how far from the start of its page it led, and how often. */
const RECORD = 0;
const DELTA = 4;
const COUNT = 8;
const PAGE_BYTES = 4096;
/** In place of a distance: the interpreter had to do the instruction. */
const GAVE_UP = PAGE_BYTES;
/** …or the link of a jump to another page was followed. */
const FAR = PAGE_BYTES + 1;
/** Times, in those after which other ways are reported, after which the code of another page is worth having twice. */
const FAR_FACTOR = 16;

/** Where an arena's memory is had from. */
export interface LogHome extends ArenaViews {
  allocate(name: string, bytes: number, alignment?: number): number;
}

function add(map: Map<number, number[]>, key: number, value: number): void {
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
  private readonly logExit = defineFunction('logExit', { params: ['i32', 'i32', 'i32', 'i32'], results: [] }, (code) => this.writeLog(code));
  private readonly known = new Map<number, number[]>();
  /** Heads of the blocks that jumped somewhere, by the arena offset of where. */
  private readonly jumpers = new Map<number, number[]>();
  private readonly givenUp = new Set<number>();
  private readonly far = new Set<number>();

  constructor(
    private readonly home: LogHome,
    /** Times after which a way out of a region is reported. */
    private readonly reported: number,
  ) {
    this.address = home.allocate('exits of compiled code', ENTRIES << ENTRY_SHIFT, 64);
  }

  /**
   * Writes the code that remembers a jump out of a region that was entered at a head. A way that was gone so often that the region would better hold its target has that
   * head reported as hot.
   */
  writeJump(code: Code, record: Val<32>, delta: Val<32>, entered: Val<32>): void {
    code.if(delta.ltU(PAGE_BYTES), () => this.write(code, record, delta, entered));
  }

  /** Writes the code that remembers an instruction which is left to the interpreter; the region is compiled anew when one is so often. */
  writeGivenUp(code: Code, record: Val<32>, entered: Val<32>): void {
    this.write(code, record, code.constant(32, GAVE_UP), entered);
  }

  /** Writes the code that remembers a jump to another page by its link's address; the region is compiled anew, with what is there, when it is gone very often. */
  writeFar(code: Code, link: Val<32>, entered: Val<32>): void {
    this.write(code, link, code.constant(32, FAR), entered, this.reported * FAR_FACTOR);
  }

  private write(code: Code, record: Val<32>, delta: Val<32>, entered: Val<32>, times = this.reported): void {
    code.run(this.logExit, record, delta, entered, code.constant(32, times));
  }

  /** Counts a way out: (record, distance, head that the region was entered at, times after which that head is reported as hot). */
  private writeLog(c: Code): void {
    const [record, delta, entered, times] = [c.param(0, 32), c.param(1, 32), c.param(2, 32), c.param(3, 32)];
    const entry = record
      .shrU(5)
      .xor(delta)
      .and(ENTRIES - 1)
      .shl(ENTRY_SHIFT);
    const at = (field: number): Val<32> => c.load('i32.load', 32, entry, this.address + field);
    const put = (field: number, value: Val<32>): void => c.store('i32.store', entry, value, this.address + field);
    const isSame = at(RECORD).eq(record).and(at(DELTA).eq(delta));
    const count = c.choose(
      isSame,
      32,
      () => at(COUNT).add(1),
      () => c.constant(32, 0),
    );
    put(RECORD, record);
    put(DELTA, delta);
    put(COUNT, count);
    c.if(count.eq(times), () => {
      c.store('i32.store', entered, c.constant(32, Slot.HEAD), Record.HANDLER);
      c.store('i32.store', entered, c.constant(32, 1), Record.COUNTDOWN);
    });
  }

  /** Reads what has been remembered so far. */
  read(): void {
    const { i32 } = this.home;
    this.known.clear();
    this.jumpers.clear();
    for (let at = this.address >>> 2; at < (this.address + (ENTRIES << ENTRY_SHIFT)) >>> 2; at += 1 << (ENTRY_SHIFT - 2)) {
      const [record, delta, count] = [i32[at]!, i32[at + DELTA / 4]!, i32[at + COUNT / 4]!];
      if (record === 0) continue;
      if (delta < PAGE_BYTES) this.readJump(record, delta);
      else if (delta === GAVE_UP && count >= this.reported) this.givenUp.add(record);
      else if (delta === FAR && count >= this.reported * FAR_FACTOR) this.far.add(record);
    }
  }

  private readJump(record: number, delta: number): void {
    const { i32, u8 } = this.home;
    add(this.known, record, delta);
    const head = record - (u8[record + Record.INDEX]! + 1) * Record.BYTES;
    const host = i32[(head + Record.HOST) >>> 2]! >>> 0;
    add(this.jumpers, host - (host % PAGE_BYTES) + delta, head);
  }

  /** Heads of blocks in the page that jumped to an arena offset; some may have gone. */
  jumpersTo(host: number): readonly number[] {
    return this.jumpers.get(host) ?? [];
  }

  /** Offsets in its page that a jump led to lately, as of the last `read`. */
  targetsOf(record: number): readonly number[] {
    return this.known.get(record) ?? [];
  }

  /** Forgets everything: records have gone. */
  clear(): void {
    this.home.i32.fill(0, this.address >>> 2, (this.address + (ENTRIES << ENTRY_SHIFT)) >>> 2);
    this.givenUp.clear();
    this.far.clear();
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
