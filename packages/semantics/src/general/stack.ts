import type { IntWidth, Val } from '@nestvm/emit';
import { Gpr, vcpuState } from '@nestvm/isa';
import { type Context, Vector } from '../context.js';
import type { Meanings } from '../emitter.js';
import { instruction, operandsOf, widen } from '../instruction.js';
import { operandWidth } from '../operand.js';
import { peek, push, release, setStackPointer, stackLinear, stackPointer } from '../stack.js';

const RSP_OFFSET = vcpuState.offset.gpr + 8 * Gpr.RSP;
/** PUSHA order; the RSP slot is skipped by POPA. */
const ALL = [Gpr.RAX, Gpr.RCX, Gpr.RDX, Gpr.RBX, Gpr.RSP, Gpr.RBP, Gpr.RSI, Gpr.RDI];
const SEGMENT_NUMBER: Record<string, number> = { ES: 0, CS: 1, SS: 2, DS: 3, FS: 4, GS: 5 };

/** POP to memory: an address based on RSP sees it already moved. */
function popMemory(x: Context, width: IntWidth): void {
  const bytes = width / 8;
  const value = peek(x, width);
  const moved = x.fields.base().eq(RSP_OFFSET).mul(bytes).zext(64);
  let address = x.effectiveAddress().add(moved);
  if (x.facts.addressSize !== 64) address = address.and(x.facts.addressSize === 32 ? 0xffffffffn : 0xffffn);
  x.engine.store(x, width, x.linear(address, bytes, 1), value);
  release(x, bytes);
}

/** ENTER: makes a frame; levels above 0 copy the display. */
function enter(x: Context): void {
  const { code } = x;
  const { operandSize, stackSize } = x.facts;
  const bytes = operandSize / 8;
  const immediate = x.fields.immediate32();
  const level = immediate.shrU(16).and(31);
  const locals = immediate.and(0xffff).zext(64);
  const old = stackPointer(x);
  const frame = old.sub(bytes);
  // On a 16-bit stack the frame pointer is ESP with its low half moved.
  const framePointer =
    stackSize !== 16
      ? frame
      : x
          .gpr(32, Gpr.RSP)
          .and(0xffff0000 | 0)
          .or(frame.trunc(32).and(0xffff))
          .zext(64);
  const display = x.gpr(stackSize, Gpr.RBP).zext(64);
  const depth = code.select(level.isZero(), x.const(32, 0), level);
  const end = frame.sub(depth.mul(bytes).zext(64)).sub(locals);
  // The first push is checked for its alignment before anything else.
  if (x.facts.aligned) x.engine.probeWrite(x, bytes, stackLinear(x, frame, bytes, 1));
  // A write to the new top must be possible before anything changes (SDM Vol. 2, ENTER).
  x.engine.probeWrite(x, 1, stackLinear(x, end, 1, 1));
  x.engine.store(x, operandSize, stackLinear(x, frame, bytes, 1), x.gpr(operandSize, Gpr.RBP));
  const turn = code.variable(x.const(32, 1));
  code.while(
    () => turn.get().ltU(level),
    () => {
      const at = turn.get().mul(bytes).zext(64);
      const value = x.engine.load(x, operandSize, stackLinear(x, display.sub(at), bytes, 0));
      x.engine.store(x, operandSize, stackLinear(x, frame.sub(at), bytes, 1), value);
      turn.set(turn.get().add(1));
    },
  );
  code.if(level, () => {
    const at = level.mul(bytes).zext(64);
    x.engine.store(x, operandSize, stackLinear(x, frame.sub(at), bytes, 1), framePointer.trunc(operandSize) as Val<IntWidth>);
  });
  x.setGpr(operandSize, Gpr.RBP, framePointer.trunc(operandSize) as Val<IntWidth>);
  setStackPointer(x, end);
}

/** Stack instructions (SDM Vol. 1, "Stack"). */
export const stack: Meanings = {
  /** Push. The value is read before RSP moves, so PUSH RSP pushes the old RSP. */
  PUSH: instruction((x, src) => push(x, widen(src.read(), x.facts.operandSize))),
  POP: (x) => {
    const [spec] = x.facts.row.operands;
    const width = operandWidth(spec.type, x.facts.operandSize);
    if (x.facts.memory) return popMemory(x, width);
    const value = peek(x, width);
    release(x, width / 8);
    operandsOf(x)[0].write(value);
  },
  /** Push of a segment register: a 32-bit push writes 16 bits and leaves the rest of the slot; a 64-bit one writes zeros above. */
  PUSH_SREG: (x) => {
    const { operandSize } = x.facts;
    const selector = x.readState(16, vcpuState.offset.segSelector + 2 * SEGMENT_NUMBER[x.facts.row.operands[0].method]);
    if (operandSize !== 32) return push(x, selector.zext(operandSize));
    const pointer = stackPointer(x).sub(4);
    x.engine.store(x, 16, stackLinear(x, pointer, 2, 1), selector);
    setStackPointer(x, pointer);
  },
  PUSHA: (x) => {
    const width = x.facts.operandSize;
    const bytes = width / 8;
    const top = stackPointer(x);
    const bottom = top.sub(8 * bytes);
    x.engine.probeWrite(x, 1, stackLinear(x, bottom, 1, 1));
    for (const [i, register] of ALL.entries()) x.engine.store(x, width, stackLinear(x, top.sub((i + 1) * bytes), bytes, 1), x.gpr(width, register));
    setStackPointer(x, bottom);
  },
  POPA: (x) => {
    const width = x.facts.operandSize;
    const bytes = width / 8;
    // In the order of the pops, lowest address first, so that the first that faults is the one that is reported.
    const values = ALL.map((_, i) => peek(x, width, i * bytes));
    for (const [i, register] of ALL.entries()) if (register !== Gpr.RSP) x.setGpr(width, register, values[7 - i]);
    release(x, 8 * bytes);
  },
  ENTER: enter,
  LEAVE: (x) => {
    const width = x.facts.operandSize;
    const frame = x.gpr(x.facts.stackSize, Gpr.RBP).zext(64);
    const value = x.engine.load(x, width, stackLinear(x, frame, width / 8, 0));
    setStackPointer(x, frame.add(width / 8));
    x.setGpr(width, Gpr.RBP, value);
  },
  /** Bounds check: signed index outside of the pair in memory is #BR. */
  BOUND: (x) => {
    const width = x.facts.operandSize as 16 | 32;
    const bytes = width / 8;
    const index = x.readGpr(width, x.fields.reg());
    const linear = x.operandAddress(2 * bytes, 0);
    const [lower, upper] = [x.engine.load(x, width, linear), x.engine.load(x, width, linear.add(bytes))];
    x.faultIf(index.ltS(lower).or(index.gtS(upper)), Vector.BR);
  },
};
