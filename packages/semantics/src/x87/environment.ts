import type { Val } from '@nestvm/emit';
import { vcpuState } from '@nestvm/isa';
import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';
import { recordExceptions } from './arithmetic.js';
import { checkPending, fpuOf, run } from './emitters.js';
import { At, Fpu, helper, type I, KindOf, Status } from './fpu.js';

const { offset } = vcpuState;

/** FNINIT (SDM Vol. 2, "FINIT/FNINIT"). */
export const INITIALIZE = helper('initialize', 0, (f) => {
  f.set(offset.fcw, f.i(0x37f));
  for (const field of ['fsw', 'ftop', 'ftag', 'fop', 'fcs', 'fds'] as const) f.set(offset[field], f.i(0));
  f.set64(offset.fip, f.q(0));
  f.set64(offset.fdp, f.q(0));
});

/** Puts the full tag word, two bits a register, into the source's kind: (cpu). */
const TAGS = helper('tags', 0, (f) => {
  const { code } = f;
  const word = code.variable(f.i(0));
  const n = code.variable(f.i(7));
  code.loop((again) => {
    const { significand, se } = f.readRegister(n.get());
    const kind = f.kindOf(significand, se);
    const tag = code.select(kind.isZero(), f.i(1), code.select(kind.eq(KindOf.FINITE), f.i(0), f.i(2)));
    word.set(
      word
        .get()
        .shl(2)
        .or(code.select(f.isEmpty(n.get()), f.i(3), tag)),
    );
    n.set(n.get().sub(1));
    again(n.get().geS(0));
  });
  f.set(At.SOURCE_KIND, word.get());
});

/** Sets the abridged tag word from the full one: (cpu, full). */
const SET_TAGS = helper('setTags', 1, (f, full) => {
  let tags = f.i(0);
  for (let n = 0; n < 8; n++)
    tags = tags.or(
      full
        .shrU(2 * n)
        .and(3)
        .ne(3)
        .shl(n),
    );
  f.set(offset.ftag, tags);
});

/** ES and B as the control word has them: (cpu). */
export const UPDATE_SUMMARY = helper('summary', 0, (f) => {
  const status = f.status.and(~(Status.ES | Status.BUSY));
  const unmasked = status.and(f.control.not()).and(0x3f);
  f.set(offset.fsw, status.or(f.code.select(unmasked, f.i(Status.ES | Status.BUSY), f.i(0))));
});

const statusWord = (f: Fpu): I => f.status.or(f.get(offset.ftop).shl(11));
export const readStatusWord = (x: Context): I => statusWord(fpuOf(x));

const isWide = (x: Context): boolean => x.facts.operandSize !== 16;
const environmentBytes = (x: Context): number => (isWide(x) ? 28 : 14);
const isReal = (x: Context): I => x.get32('cr0').and(1).isZero().or(x.get32('rflags').shrU(17).and(1));

/** The seven words of the environment, as they are stored (SDM Vol. 1, "Saving the x87 FPU's State with FSTENV/FNSTENV and FSAVE/FNSAVE"). */
function environmentWords(x: Context): I[] {
  const f = fpuOf(x);
  run(x, TAGS);
  const [ip, dp] = [x.get64('fip').trunc(32), x.get64('fdp').trunc(32)];
  const [cs, ds, op] = [x.get32('fcs'), x.get32('fds'), x.get32('fop')];
  const real = isReal(x);
  const pick = (a: I, b: I): I => x.code.select(real, a, b);
  const [realIp, realDp] = [ip.add(cs.shl(4)), dp.add(ds.shl(4))];
  const high = isWide(x) ? 0xffff0000 | 0 : 0;
  const head = [f.control.or(high), statusWord(f).or(high), f.get(At.SOURCE_KIND).or(high)];
  if (isWide(x)) {
    return [
      ...head,
      pick(realIp.and(0xffff), ip),
      pick(realIp.shrU(16).shl(12).or(op.and(0x7ff)), cs.or(op.and(0x7ff).shl(16))),
      pick(realDp.and(0xffff), dp),
      pick(realDp.shrU(16).shl(12), ds.or(0xffff0000 | 0)),
    ];
  }
  return [...head, pick(realIp, ip), pick(realIp.shrU(16).shl(12).or(op.and(0x7ff)), cs), pick(realDp, dp), pick(realDp.shrU(16).shl(12), ds)];
}

function storeEnvironment(x: Context, linear: Val<64>): void {
  const width = isWide(x) ? 32 : 16;
  for (const [i, word] of environmentWords(x).entries()) x.engine.store(x, width, linear.add((i * width) / 8), word.trunc(width));
}

/** Loads the words first (any may fault), then sets the state. */
function loadEnvironment(x: Context, linear: Val<64>): () => void {
  const width = isWide(x) ? 32 : 16;
  const words = Array.from({ length: 7 }, (_, i) => x.engine.load(x, width, linear.add((i * width) / 8)).zext(32) as I);
  const [control, status, tags, ip, codeWord, dp, dataWord] = words as [I, I, I, I, I, I, I];
  return () => {
    x.set32('fcw', control.and(0x1f7f).or(0x40));
    x.set32('fsw', status.and(0x47ff & ~0x80));
    x.set32('ftop', status.shrU(11).and(7));
    run(x, SET_TAGS, tags);
    run(x, UPDATE_SUMMARY);
    const real = isReal(x);
    const pick = (a: I, b: I): I => x.code.select(real, a, b);
    const top = (word: I): I => word.shrU(12).shl(16);
    x.set64('fip', pick(top(codeWord).or(ip.and(0xffff)), ip).zext(64));
    x.set64('fdp', pick(top(dataWord).or(dp.and(0xffff)), dp).zext(64));
    x.set32('fcs', pick(x.const(32, 0), codeWord.and(0xffff)));
    x.set32('fds', pick(x.const(32, 0), dataWord.and(0xffff)));
    x.set32('fop', isWide(x) ? pick(codeWord, codeWord.shrU(16)).and(0x7ff) : pick(codeWord.and(0x7ff), x.const(32, 0)));
  };
}

export const FNSTENV: Emitter = (x) => {
  const bytes = environmentBytes(x);
  const linear = x.operandAddress(bytes, 1);
  x.engine.probeWrite(x, bytes, linear);
  storeEnvironment(x, linear);
  x.set32('fcw', x.get32('fcw').or(0x3f));
  run(x, UPDATE_SUMMARY);
};

export const FLDENV: Emitter = (x) => {
  checkPending(x);
  loadEnvironment(x, x.operandAddress(environmentBytes(x), 0))();
};

const registerAt = (x: Context, i: number): I => x.get32('ftop').add(i).and(7).shl(4).add(offset.fpr);

export const FNSAVE: Emitter = (x) => {
  const bytes = environmentBytes(x);
  const linear = x.operandAddress(bytes + 80, 1);
  x.engine.probeWrite(x, bytes + 80, linear);
  storeEnvironment(x, linear);
  for (let i = 0; i < 8; i++) {
    x.engine.store(x, 64, linear.add(bytes + 10 * i), x.readState(64, registerAt(x, i)));
    x.engine.store(x, 16, linear.add(bytes + 10 * i + 8), x.readState(16, registerAt(x, i).add(8)));
  }
  run(x, INITIALIZE);
};

export const FRSTOR: Emitter = (x) => {
  checkPending(x);
  const bytes = environmentBytes(x);
  const linear = x.operandAddress(bytes + 80, 0);
  const values = Array.from(
    { length: 8 },
    (_, i) => [x.engine.load(x, 64, linear.add(bytes + 10 * i)), x.engine.load(x, 16, linear.add(bytes + 10 * i + 8))] as const,
  );
  loadEnvironment(x, linear)();
  for (const [i, [significand, se]] of values.entries()) {
    x.writeState(64, registerAt(x, i), significand);
    x.writeState(16, registerAt(x, i).add(8), se);
  }
};

/** FINCSTP, FDECSTP: (cpu, step). */
export const ROTATE = helper('rotate', 1, (f, step) => {
  recordExceptions(f, f.i(0), f.status.and(Status.ES));
  f.set(offset.ftop, f.get(offset.ftop).add(step).and(7));
});
