import { EventKind, INTERRUPTIBILITY, injectEvent, RIP, Shadow } from '@nestvm/cpu/extension';
import type { SvmContext } from '../context.js';
import { EventInfo, IntControl, Vmcb } from '../vmcb/layout.js';

const BREAKPOINT = 3;
const OVERFLOW = 4;
const SHADOWS = 3;

/** Software events return past their instruction where the VMCB's nRIP says: its distance from RIP, as far as it is that of an instruction. */
function returnDistance(svm: SvmContext): number {
  const { w } = svm.cpu;
  const v = svm.vmcb;
  const distance = (svm.i32[v + Vmcb.NEXT_RIP]! - w[RIP]!) | 0;
  if (distance >= 0 && distance <= 15) return distance;
  // The guest is to go on anywhere else: RIP itself moves there.
  w[RIP] = svm.i32[v + Vmcb.NEXT_RIP]!;
  w[RIP + 1] = svm.i32[v + Vmcb.NEXT_RIP + 1]!;
  return 0;
}

/** Exceptions 3 and 4 are those of INT3 and INTO: traps, for which the gate's DPL counts. */
function kindOf(type: number, vector: number): EventKind {
  const soft = type === (EventKind.EXCEPTION as number) && (vector === BREAKPOINT || vector === OVERFLOW);
  return soft ? EventKind.SOFTWARE_EXCEPTION : (type as EventKind);
}

/** Delivers the event in EVENTINJ, whose checks have passed (APM Vol. 2, "Event Injection"). The intercepts do not see it, but faults on the way do. */
export function injectFromVmcb(svm: SvmContext): void {
  const { cpu, i32, vmcb } = svm;
  const info = i32[vmcb + Vmcb.EVENT_INJECTION]!;
  if ((info & EventInfo.VALID) === 0) return;
  const vector = info & EventInfo.VECTOR;
  const kind = kindOf((info >>> EventInfo.TYPE_SHIFT) & 7, vector);
  const error = i32[vmcb + Vmcb.EVENT_INJECTION + 1]!;
  const hasError = kind === EventKind.EXCEPTION && (info & EventInfo.ERROR_VALID) !== 0;
  const soft = kind === EventKind.SOFTWARE_INTERRUPT || kind === EventKind.SOFTWARE_EXCEPTION;
  const length = soft && svm.features.nrips ? returnDistance(svm) : 0;
  const masks = kind === EventKind.NMI && svm.features.vnmi && (i32[vmcb + Vmcb.INT_CONTROL]! & IntControl.V_NMI_ENABLE) !== 0;
  cpu.w[INTERRUPTIBILITY] = (cpu.w[INTERRUPTIBILITY]! & ~SHADOWS) | (masks ? Shadow.VIRTUAL_NMI : 0);
  injectEvent(cpu, kind === EventKind.NMI ? 2 : vector, kind, error, hasError, length);
}
