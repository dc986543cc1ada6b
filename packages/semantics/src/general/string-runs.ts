import { type IntWidth, LOAD, type Val, type Variable } from '@nestvm/emit';
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

/** One of the places that a string instruction works on. */
interface Side {
  readonly register: number;
  readonly access: 0 | 1;
  readonly linear: (s: StringOperation) => Val<64>;
}
const SOURCE: Side = { register: Gpr.RSI, access: 0, linear: (s) => s.sourceLinear() };
const WRITTEN: Side = { register: Gpr.RDI, access: 1, linear: (s) => s.targetLinear(1) };
const COMPARED: Side = { register: Gpr.RDI, access: 0, linear: (s) => s.targetLinear(0) };

/** How elements are carried out at once. */
export interface Bulk {
  readonly sides: readonly Side[];
  /** At the host addresses of the sides, for a number of bytes. */
  carryOut(x: Context, s: StringOperation, hosts: readonly Val<32>[], length: Val<32>, giveUp: GiveUp): void;
}

/** What is tried in front of each element. */
export interface Attempt {
  /** rCX. */
  readonly count: Val<64>;
  /** What is left until events are let in. */
  readonly turns: Variable<32>;
  /** What the next element counts as if it goes alone. */
  readonly cost: Variable<32>;
  /** Elements of runs were carried out, up to the end of a page or of all. */
  readonly done: (elements: Val<64>, runs: Val<32>) => void;
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
        const done = (elements: Val<64>, runs: Val<32>): void => {
          pass(elements);
          goOn(runs.mul(RUN_COST));
        };
        const end = (elements: Val<64>): void => {
          pass(elements);
          leave();
        };
        code.if(single.isZero(), () => attempt({ count: count(), turns, cost, done, end }));
      }
      const stop = step();
      setCount(count().sub(1));
      if (stop) leave(stop);
      goOn(cost.get());
    });
  });
}

const PAGE = 4096;
const least = <W extends IntWidth>(x: Context, a: Val<W>, b: Val<W>): Val<W> => x.code.select(a.ltU(b), a, b);

/** How many of `count` elements there are before a page ends on one of the sides. */
function elementsInPage(x: Context, s: StringOperation, sides: readonly Side[], count: Val<64>): Val<64> {
  const inPage = (side: Side): Val<64> =>
    x
      .const(64, PAGE)
      .sub(side.linear(s).and(PAGE - 1))
      .shrU(Math.log2(s.width / 8));
  return sides.reduce((elements, side) => least(x, elements, inPage(side)), count);
}

function hostsOf(x: Context, s: StringOperation, sides: readonly Side[], giveUp: GiveUp): Val<32>[] {
  return sides.map(({ linear, access }) => {
    const host = x.engine.hostAddress(x, linear(s), access);
    giveUp(host.isZero());
    return host;
  });
}

/** Bytes, and the runs that they count as. */
interface Span {
  readonly length: Val<32>;
  readonly runs: Val<32>;
}

/**
 * Runs that lie one after the other in the host's memory as well, as far as `turns` reach: together they take one way. Each ends where a page does on one side: `near` and `far` are the
 * first ends, the others follow by pages.
 */
function spanOf(x: Context, s: StringOperation, sides: readonly Side[], n: Val<64>, { count, turns }: Attempt): Span {
  const { code, engine } = x;
  const bytes = s.width / 8;
  const length = code.variable(n.trunc(32).mul(bytes));
  const runs = code.variable(x.const(32, 1));
  // Narrower addresses begin again at nothing.
  if (x.facts.addressSize !== 64) return { length: length.get(), runs: runs.get() };
  const linear = sides.map((side) => side.linear(s).trunc(32));
  const isAligned = linear
    .reduce((a, b) => a.or(b))
    .and(bytes - 1)
    .isZero();
  code.if(isAligned.and(n.ltU(count)), () => {
    const inPage = linear.map((address) => address.and(PAGE - 1));
    const ends = inPage.map((offset) => x.const(32, PAGE).sub(offset));
    const near = ends.reduce((a, b) => least(x, a, b));
    const far = ends.reduce((a, b) => code.select(a.ltU(b), b, a));
    const isAlike = near.eq(far);
    const most = turns
      .get()
      .add(RUN_COST - 1)
      .divU(RUN_COST)
      .sub(1);
    const whole = code.select(isAlike, most, most.shrU(1)).mul(PAGE);
    const limit = code.select(isAlike.or(most.and(1).isZero()), near, far).add(whole);
    const all = least(x, count, x.const(64, PAGE * TURNS))
      .trunc(32)
      .mul(bytes);
    const wanted = least(x, limit, all);
    const span = sides.reduce((rest, side) => least(x, rest, engine.reach(x, side.linear(s), side.access, rest)), wanted);
    const passed = inPage.map((offset) => offset.add(span).shrU(12));
    length.set(span);
    runs.set(
      code.select(
        isAlike,
        passed[0]!,
        passed.reduce((a, b) => a.add(b)),
      ),
    );
  });
  return { length: length.get(), runs: runs.get() };
}

/** What a run works on: host addresses of the sides, and how far it goes. */
interface Run extends Span {
  readonly hosts: readonly Val<32>[];
}

/** Begins a run, or leaves when elements must go one by one: then the last element of a run counts for all of it. */
function beginRun(x: Context, s: StringOperation, sides: readonly Side[], attempt: Attempt, leave: GiveUp): Run {
  leave(x.get32('rflags').and(DIRECTION));
  const n = elementsInPage(x, s, sides, attempt.count);
  attempt.cost.set(x.code.select(n.ltU(2), x.const(32, RUN_COST), x.const(32, 0)));
  leave(n.isZero());
  const hosts = hostsOf(x, s, sides, leave);
  return { hosts, ...spanOf(x, s, sides, n, attempt) };
}

function moveAll(x: Context, sides: readonly Side[], length: Val<32>): void {
  for (const { register } of sides) move(x, register, length);
}

const elementsOf = (s: StringOperation, length: Val<32>): Val<64> => length.shrU(Math.log2(s.width / 8)).zext(64);

/** Carries out runs of at most `count` elements and calls `done`, or falls through when it must go element by element. */
export function run(x: Context, s: StringOperation, bulk: Bulk, attempt: Attempt): void {
  x.code.block((leave) => {
    const { hosts, length, runs } = beginRun(x, s, bulk.sides, attempt, leave);
    bulk.carryOut(x, s, hosts, length, leave);
    moveAll(x, bulk.sides, length);
    attempt.done(elementsOf(s, length), runs);
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
      .or(elementsInPage(x, s, bulk.sides, count).ltU(count)),
  );
  const hosts = hostsOf(x, s, bulk.sides, giveUp);
  const length = count.trunc(32).mul(s.width / 8);
  bulk.carryOut(x, s, hosts, length, giveUp);
  moveAll(x, bulk.sides, length);
  x.setGpr(addressSize, Gpr.RCX, x.const(addressSize as IntWidth, 0));
}

/** Runs of MOVS. */
export const moved: Bulk = {
  sides: [SOURCE, WRITTEN],
  carryOut: ({ code }, s, hosts, length, giveUp) => {
    const [source, target] = hosts as [Val<32>, Val<32>];
    const bytes = s.width / 8;
    // An element that is written over in part while it is read needs the order of elements.
    const distance = target.sub(source).sub(1);
    if (bytes > 1) giveUp(distance.ltU(bytes - 1));
    code.if(
      distance.ltU(length.sub(1)),
      () => code.run(REPEAT_BYTES, target, source, length),
      () => code.run(COPY_BYTES, target, source, length),
    );
  },
};

/** The lowest bits of all elements in eight bytes. */
const EACH = { 8: 0x0101010101010101n, 16: 0x0001000100010001n, 32: 0x0000000100000001n, 64: 1n } as const;

/** Runs of STOS. */
export const stored: Bulk = {
  sides: [WRITTEN],
  carryOut: (x, s, hosts, length) => {
    const value = x.gpr(s.width, Gpr.RAX).zext(64);
    x.code.run(FILL_BYTES, hosts[0]!, s.width === 64 ? value : value.mul(EACH[s.width]), length);
  },
};

/** Carries out runs of a repeated comparison, up to the element that ends it: with elements at rSI, or else with the accumulator. */
export function compare(x: Context, s: StringOperation, hasSource: boolean, attempt: Attempt): void {
  const { code } = x;
  const { width } = s;
  const bytes = width / 8;
  const sides = hasSource ? [COMPARED, SOURCE] : [COMPARED];
  code.block((leave) => {
    const { hosts, length, runs } = beginRun(x, s, sides, attempt, leave);
    const [target, source] = hosts as [Val<32>, Val<32> | undefined];
    const accumulator = x.gpr(width, Gpr.RAX);
    const search = searchFunction({ isForEqual: x.facts.rep === 2, width, hasOther: hasSource });
    const found = code.call(search, 32, target, length, source ?? accumulator).and(-bytes);
    const isFound = found.ne(length);
    const last = code.select(isFound, found, length.sub(bytes));
    const a = source ? code.load(LOAD[width], width, source.add(last)) : accumulator;
    const b = code.load(LOAD[width], width, target.add(last));
    x.flags.sub(a.sub(b), a, b);
    const passed = last.add(bytes);
    moveAll(x, sides, passed);
    code.if(isFound, () => attempt.end(elementsOf(s, passed)));
    attempt.done(elementsOf(s, passed), runs);
  });
}
