import type { Val } from '@nestvm/emit';
import { Cr4, Gpr, GuestMode, Segment, vcpuState } from '@nestvm/isa';
import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';
import { integerOperand } from '../operand.js';
import { isFar, isIntercepted, leaveIf } from './leave.js';

const at = vcpuState.offset;
/** Bits of MXCSR that are not reserved. */
const MXCSR = 0x2ffff;

/** A control register but CR8; loads of control registers, and whatever a hypervisor may want to show in place of one, are the full implementation's. */
export const MOV_CR: Emitter = (x) => {
  const [target, source] = x.facts.row.operands;
  if (target!.method === 'C' || !x.facts.long) {
    x.engine.system(x);
    x.ended = true;
    return;
  }
  const number = source!.method === 'C' ? x.fields.reg() : x.fields.rm();
  const plain = x.code.select(
    number.eq(2),
    x.const(32, GuestMode.PLAIN_CR2),
    x.code.select(number.eq(3), x.const(32, GuestMode.PLAIN_CR3), x.const(32, 0)),
  );
  const isShown = x.get32('guestMode').isZero().or(x.get32('guestMode').and(plain));
  leaveIf(x, x.get32('cpl').or(isShown.isZero()).or(number.eq(1)).or(number.gtU(4)));
  // CR0, CR2, CR3 and CR4 stand one after another.
  const place = x.code.select(number, number.sub(1), number);
  x.writeGpr(64, x.fields.rm(), x.readState(64, place.shl(3).add(at.cr0)));
};

/** RDPKRU where it does not fault. */
export const RDPKRU: Emitter = (x) => {
  leaveIf(x, x.get32('cr4').and(Cr4.PKE).isZero().or(x.gpr(32, Gpr.RCX)));
  x.setGpr(32, Gpr.RAX, x.get32('pkru'));
  x.setGpr(32, Gpr.RDX, x.const(32, 0));
};

const baseOf = (segment: number): number => at.segBase + 8 * segment;

const readBase =
  (segment: number): Emitter =>
  (x) => {
    leaveIf(x, x.get32('cr4').and(Cr4.FSGSBASE).isZero());
    const target = integerOperand(x, x.facts.row.operands[0]!);
    target.write(x.readState(target.width, baseOf(segment)));
  };

/** WRFSBASE and WRGSBASE of a canonical address. */
const writeBase =
  (segment: number): Emitter =>
  (x) => {
    const value = integerOperand(x, x.facts.row.operands[0]!).read().zext(64);
    leaveIf(x, x.get32('cr4').and(Cr4.FSGSBASE).isZero().or(isFar(x, value)));
    x.writeState(64, baseOf(segment), value);
  };

export const RDFSBASE = readBase(Segment.FS);
export const RDGSBASE = readBase(Segment.GS);
export const WRFSBASE = writeBase(Segment.FS);
export const WRGSBASE = writeBase(Segment.GS);

/** The time-stamp counter, as a guest sees it in guest mode, where neither CR4.TSD nor a hypervisor forbids it. */
function readTime(x: Context): void {
  const isReserved = x.get32('cr4').and(Cr4.TSD).isNonzero().and(x.get32('cpl').isNonzero());
  leaveIf(x, isIntercepted(x, GuestMode.PLAIN_RDTSC).or(isReserved));
  const time: Val<64> = x.engine.time(x);
  x.setGpr(32, Gpr.RAX, time.trunc(32));
  x.setGpr(32, Gpr.RDX, time.shrU(32).trunc(32));
}

export const RDTSC: Emitter = readTime;
export const RDTSCP: Emitter = (x) => {
  readTime(x);
  x.setGpr(32, Gpr.RCX, x.get32('tscAux'));
};

/** LDMXCSR of bits that are not reserved. */
export const LDMXCSR: Emitter = (x) => {
  const value = integerOperand(x, x.facts.row.operands[0]!, 32).read() as Val<32>;
  leaveIf(x, value.and(~MXCSR));
  x.set32('mxcsr', value);
};

export const STMXCSR: Emitter = (x) => integerOperand(x, x.facts.row.operands[0]!, 32).write(x.get32('mxcsr'));
