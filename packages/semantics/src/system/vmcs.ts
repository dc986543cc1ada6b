import type { Val } from '@nestvm/emit';
import { VmcsTable } from '@nestvm/isa';
import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';
import { integerOperand } from '../operand.js';
import { leaveIf, leaveIfSet } from './leave.js';

/** Leaves where a bitmap has a 1 for a field: such an access is the hypervisor's. */
function leaveIfRestricted(x: Context, bitmap: Val<32>, field: Val<32>): void {
  x.code.if(bitmap, () => leaveIfSet(x, bitmap, field));
}

/** The table's slot of the field that the register operand names, for hypervisors at level 0 in 64-bit mode; the rest is the full implementation's. */
function slotOf(x: Context, region: Val<32>, bitmap: Val<32>): Val<32> {
  const encoding = x.readGpr(64, x.fields.reg());
  const unusual = encoding.and(~BigInt(VmcsTable.ENCODING)).isZero().xor(1);
  leaveIf(x, x.get32('cpl').or(unusual).or(region.isZero()));
  const bits = encoding.trunc(32);
  leaveIfRestricted(x, bitmap, bits);
  const slot = bits.shrU(5).and(0x300).or(bits.shrU(4).and(0xc0)).or(bits.shrU(1).and(0x3f));
  return x.get32('vmcsFields').add(slot.mul(VmcsTable.SLOT_BYTES));
}

/** VMsucceed: all arithmetic flags are 0, which a result of 1 means, PF of which is 0. */
const succeed = (x: Context): void => x.flags.logic(x.const(64, 1));

function notHere(x: Context): void {
  x.engine.system(x);
  x.ended = true;
}

/** VMREAD of the current VMCS in root operation, of the shadow VMCS in guest mode. */
export const VMREAD: Emitter = (x) => {
  if (!x.facts.long) return notHere(x);
  const { code } = x;
  const region = x.get32('vmcsRead');
  const slot = slotOf(x, region, x.get32('vmcsReadBitmap'));
  const offset = code.load('i32.load16_u', 32, slot, VmcsTable.READ);
  leaveIf(x, offset.isZero());
  const value = code.load('i64.load', 64, region.add(offset), 0).and(code.load('i64.load', 64, slot, VmcsTable.MASK));
  integerOperand(x, x.facts.row.operands[0]!, 64).write(value);
  succeed(x);
};

/** VMWRITE, likewise; where that changes the field, the checks of the next VM entry look at its groups again. */
export const VMWRITE: Emitter = (x) => {
  if (!x.facts.long) return notHere(x);
  const { code } = x;
  const region = x.get32('vmcsWrite');
  const slot = slotOf(x, region, x.get32('vmcsWriteBitmap'));
  const offset = code.load('i32.load16_u', 32, slot, VmcsTable.WRITE);
  leaveIf(x, offset.isZero());
  const value = (integerOperand(x, x.facts.row.operands[1]!, 64).read() as Val<64>).and(code.load('i64.load', 64, slot, VmcsTable.MASK));
  const place = region.add(offset);
  // Hypervisors write much that is there already.
  code.if(code.load('i64.load', 64, place, 0).eq(value).isZero(), () => {
    code.store('i64.store', place, value, 0);
    const clean = code.load('i32.load', 32, region, VmcsTable.CLEAN_GROUPS).and(code.load('i32.load', 32, slot, VmcsTable.KEEP));
    code.store('i32.store', region, clean, VmcsTable.CLEAN_GROUPS);
  });
  succeed(x);
};
