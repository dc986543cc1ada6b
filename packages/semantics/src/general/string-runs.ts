import type { IntWidth, Val, Variable } from '@nestvm/emit';
import { Gpr, Mode } from '@nestvm/isa';
import type { Context } from '../context.js';
import { COPY_BYTES, FILL_BYTES, REPEAT_BYTES, searchFunction } from './bytes.js';
import { move, type StringOperation } from './string-operation.js';

/** Elements after which a repeated instruction lets events in. */
const TURNS = 4096;
/**
 * Elements up to the end of a page count as this many together, where they can be carried out at once. Whether they are depends on what the TLB holds, and the guest must not see that: so do
 * those that go one by one.
 */
const RUN_COST = 128;
const DIRECTION = 1 << 10;

/** Gives a run up, with nothing changed. */
type GiveUp = (condition: Val<32>) => void;

/** How elements are carried out at once, those that are inside of one page on each side. */
export interface Bulk {
  /** How many of `count` elements are. */
  inPage(x: Context, s: StringOperation, count: Val<64>): Val<64>;
  carryOut(x: Context, s: StringOperation, elements: Val<64>, giveUp: GiveUp): void;
}

/** What is tried in front of each element. */
export interface Attempt {
  /** rCX. */
  readonly count: Val<64>;
  /** What the next element counts as if it goes alone. */
  readonly cost: Variable<32>;
  /** Elements of a run were carried out, up to the end of a page or of all. */
  readonly done: (elements: Val<64>) => void;
  /** … and the last of them was one to end at. */
  readonly end: (elements: Val<64>) => void;
}

/** Repeats one restartable element while rCX lasts; `step` gives the condition to stop early, if it has one. */
export function repeated(x: Context, step: () => Val<32> | null, attempt?: (attempt: Attempt) => void): void {
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
      const goOn = (passed: Val<32>): void => {
        leave(count().isZero());
        turns.set(turns.get().sub(passed));
        again(turns.get().gtS(0));
        x.engine.repeat(x, () => {
          turns.set(x.const(32, TURNS));
          again();
        });
      };
      if (attempt) {
        cost.set(x.const(32, 1));
        const pass = (elements: Val<64>): void => setCount(count().sub(elements));
        const done = (elements: Val<64>): void => {
          pass(elements);
          goOn(x.const(32, RUN_COST));
        };
        const end = (elements: Val<64>): void => {
          pass(elements);
          leave();
        };
        code.if(single.isZero(), () => attempt({ count: count(), cost, done, end }));
      }
      const stop = step();
      setCount(count().sub(1));
      if (stop) leave(stop);
      goOn(cost.get());
    });
  });
}

/** Elements that fit before the page ends, at most `count`. */
function elementsInPage(x: Context, linear: Val<64>, bytes: number, count: Val<64>): Val<64> {
  const room = x.const(64, 4096).sub(linear.and(4095)).shrU(Math.log2(bytes));
  return x.code.select(count.ltU(room), count, room);
}

/** Falls through to a run of `n` elements unless there is none; the last element of a run counts for all of it. */
function beginRun(x: Context, n: Val<64>, cost: Variable<32>, leave: (condition: Val<32>) => void): void {
  cost.set(x.code.select(n.ltU(2), x.const(32, RUN_COST), x.const(32, 0)));
  leave(n.isZero());
}

/** Carries out a run of at most `count` elements and calls `done`, or falls through when it must go element by element. */
export function run(x: Context, s: StringOperation, bulk: Bulk, { count, cost, done }: Attempt): void {
  x.code.block((leave) => {
    leave(x.get32('rflags').and(DIRECTION));
    const n = bulk.inPage(x, s, count);
    beginRun(x, n, cost, leave);
    bulk.carryOut(x, s, n, leave);
    done(n);
  });
}

/** The instruction as one run; unless it is one, the engine has it carried out otherwise, from its start. */
export function whole(x: Context, s: StringOperation, bulk: Bulk): void {
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

/** Runs of MOVS. */
export const moved: Bulk = {
  inPage: (x, s, count) => elementsInPage(x, s.targetLinear(1), s.width / 8, elementsInPage(x, s.sourceLinear(), s.width / 8, count)),
  carryOut: (x, s, elements, giveUp) => {
    const { code, engine } = x;
    const bytes = s.width / 8;
    const source = engine.hostAddress(x, s.sourceLinear(), 0);
    giveUp(source.isZero());
    const target = engine.hostAddress(x, s.targetLinear(1), 1);
    giveUp(target.isZero());
    const length = elements.trunc(32).mul(bytes);
    // An element that is written over in part while it is read needs the order of elements.
    const distance = target.sub(source).sub(1);
    if (bytes > 1) giveUp(distance.ltU(bytes - 1));
    code.if(
      distance.ltU(length.sub(1)),
      () => code.run(REPEAT_BYTES, target, source, length),
      () => code.run(COPY_BYTES, target, source, length),
    );
    move(x, Gpr.RSI, length);
    move(x, Gpr.RDI, length);
  },
};

/** The lowest bits of all elements in eight bytes. */
const EACH = { 8: 0x0101010101010101n, 16: 0x0001000100010001n, 32: 0x0000000100000001n, 64: 1n } as const;

/** Runs of STOS. */
export const stored: Bulk = {
  inPage: (x, s, count) => elementsInPage(x, s.targetLinear(1), s.width / 8, count),
  carryOut: (x, s, elements, giveUp) => {
    const target = x.engine.hostAddress(x, s.targetLinear(1), 1);
    giveUp(target.isZero());
    const length = elements.trunc(32).mul(s.width / 8);
    const value = x.gpr(s.width, Gpr.RAX).zext(64);
    x.code.run(FILL_BYTES, target, s.width === 64 ? value : value.mul(EACH[s.width]), length);
    move(x, Gpr.RDI, length);
  },
};

const LOAD = { 8: 'i32.load8_u', 16: 'i32.load16_u', 32: 'i32.load', 64: 'i64.load' } as const;

/** Carries out a run of a repeated comparison, up to the element that ends it: with elements at rSI, or else with the accumulator. */
export function compare(x: Context, s: StringOperation, hasSource: boolean, { count, cost, done, end }: Attempt): void {
  const { code, engine } = x;
  const { width } = s;
  const bytes = width / 8;
  code.block((leave) => {
    leave(x.get32('rflags').and(DIRECTION));
    const atTarget = elementsInPage(x, s.targetLinear(0), bytes, count);
    const n = hasSource ? elementsInPage(x, s.sourceLinear(), bytes, atTarget) : atTarget;
    beginRun(x, n, cost, leave);
    const target = engine.hostAddress(x, s.targetLinear(0), 0);
    leave(target.isZero());
    const source = hasSource ? engine.hostAddress(x, s.sourceLinear(), 0) : null;
    if (source) leave(source.isZero());
    const length = n.trunc(32).mul(bytes);
    const accumulator = x.gpr(width, Gpr.RAX);
    const search = searchFunction({ isForEqual: x.facts.rep === 2, width, hasOther: hasSource });
    const found = code.call(search, 32, target, length, source ?? accumulator).and(-bytes);
    const isFound = found.ne(length);
    const last = code.select(isFound, found, length.sub(bytes));
    const a = source ? code.load(LOAD[width], width, source.add(last)) : accumulator;
    const b = code.load(LOAD[width], width, target.add(last));
    x.flags.sub(a.sub(b), a, b);
    const passed = last.add(bytes);
    if (hasSource) move(x, Gpr.RSI, passed);
    move(x, Gpr.RDI, passed);
    const elements = passed.shrU(Math.log2(bytes)).zext(64);
    code.if(isFound, () => end(elements));
    done(elements);
  });
}
