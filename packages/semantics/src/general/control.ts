import type { IntWidth, Val } from '@nestvm/emit';
import { Gpr, Segment, vcpuState } from '@nestvm/isa';
import { type Context, Vector } from '../context.js';
import type { Emitter, Meanings } from '../emitter.js';
import { instruction } from '../instruction.js';
import { peek, push, setStackPointer, stackPointer } from '../stack.js';
import { byCondition } from './data.js';

const CS_LIMIT = vcpuState.offset.segLimit + 4 * Segment.CS;

/** Faults on a branch target outside of the code segment, or not canonical. */
function checkTarget(x: Context, target: Val<64>): void {
  if (!x.facts.long) return x.faultIf(target.trunc(32).gtU(x.readState(32, CS_LIMIT)), Vector.GP, 0);
  const top = target.shrS(x.facts.canonicalBits - 1);
  x.faultIf(top.add(1).gtU(1), Vector.GP, 0);
}

/** Direct jumps whose target needs neither a cut nor a check may be linked by the engine. */
const linkable = (x: Context): boolean => x.facts.long || (x.facts.stackSegment === 'none' && x.facts.operandSize === 32);

/** The target of a direct jump, cut to the operand size. */
function directTarget(x: Context): Val<64> {
  const target = x.get64('blockRip').add(x.fields.targetOffset().sext(64));
  if (x.facts.long) return target;
  return target.and(x.facts.operandSize === 16 ? 0xffffn : 0xffffffffn);
}

/** Goes to the direct target. */
function jump(x: Context): void {
  if (linkable(x)) return x.engine.jumpDirect(x);
  const target = directTarget(x);
  checkTarget(x, target);
  x.engine.jumpIndirect(x, target);
}

/** A jump on a condition. */
function branch(condition: (x: Context) => Val<32>): Emitter {
  return (x) => {
    x.code.if(condition(x), () => jump(x));
    x.engine.fallThrough(x);
    x.ended = true;
  };
}

/** LOOP, LOOPE, LOOPNE: the count goes down first; its width is the address size. */
function loop(also: (x: Context) => Val<32> | null): Emitter {
  return (x) => {
    const width = x.facts.addressSize;
    const count = x.gpr(width, Gpr.RCX).sub(1);
    const extra = also(x);
    const taken = extra ? count.isNonzero().and(extra) : count.isNonzero();
    // A taken jump may fault on its target, before the count is written.
    if (!linkable(x)) x.code.if(taken, () => checkTarget(x, directTarget(x)));
    x.setGpr(width, Gpr.RCX, count as Val<IntWidth>);
    x.code.if(taken, () => (linkable(x) ? x.engine.jumpDirect(x) : x.engine.jumpIndirect(x, directTarget(x))));
    x.engine.fallThrough(x);
    x.ended = true;
  };
}

const isRelative = (x: Context): boolean => x.facts.row.operands[0].method === 'J';

const CALL: Emitter = (x) => {
  const back = x.nextRip().trunc(x.facts.operandSize);
  if (isRelative(x)) {
    if (!linkable(x)) checkTarget(x, directTarget(x));
    push(x, back);
    if (linkable(x)) x.engine.jumpDirect(x);
    else x.engine.jumpIndirect(x, directTarget(x));
  } else {
    instruction((y, target) => {
      const address = target.read().zext(64) as Val<64>;
      checkTarget(y, address);
      push(y, back);
      y.engine.jumpIndirect(y, address);
    })(x);
  }
  x.ended = true;
};

const JMP: Emitter = (x) => {
  if (isRelative(x)) jump(x);
  else {
    instruction((y, target) => {
      const address = target.read().zext(64) as Val<64>;
      checkTarget(y, address);
      y.engine.jumpIndirect(y, address);
    })(x);
  }
  x.ended = true;
};

const RET: Emitter = (x) => {
  const width = x.facts.operandSize;
  const target = peek(x, width).zext(64) as Val<64>;
  checkTarget(x, target);
  const extra = x.facts.row.operands.length > 0 ? x.fields.immediate32().and(0xffff).zext(64) : x.const(64, 0);
  setStackPointer(
    x,
    stackPointer(x)
      .add(width / 8)
      .add(extra),
  );
  x.engine.jumpIndirect(x, target);
  x.ended = true;
};

/** Near control transfer (SDM Vol. 1, "Control Transfer Instructions"). */
export const control: Meanings = {
  ...byCondition(
    'J',
    branch((x) => x.flags.condition(x.facts.row.code.opcode & 15)),
  ),
  JCXZ: branch((x) => x.gpr(x.facts.addressSize, Gpr.RCX).isZero()),
  LOOP: loop(() => null),
  LOOPE: loop((x) => x.flags.zf()),
  LOOPNE: loop((x) => x.flags.zf().xor(1)),
  JMP,
  CALL,
  RET,
};
