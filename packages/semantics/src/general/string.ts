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

/** Repeats one restartable element while rCX lasts; `step` gives the condition to stop early, if it has one. */
function repeated(x: Context, step: () => Val<32> | null, bulk?: (count: Val<64>, cost: Cost, done: Done) => void): void {
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
      if (bulk) {
        cost.set(x.const(32, 1));
        code.if(single.isZero(), () =>
          bulk(count(), cost, (done) => {
            const left = count().sub(done);
            setCount(left);
            leave(left.isZero());
            turns.set(turns.get().sub(RUN_COST));
            again(turns.get().gtS(0));
            x.engine.repeat(x);
          }),
        );
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
function stringInstruction(step: (x: Context, s: StringOperation) => void, options: { compares?: boolean; bulk?: Bulk } = {}): Emitter {
  return (x) => {
    const s = operation(x);
    const { rep } = x.facts;
    if (rep === 0) return step(x, s);
    const { bulk } = options;
    // Whole pages at once only where linear addresses are offsets, and no element can be misaligned.
    const { stackSegment, segment, addressSize, aligned } = x.facts;
    const fast = bulk && stackSegment === 'none' && segment !== 'checked' && addressSize !== 16 && !aligned;
    if (fast && x.engine.onlyWhole) return whole(x, s, bulk);
    repeated(
      x,
      () => {
        step(x, s);
        if (!options.compares) return null;
        return rep === 1 ? x.flags.zf().xor(1) : x.flags.zf();
      },
      fast ? (count, cost, done) => run(x, s, bulk, { count, cost, done }) : undefined,
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
function run(x: Context, s: StringOperation, bulk: Bulk, { count, cost, done }: { count: Val<64>; cost: Cost; done: Done }): void {
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
    { compares: true },
  ),
  CMPS: stringInstruction(
    (x, s) => {
      const a = x.engine.load(x, s.width, s.sourceLinear());
      const b = x.engine.load(x, s.width, s.targetLinear(0));
      x.flags.sub(a.sub(b), a, b);
      s.advance(Gpr.RSI);
      s.advance(Gpr.RDI);
    },
    { compares: true },
  ),
};
