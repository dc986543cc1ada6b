import type { Val } from '@nestvm/emit';
import { Gpr, MsrTable } from '@nestvm/isa';
import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';
import { goOn, leaveIf, leaveIfSet } from './leave.js';

/** The slot of the register that ECX names, at level 0; leaves where another register has it. */
function slotOf(x: Context): Val<32> {
  const index = x.gpr(32, Gpr.RCX);
  const table = x.get32('msrTable');
  leaveIf(x, x.get32('cpl').or(table.isZero()));
  const number = index.xor(index.shrU(1)).and(MsrTable.SLOTS - 1);
  const slot = table.add(number.mul(MsrTable.SLOT_BYTES));
  leaveIf(x, x.code.load('i32.load', 32, slot, MsrTable.INDEX).ne(index));
  return slot;
}

/** Leaves in guest mode unless the hypervisor's bitmap lets the access pass. */
function leaveIfIntercepted(x: Context, slot: Val<32>, bitField: number): void {
  const { code } = x;
  code.if(x.get32('guestMode'), () => {
    const bitmap = x.get32('msrBitmap');
    const bit = code.load('i32.load', 32, slot, bitField);
    leaveIf(x, bitmap.isZero().or(bit.ltS(0)));
    leaveIfSet(x, bitmap, bit);
  });
}

/** RDMSR of a register that is a word of the state. */
export const RDMSR: Emitter = (x) => {
  const slot = slotOf(x);
  const home = x.code.load('i32.load16_u', 32, slot, MsrTable.READ);
  leaveIf(x, home.isZero());
  leaveIfIntercepted(x, slot, MsrTable.READ_BIT);
  const value = x.readState(64, home);
  x.setGpr(32, Gpr.RAX, value.trunc(32));
  x.setGpr(32, Gpr.RDX, value.shrU(32).trunc(32));
};

/** WRMSR of a value that such a register may have. */
export const WRMSR: Emitter = (x) => {
  const { code } = x;
  const slot = slotOf(x);
  const home = code.load('i32.load16_u', 32, slot, MsrTable.WRITE);
  leaveIf(x, home.isZero());
  leaveIfIntercepted(x, slot, MsrTable.WRITE_BIT);
  const value = x.gpr(32, Gpr.RDX).zext(64).shl(32).or(x.gpr(32, Gpr.RAX).zext(64));
  const excess = value.and(code.load('i64.load', 64, slot, MsrTable.MASK).not());
  const top = value.shrS(code.load('i32.load', 32, slot, MsrTable.TOP));
  leaveIf(x, excess.isZero().xor(1).or(top.add(1).gtU(1)));
  x.writeState(64, home, value);
  goOn(x);
};
