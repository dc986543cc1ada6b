import type { IntWidth, Val } from '@nestvm/emit';
import { GuestMode, Mode, Rflags, Segment, vcpuState } from '@nestvm/isa';
import type { Emitter, Meanings } from '../emitter.js';
import { integerOperand } from '../operand.js';
import { push } from '../stack.js';
import { SYSCALL, SYSRET } from './fast-call.js';
import { CLGI, STGI } from './global-interrupts.js';
import { IRET } from './interrupt-return.js';
import { INT, UD2 } from './interrupts.js';
import { isIntercepted, leaveIf } from './leave.js';
import { RDMSR, WRMSR } from './msr.js';
import { CLAC, POPF, STAC } from './privilege.js';
import { LDMXCSR, MOV_CR, RDFSBASE, RDGSBASE, RDPKRU, RDTSC, RDTSCP, STMXCSR, WRFSBASE, WRGSBASE } from './registers.js';
import { INVLPG, LGDT, SGDT, VERW } from './tables.js';
import { VMREAD, VMWRITE } from './vmcs.js';

const at = vcpuState.offset;
const GS_BASE = at.segBase + 8 * Segment.GS;

/** CLI at level 0 (which virtual-8086 mode never is); VIF and IOPL are the full implementation's. */
const CLI: Emitter = (x) => {
  leaveIf(x, x.get32('cpl'));
  x.set32('rflags', x.get32('rflags').and(~Rflags.IF));
};

/**
 * STI at level 0 while nothing is being held back. Then the shadow over the next instruction needs no other care than that both are in one block:
 * events are looked at between blocks. In guest mode an exit of the next instruction tells of the shadow: there that one must be a NOP, which cannot exit,
 * as it is where Linux patches a call of a hypervisor out; or IF is 1 already, and there is no shadow.
 */
const STI: Emitter = (x) => {
  const isTold = x.get32('guestMode').isNonzero().and(x.engine.isBeforeNop(x).isZero()).and(x.get32('rflags').and(Rflags.IF).isZero());
  leaveIf(x, x.get32('cpl').or(isTold).or(x.get32('interruptHeld')).or(x.engine.isLast(x)));
  x.set32('rflags', x.get32('rflags').or(Rflags.IF));
};

/** PUSHF outside of virtual-8086 mode. RF and VM are pushed as 0 (SDM Vol. 2, PUSHF). */
const PUSHF: Emitter = (x) => {
  leaveIf(x, isIntercepted(x, GuestMode.PLAIN_PUSHF).or(x.get32('mode').and(Mode.V8086)));
  const image = x
    .get32('rflags')
    .and(~(Rflags.RF | Rflags.VM))
    .or(x.flags.pack());
  push(x, (x.facts.operandSize === 64 ? image.zext(64) : image.trunc(x.facts.operandSize)) as Val<IntWidth>);
};

/** The selector of a segment register; loads of segment registers are the full implementation's. */
const MOV_SREG: Emitter = (x) => {
  const [spec] = x.facts.row.operands;
  if (spec!.method === 'S') {
    x.engine.system(x);
    x.ended = true;
    return;
  }
  const number = x.fields.reg();
  leaveIf(x, number.gtU(Segment.GS));
  const target = integerOperand(x, spec!, x.facts.memory ? 16 : x.facts.operandSize);
  target.write(x.readState(16, number.shl(1).add(at.segSelector)).zext(target.width));
};

const SWAPGS: Emitter = (x) => {
  leaveIf(x, x.get32('cpl'));
  const base = x.readState(64, GS_BASE);
  x.writeState(64, GS_BASE, x.get64('kernelGsBase'));
  x.set64('kernelGsBase', base);
};

/** A hint in a spin loop: nothing to do, unless a hypervisor may want to know. */
const PAUSE: Emitter = (x) => leaveIf(x, x.get32('guestMode'));

/** System instructions that run often and mostly need little. Whatever is unusual leaves to their full implementation in `@nestvm/cpu`. */
export const systemMeanings: Meanings = {
  CLI,
  STI,
  PUSHF,
  POPF,
  STAC,
  CLAC,
  SYSCALL,
  SYSRET,
  IRET,
  INT,
  UD2,
  MOV_SREG,
  MOV_CR,
  RDPKRU,
  RDFSBASE,
  RDGSBASE,
  WRFSBASE,
  WRGSBASE,
  SWAPGS,
  RDTSC,
  RDTSCP,
  LGDT,
  SGDT,
  VERW,
  INVLPG,
  RDMSR,
  WRMSR,
  LDMXCSR,
  VLDMXCSR: LDMXCSR,
  STMXCSR,
  VSTMXCSR: STMXCSR,
  PAUSE,
  VMREAD,
  VMWRITE,
  STGI,
  CLGI,
};
