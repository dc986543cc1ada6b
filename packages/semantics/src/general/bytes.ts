import { type Code, defineFunction, type FunctionDefinition, type IntWidth, LOAD, STORE, type Val, type Variable } from '@nestvm/emit';

const I32 = 'i32' as const;
const I64 = 'i64' as const;
const VECTOR = 16;
const STEP = 4 * VECTOR;
/** Vectors that one turn of a search looks at. */
const SEARCHED = [...Array(8).keys()].map((i) => i * VECTOR);
const SEARCH_STEP = SEARCHED.length * VECTOR;
const SHAPE = { 8: 'i8x16', 16: 'i16x8', 32: 'i32x4', 64: 'i64x2' } as const;
/** Up to here a few vectors are moved sooner than a function of the engine is called that moves any number of bytes. */
const FEW = 256;

type Size = IntWidth | 128;
/** What goes to `at` bytes, and a fixed number more, behind the start. */
type Source = (size: Size, at: Val<32>, more?: number) => Val<Size>;

/** Fewer than two of the largest size that fits: its first and its last bytes, which may lie over each other; both are taken before one of them is written. */
function moveEnds(c: Code, target: Val<32>, length: Val<32>, source: Source): void {
  for (const size of [64, 32, 16] as const) {
    c.if(length.geU(size / 8), () => {
      const end = length.sub(size / 8);
      const [first, last] = [source(size, c.constant(32, 0)), source(size, end)];
      c.store(STORE[size], target, first);
      c.store(STORE[size], target.add(end), last);
      c.return();
    });
  }
  c.if(length, () => c.store(STORE[8], target, source(8, c.constant(32, 0))));
}

/** 16 bytes and more, upwards; the last ones may lie over those before, and are taken at the start. */
function moveVectors(c: Code, target: Val<32>, length: Val<32>, source: Source): void {
  const end = length.sub(VECTOR);
  const last = source(128, end);
  const at = c.variable(c.constant(32, 0));
  const move = (from: Val<32>, offsets: readonly number[]): void => {
    const vectors = offsets.map((offset) => ({ offset, value: source(128, from, offset) }));
    for (const { offset, value } of vectors) c.store(STORE[128], target.add(from), value, offset);
  };
  c.block((leave) => {
    leave(length.ltU(STEP));
    const steps = length.sub(STEP);
    c.loop((again) => {
      const from = at.get();
      move(from, [0, VECTOR, 2 * VECTOR, 3 * VECTOR]);
      at.set(from.add(STEP));
      again(at.get().leU(steps));
    });
  });
  c.while(
    () => at.get().ltU(end),
    () => {
      move(at.get(), [0]);
      at.set(at.get().add(VECTOR));
    },
  );
  c.store(STORE[128], target.add(end), last);
}

/** Bytes by which processors tell loads from the stores before them; a store this little above a load, by the lower bits of their addresses, holds it up. */
const [ALIAS_MASK, ALIAS_BYTES] = [4095, 63];

/** The same downwards, four vectors at a time as long as there are four: no load waits for a store just before it. The rest, and 16 bytes at least, go upwards. */
function moveDownwards(c: Code, target: Val<32>, source: Val<32>, left: Variable<32>): void {
  c.while(
    () => left.get().geU(STEP + VECTOR),
    () => {
      const at = left.get().sub(STEP);
      left.set(at);
      const vectors = [3, 2, 1, 0].map((i) => ({ i, value: c.load(LOAD[128], 128, source.add(at), VECTOR * i) }));
      for (const { i, value } of vectors) c.store(STORE[128], target.add(at), value, VECTOR * i);
    },
  );
}

/** Copies bytes that do not lie over each other, or to below where they are: (target, source, length). */
export const COPY_BYTES = defineFunction('copyBytes', { params: [I32, I32, I32], results: [] }, (c) => {
  const [target, source, length] = [c.param(0, 32), c.param(1, 32), c.param(2, 32)];
  const from: Source = (size, at, more) => c.load(LOAD[size], size, source.add(at), more);
  c.if(length.ltU(VECTOR), () => {
    moveEnds(c, target, length, from);
    c.return();
  });
  const left = c.variable(length);
  c.if(length.gtU(FEW), () => {
    const distance = target.sub(source);
    const isHeldUp = distance.sub(1).and(ALIAS_MASK).ltU(ALIAS_BYTES).and(distance.geU(length)).and(distance.neg().geU(length));
    c.if(isHeldUp.isZero(), () => {
      c.copyMemory(target, source, length);
      c.return();
    });
    moveDownwards(c, target, source, left);
  });
  moveVectors(c, target, left.get(), from);
});

/** Copies bytes to above where they are one by one, so that those between source and target repeat: (target, source, length). */
export const REPEAT_BYTES = defineFunction('repeatBytes', { params: [I32, I32, I32], results: [] }, (c) => {
  const [target, source, length] = [c.param(0, 32), c.param(1, 32), c.param(2, 32)];
  const done = c.variable(c.constant(32, 0));
  const period = c.variable(target.sub(source));
  c.loop((again) => {
    // All from the source to here repeats already: a whole number of times.
    const left = length.sub(done.get());
    const next = c.select(left.ltU(period.get()), left, period.get());
    c.copyMemory(target.add(done.get()), source, next);
    done.set(done.get().add(next));
    period.set(period.get().add(next));
    again(done.get().ltU(length));
  });
});

/** Fills memory with eight bytes, again and again; a length that ends inside of them is one with which they repeat: (target, pattern, length). */
export const FILL_BYTES = defineFunction('fillBytes', { params: [I32, I64, I32], results: [] }, (c) => {
  const [target, pattern, length] = [c.param(0, 32), c.param(1, 64), c.param(2, 32)];
  c.if(length.ltU(VECTOR), () => {
    moveEnds(c, target, length, (size) => (size === 64 ? pattern : pattern.trunc(size as 32)));
    c.return();
  });
  const byte = pattern.trunc(8).as(32);
  c.if(length.gtU(FEW).and(pattern.eq(byte.zext(64).mul(0x0101010101010101n))), () => {
    c.fillMemory(target, byte, length);
    c.return();
  });
  const vector = c.op('i64x2.splat', 128, pattern);
  moveVectors(c, target, length, () => vector);
});

/** What a repeated comparison looks for, and with what it compares. */
export interface Search {
  /** The first elements that are equal, or that are not. */
  readonly isForEqual: boolean;
  /** Bits of an element. */
  readonly width: IntWidth;
  /** With bytes at another address, or else with an element. */
  readonly hasOther: boolean;
}

class Searcher {
  private readonly memory: Val<32>;
  private readonly length: Val<32>;
  private readonly pattern: Val<128> | null;

  constructor(
    private readonly c: Code,
    private readonly search: Search,
  ) {
    this.memory = c.param(0, 32);
    this.length = c.param(1, 32);
    this.pattern = search.hasOther ? null : c.op(`${SHAPE[search.width]}.splat`, 128, c.param(2, search.width));
  }

  /** Not zero where an element ends the search. */
  private ends(at: Val<32>, offset: number): Val<128> {
    const { c, search } = this;
    const here = c.load(LOAD[128], 128, this.memory.add(at), offset);
    const other = this.pattern ?? c.load(LOAD[128], 128, c.param(2, 32).add(at), offset);
    return search.isForEqual ? c.op(`${SHAPE[search.width]}.eq`, 128, here, other) : c.op('v128.xor', 128, here, other);
  }

  /** Bits of the bytes that end it. */
  private bits(ends: Val<128>): Val<32> {
    const { c } = this;
    return c.op('i8x16.bitmask', 32, this.search.isForEqual ? ends : c.op('i8x16.ne', 128, ends, c.constant128(new Uint8Array(VECTOR))));
  }

  /** Returns if one of 16 bytes is found. */
  private returnFound(at: Val<32>): void {
    const mask = this.bits(this.ends(at, 0));
    this.c.if(mask, () => this.c.return(at.add(mask.ctz())));
  }

  /** Goes over the elements one by one. */
  private oneByOne(at: Variable<32>): void {
    const { c, search } = this;
    const { width } = search;
    c.loop((again) => {
      const here = c.load(LOAD[width], width, this.memory.add(at.get()));
      const other = search.hasOther ? c.load(LOAD[width], width, c.param(2, 32).add(at.get())) : c.param(2, width);
      c.if(search.isForEqual ? here.eq(other) : here.ne(other), () => c.return(at.get()));
      at.set(at.get().add(width / 8));
      again(at.get().ltU(this.length));
    });
    c.return(this.length);
  }

  /** Many vectors a turn, from one that lies at a multiple of its size in memory where elements do. */
  private turns(at: Variable<32>): void {
    const { c, length, search } = this;
    const skip = c
      .constant(32, 0)
      .sub(this.memory)
      .and(VECTOR - 1);
    c.block((leave) => {
      leave(length.ltU(SEARCH_STEP + VECTOR));
      this.returnFound(at.get());
      at.set(search.width === 8 ? skip : c.select(skip.and(search.width / 8 - 1), at.get(), skip));
      const steps = length.sub(SEARCH_STEP);
      c.loop((again) => {
        const ends = SEARCHED.map((offset) => this.ends(at.get(), offset)).reduce((a, b) => c.op('v128.or', 128, a, b));
        leave(search.isForEqual ? this.bits(ends) : c.op('v128.any_true', 32, ends));
        at.set(at.get().add(SEARCH_STEP));
        again(at.get().leU(steps));
      });
    });
  }

  write(): void {
    const { c, length } = this;
    const at = c.variable(c.constant(32, 0));
    c.if(length.ltU(VECTOR), () => this.oneByOne(at));
    this.turns(at);
    const last = length.sub(VECTOR);
    c.while(
      () => at.get().ltU(last),
      () => {
        this.returnFound(at.get());
        at.set(at.get().add(VECTOR));
      },
    );
    // What of these was looked at already is not it.
    this.returnFound(last);
    c.return(length);
  }
}

const searches = new Map<string, FunctionDefinition>();

/** The function that searches: (memory, length, other address or element) → byte offset of the first element that is found, or of its first byte that differs; the length if there is none. */
export function searchFunction(search: Search): FunctionDefinition {
  const { isForEqual, width, hasOther } = search;
  const name = `search${isForEqual ? 'Equal' : 'Other'}${width}${hasOther ? 'Here' : 'Element'}`;
  let known = searches.get(name);
  if (known === undefined) {
    const other = !hasOther && width === 64 ? I64 : I32;
    known = defineFunction(name, { params: [I32, I32, other], results: [I32] }, (c) => new Searcher(c, search).write());
    searches.set(name, known);
  }
  return known;
}
