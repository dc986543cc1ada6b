import { GPR, MODE, readHostTsc, word } from '@nestvm/cpu/extension';
import { Cr0, Mode, type SensitiveEvent } from '@nestvm/isa';
import { accessApicMsr } from '../avic/accesses.js';
import type { SvmContext } from '../context.js';
import { ExitCode } from '../exits/codes.js';
import { vmexit } from '../transitions/vmexit.js';
import { Vmcb } from '../vmcb/layout.js';
import { LAST_PAUSE, PAUSE_COUNT } from '../words.js';
import { isVirtualPending } from './events.js';
import { isIntercepted } from './intercept-bit.js';
import { interceptMap, Rule } from './map.js';
import { ioExitInfo, isMsrIntercepted, isPortIntercepted } from './permission-maps.js';
import { armWriteTrap } from './write-traps.js';

const CR0 = word('cr0');
const MSR_EFER = 0xc000_0080;
/** Bit 63 of EXITINFO1: a MOV, whose general register is in bits 3:0. */
const MOV_CR = 1 << 31;

/** Whether reads (or writes) of a control register are intercepted. */
const isCrIntercepted = (svm: SvmContext, register: number, write: boolean): boolean =>
  ((svm.i32[svm.vmcb + Vmcb.CR_INTERCEPTS]! >>> (register + (write ? 16 : 0))) & 1) !== 0;

const isDrIntercepted = (svm: SvmContext, register: number, write: boolean): boolean =>
  ((svm.i32[svm.vmcb + Vmcb.DR_INTERCEPTS]! >>> (register + (write ? 16 : 0))) & 1) !== 0;

/** True when a write of CR0 changes more than TS and MP. */
const isSelective = (svm: SvmContext, value: number): boolean => ((svm.cpu.w[CR0]! ^ value) & ~(Cr0.TS | Cr0.MP)) !== 0;

/** Both intercepts of CR0 at once: the plain one comes first (APM Vol. 2, "Intercept Operation"). */
function interceptCr(svm: SvmContext, length: number, register: number, write: boolean, gpr: number): boolean {
  const assist = svm.features.decodeAssists;
  const info1Lo = assist ? gpr : 0;
  const info1Hi = assist ? MOV_CR : 0;
  if (isCrIntercepted(svm, register, write))
    return vmexit(svm, (write ? ExitCode.CR0_WRITE : ExitCode.CR0_READ) + register, length, info1Lo, info1Hi);
  if (!write) return false;
  if (register === 0 && isIntercepted(svm, ExitCode.CR0_SEL_WRITE) && isSelective(svm, svm.cpu.w[GPR + 2 * gpr]!))
    return vmexit(svm, ExitCode.CR0_SEL_WRITE, length, info1Lo, info1Hi);
  armWriteTrap(svm, ExitCode.CR0_WRITE_TRAP + register, length);
  return false;
}

/** LMSW and CLTS count as writes of CR0. The selective intercept, which comes second, is about every LMSW, whatever it writes, and about no CLTS. */
function interceptCr0Change(svm: SvmContext, event: SensitiveEvent, length: number): boolean {
  if (isCrIntercepted(svm, 0, true)) return vmexit(svm, ExitCode.CR0_WRITE, length);
  if (event === 'LMSW' && isIntercepted(svm, ExitCode.CR0_SEL_WRITE)) return vmexit(svm, ExitCode.CR0_SEL_WRITE, length);
  armWriteTrap(svm, ExitCode.CR0_WRITE_TRAP, length);
  return false;
}

/** The PAUSE filter lets a number of PAUSEs pass, counted anew when they are far apart (APM Vol. 2, "Pause Intercept Filtering"). */
function passesPauseFilter(svm: SvmContext): boolean {
  const { cpu, features } = svm;
  const { w } = cpu;
  if (!features.pauseFilter) return false;
  const filter = svm.i32[svm.vmcb + Vmcb.PAUSE_FILTER]!;
  const threshold = filter & 0xffff;
  if (features.pauseThreshold && threshold !== 0) {
    readHostTsc(cpu);
    const apart = (cpu.lo - w[LAST_PAUSE]!) >>> 0;
    w[LAST_PAUSE] = cpu.lo;
    if (apart > threshold) w[PAUSE_COUNT] = filter >>> 16;
  }
  if (w[PAUSE_COUNT]! <= 0) return false;
  w[PAUSE_COUNT] = w[PAUSE_COUNT]! - 1;
  return true;
}

/** Idle HLT comes second, and only when nothing virtual is pending that would wake the guest (APM Vol. 2, "Instruction Intercepts"). */
function interceptHlt(svm: SvmContext, length: number): boolean {
  if (isIntercepted(svm, ExitCode.HLT)) return vmexit(svm, ExitCode.HLT, length);
  return svm.features.idleHlt && isIntercepted(svm, ExitCode.IDLE_HLT) && !isVirtualPending(svm) && vmexit(svm, ExitCode.IDLE_HLT, length);
}

function interceptMwait(svm: SvmContext, length: number, armed: boolean): boolean {
  if (armed && isIntercepted(svm, ExitCode.MWAIT_CONDITIONAL)) return vmexit(svm, ExitCode.MWAIT_CONDITIONAL, length);
  return isIntercepted(svm, ExitCode.MWAIT) && vmexit(svm, ExitCode.MWAIT, length);
}

function interceptIo(svm: SvmContext, length: number, port: number, write: boolean, width: number): boolean {
  if (!isIntercepted(svm, ExitCode.IOIO) || !isPortIntercepted(svm, port, width)) return false;
  const { w } = svm.cpu;
  const rip = word('rip');
  const lo = (w[rip]! + length) | 0;
  const hi = (w[MODE]! & Mode.LONG) !== 0 ? w[rip + 1]! + (lo >>> 0 < length ? 1 : 0) : 0;
  return vmexit(svm, ExitCode.IOIO, length, ioExitInfo(svm, port, write, width), 0, lo, hi);
}

/** The rules that are more than a bit. Arguments as in `Virtualization.intercept`. */
function interceptByRule(
  svm: SvmContext,
  event: SensitiveEvent,
  rule: number,
  length: number,
  number: number,
  write: boolean,
  extra: number,
): boolean {
  const assist = svm.features.decodeAssists;
  switch (rule) {
    case Rule.CR:
      return interceptCr(svm, length, number, write, extra);
    case Rule.CR0_CHANGE:
      return interceptCr0Change(svm, event, length);
    case Rule.CR0_STORE:
      return isCrIntercepted(svm, 0, false) && vmexit(svm, ExitCode.CR0_READ, length);
    case Rule.DR:
      return (
        isDrIntercepted(svm, number, write) && vmexit(svm, (write ? ExitCode.DR0_WRITE : ExitCode.DR0_READ) + number, length, assist ? extra : 0)
      );
    case Rule.IO:
      return interceptIo(svm, length, number, write, extra);
    case Rule.MSR:
      if (isIntercepted(svm, ExitCode.MSR) && isMsrIntercepted(svm, number, write)) return vmexit(svm, ExitCode.MSR, length, write ? 1 : 0);
      if (write && number === MSR_EFER) armWriteTrap(svm, ExitCode.EFER_WRITE_TRAP, length);
      return accessApicMsr(svm, number, write, length);
    case Rule.HLT:
      return interceptHlt(svm, length);
    case Rule.PAUSE:
      return isIntercepted(svm, ExitCode.PAUSE) && !passesPauseFilter(svm) && vmexit(svm, ExitCode.PAUSE, length);
    case Rule.MWAIT:
      return interceptMwait(svm, length, extra !== 0);
    case Rule.INVLPG:
      return isIntercepted(svm, ExitCode.INVLPG) && vmexit(svm, ExitCode.INVLPG, length, assist ? number : 0, assist ? extra : 0);
    case Rule.INT:
      return isIntercepted(svm, ExitCode.SWINT) && vmexit(svm, ExitCode.SWINT, length, assist ? number & 0xff : 0);
    default:
      return false;
  }
}

/** Asked for each sensitive instruction in guest mode; see `Virtualization.intercept`. */
export function interceptInstruction(svm: SvmContext, event: SensitiveEvent, length: number, number: number, write: boolean, extra: number): boolean {
  const rule = interceptMap[event];
  if (rule <= 0) return interceptByRule(svm, event, rule, length, number, write, extra);
  return isIntercepted(svm, rule) && vmexit(svm, rule, length);
}
