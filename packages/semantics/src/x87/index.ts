import type { FunctionDefinition, IntWidth, Val } from '@nestvm/emit';
import { vcpuState } from '@nestvm/isa';
import type { Context } from '../context.js';
import type { Emitter, Meanings } from '../emitter.js';
import { ARITHMETIC, COMPLETE, FINISH, PUSH, SOURCE_ST, SQUARE_ROOT } from './arithmetic.js';
import { COMPARE, EXAMINE } from './compare.js';
import {
  checkPending,
  fpuOf,
  loadExtended,
  loadFlags,
  loadSource,
  memoryType,
  memoryWidth,
  plain,
  recordPointers,
  run,
  storeExtended,
} from './emitters.js';
import { FLDENV, FNSAVE, FNSTENV, FRSTOR, INITIALIZE, readStatusWord, ROTATE, UPDATE_SUMMARY } from './environment.js';
import { At, INDEFINITE, Status } from './fpu.js';
import { CONSTANTS, COPY, EXCHANGE, EXTRACT, FROM_DECIMAL, REMAINDER, ROUND_TO_INTEGER, SCALE, TO_DECIMAL } from './numbers.js';
import { NARROW, TO_INTEGER } from './round.js';
import { IN_REGISTERS, PUSH_REGISTER, RELATION_IN_REGISTERS } from './usual.js';
import { transcendentals } from './transcendental.js';

const OPERATIONS = { ADD: 0, MUL: 1, SUB: 4, SUBR: 5, DIV: 6, DIVR: 7 } as const;

/** An arithmetic instruction: memory form ST(0) ← ST(0) op m, register forms between ST(0) and ST(i). */
const arithmetic =
  (operation: number, pops: number): Emitter =>
  (x) => {
    checkPending(x);
    if (x.facts.memory) {
      loadSource(x);
      return run(x, ARITHMETIC, operation, 0, 0);
    }
    recordPointers(x);
    const toSti = x.facts.row.operands[0]!.method === 'STi';
    const index = x.fields.rm();
    run(x, IN_REGISTERS[operation]!, toSti ? 0 : index, toSti ? index : 0, pops);
  };

const arithmetics: Meanings = Object.fromEntries(
  Object.entries(OPERATIONS).flatMap(([name, operation]) => [
    [`F${name}`, arithmetic(operation, 0)],
    [`FI${name}`, arithmetic(operation, 0)],
    [`F${name}P`, arithmetic(operation, 1)],
  ]),
);

/** A comparison with memory, ST(i), or (without operands) ST(1). */
const compare =
  (quiet: number, pops: number): Emitter =>
  (x) => {
    checkPending(x);
    if (x.facts.memory) loadSource(x);
    else {
      recordPointers(x);
      run(x, SOURCE_ST, x.facts.row.operands.length === 0 ? 1 : x.fields.rm());
    }
    run(x, COMPARE, quiet, pops);
  };

/** FCOMI and its kin: ZF PF CF from the relation; OF, SF and AF are cleared. */
const compareFlags = (quiet: number, pops: number): Emitter =>
  plain((x) => {
    const relation = x.code.call(RELATION_IN_REGISTERS, 32, x.cpu, x.fields.rm(), x.const(32, quiet));
    const zero = x.const(32, 0);
    // An unmasked invalid operation leaves the flags.
    x.code.if(fpuOf(x).unmasked().and(Status.INVALID).isZero(), () =>
      x.flags.set({ cf: relation.and(1), pf: relation.eq(3), af: zero, zf: relation.shrU(1), sf: zero, of: zero }),
    );
    run(x, COMPLETE, pops, 7);
  });

const FTST: Emitter = plain((x) => {
  fpuOf(x).setSource({ significand: x.const(64, 0), se: x.const(32, 0), kind: x.const(32, 0) });
  run(x, COMPARE, 0, 0);
});

/** An instruction that replaces ST(i) by the result of a helper. */
const replace = (target: FunctionDefinition, pops = 0, ...args: number[]): Emitter =>
  plain((x) => {
    run(x, target, ...args);
    run(x, FINISH, 0, pops);
  });

const FLD: Emitter = (x) => {
  checkPending(x);
  const f = fpuOf(x);
  if (!x.facts.memory) {
    recordPointers(x);
    return run(x, PUSH_REGISTER, x.fields.rm());
  }
  if (memoryType(x) === 'ft') {
    f.setSource({ ...loadExtended(x), kind: x.const(32, 0) });
    return run(x, PUSH, 0);
  }
  loadSource(x);
  run(x, PUSH, loadFlags(f));
};

const FILD: Emitter = (x) => {
  checkPending(x);
  loadSource(x);
  run(x, PUSH, 0);
};

const FBLD: Emitter = (x) => {
  checkPending(x);
  const { significand, se } = loadExtended(x);
  run(x, FROM_DECIMAL, significand, se);
  run(x, PUSH, 0);
};

/** Stores unless one of the exceptions `stopping` is unmasked (the memory must be writable all the same), then records the exceptions and pops. */
function storeUnless(x: Context, stopping: number, bytes: number, store: (linear: Val<64>) => void, pops: number): void {
  const address = x.effectiveAddress();
  const linear = x.linear(address, bytes, 1);
  x.code.if(
    fpuOf(x).unmasked().and(stopping).isZero(),
    () => store(linear),
    () => x.engine.probeWrite(x, bytes, linear),
  );
  recordPointers(x, address);
  run(x, COMPLETE, pops, stopping);
}

const storeInteger =
  (pops: number, truncate: number): Emitter =>
  (x) => {
    checkPending(x);
    const width: IntWidth = memoryWidth(x);
    const value = x.code.call(TO_INTEGER, 64, x.cpu, x.const(32, width), x.const(32, truncate));
    storeUnless(x, 1, width / 8, (linear) => x.engine.store(x, width, linear, value.trunc(width)), pops);
  };

const FBSTP: Emitter = (x) => {
  checkPending(x);
  const integer = x.code.call(TO_INTEGER, 64, x.cpu, x.const(32, 64), x.const(32, 0));
  const digits: Val<64> = x.code.call(TO_DECIMAL, 64, x.cpu, integer);
  const top = fpuOf(x).get(At.RESULT_SE);
  storeUnless(x, 1, 10, (linear) => storeExtended(x, linear, digits, top), 1);
};

const store =
  (pops: number): Emitter =>
  (x) => {
    checkPending(x);
    if (!x.facts.memory) {
      recordPointers(x);
      return run(x, COPY, 0, x.fields.rm(), pops, 0xffff, 0);
    }
    const type = memoryType(x);
    if (type === 'ft') {
      const f = fpuOf(x);
      const { significand, se, kind } = f.st(0);
      const empty = kind.eq(7);
      f.set(At.RAISED, empty.mul(Status.UNDERFLOW_OF_STACK));
      const [low, high] = [
        x.code.select(empty, x.const(64, INDEFINITE.significand), significand),
        x.code.select(empty, x.const(32, INDEFINITE.se), se),
      ];
      return storeUnless(x, 1, 10, (linear) => storeExtended(x, linear, low, high), pops);
    }
    const width = memoryWidth(x) as 32 | 64;
    const value = x.code.call(NARROW[width], 64, x.cpu);
    storeUnless(x, 0x19, width / 8, (linear) => x.engine.store(x, width, linear, value.trunc(width)), pops);
  };

const FCMOV_CONDITION: Readonly<Record<string, number>> = { B: 2, NB: 3, E: 4, NE: 5, BE: 6, NBE: 7, U: 10, NU: 11 };
const conditionalMove = (condition: number): Emitter =>
  plain((x) => {
    const f = fpuOf(x);
    // Either register empty is a stack underflow, whether or not the condition holds.
    const underflow = f.isEmpty(f.physical(0)).or(f.isEmpty(f.physical(x.fields.rm())));
    x.code.if(
      underflow,
      () => {
        f.set(At.RAISED, x.const(32, Status.UNDERFLOW_OF_STACK));
        f.indefinite();
        run(x, FINISH, 0, 0);
      },
      () =>
        x.code.if(x.flags.condition(condition), () => {
          const { significand, se } = f.readRegister(f.physical(x.fields.rm()));
          f.writeRegister(f.physical(0), significand, se);
        }),
    );
  });

const free = (x: Context): void => {
  const f = fpuOf(x);
  f.free(f.physical(x.fields.rm()));
  f.set(vcpuState.offset.fsw, f.status.and(~Status.C1));
};

const control: Meanings = {
  FNINIT: (x) => run(x, INITIALIZE),
  FNCLEX: (x) => x.set32('fsw', x.get32('fsw').and(0x7f00)),
  FNSTCW: (x) => x.engine.store(x, 16, x.operandAddress(2, 1), x.get32('fcw').trunc(16)),
  FNSTSW: (x) => {
    const word = readStatusWord(x).trunc(16);
    if (x.facts.memory) x.engine.store(x, 16, x.operandAddress(2, 1), word);
    else x.setGpr(16, 0, word);
  },
  FLDCW: (x) => {
    checkPending(x);
    x.set32('fcw', x.engine.load(x, 16, x.operandAddress(2, 0)).zext(32).and(0x1f7f).or(0x40));
    run(x, UPDATE_SUMMARY);
  },
  FNSTENV,
  FLDENV,
  FNSAVE,
  FRSTOR,
  FWAIT: checkPending,
  FNENI: () => undefined,
  FNDISI: () => undefined,
  FNSETPM: () => undefined,
};

/** The x87 instructions (SDM Vol. 1, "x87 FPU Instruction Set"). */
export const x87Meanings: Meanings = {
  ...control,
  ...arithmetics,
  ...transcendentals,
  FLD,
  FILD,
  FBLD,
  FBSTP,
  ...Object.fromEntries(Object.entries(CONSTANTS).map(([name, target]) => [name, plain((x) => run(x, target))])),
  FST: store(0),
  FSTP: store(1),
  /** A pop that does not signal an empty stack: then nothing is stored. */
  FSTPNCE: plain((x) => {
    const f = fpuOf(x);
    const source = f.physical(0);
    x.code.if(f.isEmpty(source).isZero(), () => {
      const { significand, se } = f.readRegister(source);
      f.writeRegister(f.physical(x.fields.rm()), significand, se);
    });
    f.set(vcpuState.offset.fsw, f.status.and(~Status.C1));
    f.pop(x.const(32, 1));
  }),
  FIST: storeInteger(0, 0),
  FISTP: storeInteger(1, 0),
  FISTTP: storeInteger(1, 1),
  FCOM: compare(0, 0),
  FCOMP: compare(0, 1),
  FCOMPP: compare(0, 2),
  FUCOM: compare(1, 0),
  FUCOMP: compare(1, 1),
  FUCOMPP: compare(1, 2),
  FICOM: compare(0, 0),
  FICOMP: compare(0, 1),
  FTST,
  FCOMI: compareFlags(0, 0),
  FCOMIP: compareFlags(0, 1),
  FUCOMI: compareFlags(1, 0),
  FUCOMIP: compareFlags(1, 1),
  FXAM: plain((x) => run(x, EXAMINE)),
  FCHS: plain((x) => run(x, COPY, 0, 0, 0, 0xffff, 0x8000)),
  FABS: plain((x) => run(x, COPY, 0, 0, 0, 0x7fff, 0)),
  FSQRT: replace(SQUARE_ROOT),
  FRNDINT: replace(ROUND_TO_INTEGER),
  FSCALE: replace(SCALE),
  FPREM: replace(REMAINDER, 0, 0),
  FPREM1: replace(REMAINDER, 0, 1),
  FXTRACT: plain((x) => run(x, EXTRACT)),
  FXCH: plain((x) => run(x, EXCHANGE, x.fields.rm())),
  FFREE: plain(free),
  FFREEP: plain((x) => {
    free(x);
    fpuOf(x).pop(x.const(32, 1));
  }),
  FINCSTP: plain((x) => run(x, ROTATE, 1)),
  FDECSTP: plain((x) => run(x, ROTATE, 7)),
  FNOP: plain(() => undefined),
  ...Object.fromEntries(Object.entries(FCMOV_CONDITION).map(([c, n]) => [`FCMOV${c}`, conditionalMove(n)])),
};
