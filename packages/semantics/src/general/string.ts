import type { IntWidth, Val, Variable } from '@nestvm/emit';
import { Gpr, Mode, Segment } from '@nestvm/isa';
import type { Context } from '../context.js';
import type { Emitter, Meanings } from '../emitter.js';
import { operandWidth } from '../operand.js';

/** Elements after which a repeated instruction lets events in. */
const TURNS = 4096;
/**
 * Elements up to the end of a page count as this many together, where they can be carried out at once. Whether they are depends on what the TLB holds, and the guest must not see that: so do
 * those that go one by one.
 */
const RUN_COST = 128;

interface StringOperation {
  readonly width: IntWidth;
  /** rSI and rDI at the address size, as 64 bits. */
  source(): Val<64>;
  target(): Val<64>;
  /** Linear addresses of the current elements. */
  sourceLinear(access?: 0 | 1): Val<64>;
  targetLinear(access: 0 | 1): Val<64>;
  /** Moves rSI or rDI by one element. */
  advance(register: number): void;
}

function operation(x: Context): StringOperation {
  const { addressSize, row, operandSize } = x.facts;
  const spec = row.operands.find((o) => o.method === 'X' || o.method === 'Y');
  const width = operandWidth(spec?.type ?? 'b', operandSize);
  const bytes = width / 8;
  const read = (register: number): Val<64> => x.gpr(addressSize, register).zext(64);
  return {
    width,
    source: () => read(Gpr.RSI),
    target: () => read(Gpr.RDI),
    sourceLinear: () => x.linear(read(Gpr.RSI), bytes, 0),
    targetLinear: (access) =>
      x.facts.stackSegment === 'none' ? read(Gpr.RDI) : x.engine.checkSegment(x, x.const(32, Segment.ES), read(Gpr.RDI).trunc(32), bytes, access),
    advance: (register) => {
      // +bytes, or -bytes with DF (bit 10).
      const delta = x.const(32, bytes).sub(
        x
          .get32('rflags')
          .shrU(10)
          .and(1)
          .mul(2 * bytes),
      );
      const value: Val<IntWidth> = addressSize === 64 ? delta.sext(64) : delta;
      x.setGpr(
        addressSize,
        register,
        (addressSize === 16
          ? x
              .gpr(16, register)
              .as(32)
              .add(value as Val<32>)
              .trunc(16)
          : (x.gpr(addressSize, register) as Val<64>).add(value as Val<64>)) as Val<IntWidth>,
      );
    },
  };
}

/** What a run of elements does at its end: given their number, it goes on with the rest, or ends the instruction. */
type Done = (count: Val<64>) => void;
/** What the next element counts as if it goes alone. */
type Cost = Variable<32>;
/** Gives a run up, with nothing changed. */
type GiveUp = (condition: Val<32>) => void;

/** How elements are carried out at once, those that are inside of one page on each side. */
interface Bulk {
  /** How many of `count` elements are. */
  inPage(x: Context, s: StringOperation, count: Val<64>): Val<64>;
  carryOut(x: Context, s: StringOperation, elements: Val<64>, giveUp: GiveUp): void;
}

/** What is tried in front of each element: rCX, what the element counts as, `done` for who has carried out all of a run, and `next` for who has passed over some of it. */
interface Attempt {
  readonly count: Val<64>;
  readonly cost: Cost;
  readonly done: Done;
  readonly next: (elements: Val<64>) => void;
}

/** Repeats one restartable element while rCX lasts; `step` gives the condition to stop early, if it has one. */
function repeated(x: Context, step: () => Val<32> | null, attempt?: (attempt: Attempt) => void): void {
  const { code } = x;
  const { addressSize } = x.facts;
  const count = (): Val<64> => x.gpr(addressSize, Gpr.RCX).zext(64);
  const setCount = (v: Val<64>): void => x.setGpr(addressSize, Gpr.RCX, v.trunc(addressSize) as Val<IntWidth>);
  const single = x.get32('mode').and(Mode.ELEMENT);
  const turns = code.variable(code.select(single, x.const(32, 1), x.const(32, TURNS)));
  code.block((leave) => {
    leave(count().isZero());
    const cost = code.variable(x.const(32, 1));
    code.loop((again) => {
      if (attempt) {
        cost.set(x.const(32, 1));
        const pass = (elements: Val<64>): void => setCount(count().sub(elements));
        const done = (elements: Val<64>): void => {
          pass(elements);
          leave(count().isZero());
          turns.set(turns.get().sub(RUN_COST));
          again(turns.get().gtS(0));
          x.engine.repeat(x);
        };
        const next = (elements: Val<64>): void => {
          pass(elements);
          again();
        };
        code.if(single.isZero(), () => attempt({ count: count(), cost, done, next }));
      }
      const stop = step();
      setCount(count().sub(1));
      if (stop) leave(stop);
      leave(count().isZero());
      turns.set(turns.get().sub(cost.get()));
      again(turns.get().gtS(0));
      x.engine.repeat(x);
    });
  });
}

/** A string instruction: once, or repeated by its prefix. */
function stringInstruction(step: (x: Context, s: StringOperation) => void, options: { bulk?: Bulk; compared?: Compared } = {}): Emitter {
  return (x) => {
    const s = operation(x);
    const { rep } = x.facts;
    if (rep === 0) return step(x, s);
    const { bulk, compared } = options;
    // Whole pages at once only where linear addresses are offsets, and no element can be misaligned.
    const { stackSegment, segment, addressSize, aligned } = x.facts;
    const fast = stackSegment === 'none' && segment !== 'checked' && addressSize !== 16 && !aligned;
    if (fast && bulk && x.engine.onlyWhole) return whole(x, s, bulk);
    const attempt = bulk ? (attempt: Attempt) => run(x, s, bulk, attempt) : compared && ((attempt: Attempt) => passOver(x, s, compared, attempt));
    repeated(
      x,
      () => {
        step(x, s);
        if (!compared) return null;
        return rep === 1 ? x.flags.zf().xor(1) : x.flags.zf();
      },
      fast ? attempt : undefined,
    );
  };
}

const DIRECTION = 1 << 10;

/** Elements that fit before the page ends, at most `count`. */
function elementsInPage(x: Context, linear: Val<64>, bytes: number, count: Val<64>): Val<64> {
  const room = x.const(64, 4096).sub(linear.and(4095)).shrU(Math.log2(bytes));
  return x.code.select(count.ltU(room), count, room);
}

/** Falls through to a run of `n` elements when that is worth it; the last element of a run counts for all of it. */
function beginRun(x: Context, n: Val<64>, cost: Cost, leave: (condition: Val<32>) => void): void {
  const isLast = n.ltU(2);
  cost.set(x.code.select(isLast, x.const(32, RUN_COST), x.const(32, 0)));
  leave(isLast);
}

/** Carries out a run of at most `count` elements and calls `done`, or falls through when it must go element by element. */
function run(x: Context, s: StringOperation, bulk: Bulk, { count, cost, done }: Attempt): void {
  x.code.block((leave) => {
    leave(x.get32('rflags').and(DIRECTION));
    const n = bulk.inPage(x, s, count);
    beginRun(x, n, cost, leave);
    bulk.carryOut(x, s, n, leave);
    done(n);
  });
}

/** The instruction as one run; unless it is one, the engine has it carried out otherwise, from its start. */
function whole(x: Context, s: StringOperation, bulk: Bulk): void {
  const { addressSize } = x.facts;
  const giveUp: GiveUp = (condition) => x.code.if(condition, () => x.engine.system(x));
  const count = x.gpr(addressSize, Gpr.RCX).zext(64);
  giveUp(
    x
      .get32('rflags')
      .and(DIRECTION)
      .or(bulk.inPage(x, s, count).ltU(count)),
  );
  bulk.carryOut(x, s, count, giveUp);
  x.setGpr(addressSize, Gpr.RCX, x.const(addressSize as IntWidth, 0));
}

/** MOVS: memory.copy. */
const moved: Bulk = {
  inPage: (x, s, count) => elementsInPage(x, s.targetLinear(1), s.width / 8, elementsInPage(x, s.sourceLinear(), s.width / 8, count)),
  carryOut: (x, s, elements, giveUp) => {
    const source = x.engine.hostAddress(x, s.sourceLinear(), 0);
    giveUp(source.isZero());
    const target = x.engine.hostAddress(x, s.targetLinear(1), 1);
    giveUp(target.isZero());
    const length = elements.trunc(32).mul(s.width / 8);
    // A target just above its source repeats a pattern: that needs element order.
    giveUp(target.sub(source).ltU(length));
    x.code.copyMemory(target, source, length);
    move(x, Gpr.RSI, length);
    move(x, Gpr.RDI, length);
  },
};

function move(x: Context, register: number, length: Val<32>): void {
  const { addressSize } = x.facts;
  const moved = x.gpr(addressSize, register).zext(64).add(length.zext(64));
  x.setGpr(addressSize, register, moved.trunc(addressSize) as Val<IntWidth>);
}

/** STOS: memory.fill for bytes and for patterns of one byte, else a loop of stores. */
const stored: Bulk = {
  inPage: (x, s, count) => elementsInPage(x, s.targetLinear(1), s.width / 8, count),
  carryOut: (x, s, elements, giveUp) => {
    const { code, engine } = x;
    const bytes = s.width / 8;
    const target = engine.hostAddress(x, s.targetLinear(1), 1);
    giveUp(target.isZero());
    const length = elements.trunc(32).mul(bytes);
    const value = x.gpr(s.width, Gpr.RAX);
    const fill = value.trunc(8).as(32);
    if (bytes === 1) code.fillMemory(target, fill, length);
    else {
      const pattern = s.width === 64 ? fill.zext(64).mul(0x0101010101010101n) : fill.mul(0x01010101).trunc(s.width);
      code.if(
        value.eq(pattern as Val<IntWidth>),
        () => code.fillMemory(target, fill, length),
        () => {
          const at = code.variable(target);
          const end = target.add(length);
          code.while(
            () => at.get().ltU(end),
            () => {
              code.store(s.width === 64 ? 'i64.store' : s.width === 32 ? 'i32.store' : 'i32.store16', at.get(), value);
              at.set(at.get().add(bytes));
            },
          );
        },
      );
    }
    move(x, Gpr.RDI, length);
  },
};

/** What a repeated comparison compares with the elements at rDI, eight bytes at once. */
interface Compared {
  /** The other elements are at rSI. */
  readonly moves: boolean;
  /** Eight bytes of what is compared with: at an address, or a pattern that is the same everywhere. */
  readonly other: (x: Context, s: StringOperation, at: Val<32>) => Val<64>;
}

/** The lowest bits of all elements in eight bytes. */
const EACH = { 8: 0x0101010101010101n, 16: 0x0001000100010001n, 32: 0x0000000100000001n, 64: 1n } as const;

/** Bits of which the lowest is in the lowest element that is zero. */
function zeroElements({ width }: StringOperation, value: Val<64>): Val<64> {
  if (width === 64) return value.isZero().zext(64);
  const ones = EACH[width];
  return value
    .sub(ones)
    .and(value.not())
    .and(ones << BigInt(width - 1));
}

/**
 * Passes over elements in front of the one that ends a repeated comparison, and of the last in the page: nothing of them stays but that they are done, since the flags
 * are those of the element behind.
 */
function passOver(x: Context, s: StringOperation, { moves, other }: Compared, { count, cost, next }: Attempt): void {
  const { code, engine } = x;
  const bytes = s.width / 8;
  code.block((leave) => {
    leave(x.get32('rflags').and(DIRECTION));
    const atTarget = elementsInPage(x, s.targetLinear(0), bytes, count);
    const n = moves ? elementsInPage(x, s.sourceLinear(), bytes, atTarget) : atTarget;
    beginRun(x, n, cost, leave);
    const end = n.trunc(32).sub(1).mul(bytes).and(-8);
    leave(end.isZero());
    const target = engine.hostAddress(x, s.targetLinear(0), 0);
    leave(target.isZero());
    const source = moves ? engine.hostAddress(x, s.sourceLinear(), 0) : x.const(32, 0);
    if (moves) leave(source.isZero());
    const at = code.variable(x.const(32, 0));
    const stop = code.variable(x.const(64, 0));
    code.block((found) =>
      code.loop((again) => {
        const difference = code.load('i64.load', 64, target.add(at.get())).xor(other(x, s, source.add(at.get())));
        stop.set(x.facts.rep === 1 ? difference : zeroElements(s, difference));
        found(stop.get().isZero().xor(1));
        at.set(at.get().add(8));
        again(at.get().ltU(end));
      }),
    );
    const inWord = code.select(stop.get().isZero(), x.const(32, 0), stop.get().ctz().trunc(32).shrU(3).and(-bytes));
    const length = at.get().add(inWord);
    leave(length.isZero());
    if (moves) move(x, Gpr.RSI, length);
    move(x, Gpr.RDI, length);
    next(length.shrU(Math.log2(bytes)).zext(64));
  });
}

const withSource: Compared = { moves: true, other: (x, _, at) => x.code.load('i64.load', 64, at) };
const withAccumulator: Compared = {
  moves: false,
  other: (x, s) => x.gpr(s.width, Gpr.RAX).zext(64).mul(EACH[s.width]),
};

/** String instructions (SDM Vol. 1, "String Instructions"): one element is one restartable step. */
export const strings: Meanings = {
  MOVS: stringInstruction(
    (x, s) => {
      const value = x.engine.load(x, s.width, s.sourceLinear());
      x.engine.store(x, s.width, s.targetLinear(1), value);
      s.advance(Gpr.RSI);
      s.advance(Gpr.RDI);
    },
    { bulk: moved },
  ),
  STOS: stringInstruction(
    (x, s) => {
      x.engine.store(x, s.width, s.targetLinear(1), x.gpr(s.width, Gpr.RAX));
      s.advance(Gpr.RDI);
    },
    { bulk: stored },
  ),
  LODS: stringInstruction((x, s) => {
    x.setGpr(s.width, Gpr.RAX, x.engine.load(x, s.width, s.sourceLinear()));
    s.advance(Gpr.RSI);
  }),
  SCAS: stringInstruction(
    (x, s) => {
      const a = x.gpr(s.width, Gpr.RAX);
      const b = x.engine.load(x, s.width, s.targetLinear(0));
      x.flags.sub(a.sub(b), a, b);
      s.advance(Gpr.RDI);
    },
    { compared: withAccumulator },
  ),
  CMPS: stringInstruction(
    (x, s) => {
      const a = x.engine.load(x, s.width, s.sourceLinear());
      const b = x.engine.load(x, s.width, s.targetLinear(0));
      x.flags.sub(a.sub(b), a, b);
      s.advance(Gpr.RSI);
      s.advance(Gpr.RDI);
    },
    { compared: withSource },
  ),
};
