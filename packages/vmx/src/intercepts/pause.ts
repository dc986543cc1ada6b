import { CPL } from '@nestvm/cpu/extension';
import { Proc1, Proc2 } from '../controls/controls.js';
import { F } from '../fields/layout.js';
import { exitForInstruction } from '../transitions/exit.js';
import { ExitReason } from '../transitions/reasons.js';
import type { Vmx } from '../vmx.js';

const f = { gap: F.PLE_GAP, window: F.PLE_WINDOW } as const;

/**
 * PAUSE: "PAUSE exiting", else PAUSE-loop exiting at CPL 0 (SDM Vol. 3, "Instructions That Cause VM Exits Conditionally"). A loop is a row of executions with at most
 * PLE_Gap between neighbours; when it has lasted longer than PLE_Window, it exits. Both are in units of the TSC, which counts nanoseconds here.
 */
export function pause(vmx: Vmx, length: number): boolean {
  const { controls, cpu } = vmx;
  if (controls.hasProc1(Proc1.PAUSE_EXITING)) return exitForInstruction(vmx, ExitReason.PAUSE, length);
  if (!controls.hasProc2(Proc2.PAUSE_LOOP_EXITING) || cpu.w[CPL] !== 0) return false;
  const now = cpu.clock.nowNs();
  const gap = vmx.i32[vmx.region + f.gap]! >>> 0;
  const window = vmx.i32[vmx.region + f.window]! >>> 0;
  const loop = vmx.pauseLoop;
  const continues = now - loop.last <= gap;
  loop.last = now;
  if (!continues) loop.first = now;
  return now - loop.first > window && exitForInstruction(vmx, ExitReason.PAUSE, length);
}
