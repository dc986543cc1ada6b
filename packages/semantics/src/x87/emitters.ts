import type { FunctionRef, IntWidth, Val } from '@nestvm/emit';
import { Segment, vcpuState } from '@nestvm/isa';
import { type Context, Vector } from '../context.js';
import type { Emitter } from '../emitter.js';
import { At, Fpu, type I, Status } from './fpu.js';
import { FROM_INTEGER, WIDEN } from './round.js';

const { offset } = vcpuState;
const OPERAND_BITS: Record<string, IntWidth> = { fs: 32, fd: 64, w: 16, d: 32, q: 64 };

/** Calls a helper over the x87 state. */
export const run = (x: Context, target: FunctionRef, ...args: (Val | number)[]): void =>
  x.code.run(target, x.cpu, ...args.map((a) => (typeof a === 'number' ? x.const(32, a) : a)));

/** View of the x87 state for an emitter. */
export const fpuOf = (x: Context): Fpu => new Fpu(x.code, x.cpu);

/** The exceptions that wait: #MF (SDM Vol. 1, "Software Exception Handling"). */
export const checkPending = (x: Context): void => x.faultIf(x.get32('fsw').and(Status.ES), Vector.MF);

/** Records where a non-control instruction was, for FNSTENV, FNSAVE and FXSAVE; after the last possible fault. */
export function recordPointers(x: Context, memory?: Val<64>): void {
  const { row } = x.facts;
  const { opcode, reg, rm } = row.code;
  // Mod and rm of a memory operand are not among the fields of an instruction: they are recorded as 0.
  const fixed = ((opcode & 7) << 8) | (reg << 3) | (x.facts.memory ? 0 : 0xc0 | Math.max(rm, 0));
  const named = !x.facts.memory && row.operands.some((o) => o.method === 'STi');
  x.set32('fop', named ? x.const(32, fixed).or(x.fields.rm()) : x.const(32, fixed));
  x.set64('fip', x.get64('blockRip').add(x.fields.blockOffset().zext(64)));
  x.set32('fcs', x.readState(16, offset.segSelector + 2 * Segment.CS).zext(32));
  if (memory) {
    x.set64('fdp', memory);
    x.set32('fds', x.readState(16, x.fields.segment().shl(1).add(offset.segSelector)).zext(32));
  }
}

/** A non-control instruction without a memory operand. */
export const plain =
  (body: (x: Context) => void): Emitter =>
  (x) => {
    checkPending(x);
    recordPointers(x);
    body(x);
  };

/** Letter of the memory operand's type. */
export const memoryType = (x: Context): string => x.facts.row.operands[0]!.memoryType || x.facts.row.operands[0]!.type;
/** Width of the memory operand. */
export const memoryWidth = (x: Context): IntWidth => OPERAND_BITS[memoryType(x)]!;

/** Loads the memory operand (single, double or integer) into the source operand. */
export function loadSource(x: Context): void {
  const type = memoryType(x);
  const width = memoryWidth(x);
  const address = x.effectiveAddress();
  const value = x.engine.load(x, width, x.linear(address, width / 8, 0));
  recordPointers(x, address);
  if (type === 'fs' || type === 'fd') run(x, WIDEN[width as 32 | 64], value.zext(64));
  else run(x, FROM_INTEGER, value.sext(64));
}

/** Loads ten bytes: significand, then sign and exponent. */
export function loadExtended(x: Context): { significand: Val<64>; se: I } {
  const address = x.effectiveAddress();
  const linear = x.linear(address, 10, 0);
  const significand = x.engine.load(x, 64, linear);
  const se = x.engine.load(x, 16, linear.add(8)).zext(32);
  recordPointers(x, address);
  return { significand, se };
}

/** Stores ten bytes, all or nothing. */
export function storeExtended(x: Context, linear: Val<64>, significand: Val<64>, se: I): void {
  x.engine.probeWrite(x, 10, linear);
  x.engine.store(x, 64, linear, significand);
  x.engine.store(x, 16, linear.add(8), se.trunc(16));
}

/** Exceptions that came with the source operand when it is loaded: an invalid one for signaling NaNs (which become quiet), denormals. */
export function loadFlags(f: Fpu): I {
  const kind = f.get(At.SOURCE_KIND);
  const signaling = kind.eq(5);
  f.set64(At.SOURCE, f.get64(At.SOURCE).or(signaling.zext(64).shl(62)));
  return signaling.or(kind.eq(2).shl(1));
}
