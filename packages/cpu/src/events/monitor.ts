import type { Vcpu } from '../vcpu.js';
import { word } from '../words.js';

const MONITOR_ARMED = word('monitorArmed');
const MONITOR_ADDRESS = word('monitorAddress');
const LINE_BYTES = 64;

/** Bits of `monitorArmed`. */
export const Monitor = {
  ARMED: 1,
  /** MWAIT was told that interrupts end it even while RFLAGS.IF is 0. */
  BREAK_ON_INTERRUPT: 2,
  /** The line was armed by UMONITOR, for UMWAIT. */
  USER: 4,
  /** The wait ends at `waitDeadline`; LIMITED: which is the operating system's limit. */
  TIMED: 8,
  LIMITED: 16,
} as const;

const lineAddress = (cpu: Vcpu): number => cpu.w[MONITOR_ADDRESS + 1]! * 4294967296 + (cpu.w[MONITOR_ADDRESS]! >>> 0);

/** Arms monitoring of the line that holds a physical address: its bytes are kept, and a difference counts as a store. */
export function armMonitor(cpu: Vcpu, physical: number): void {
  const { w, memory, monitoredLine } = cpu;
  const line = physical - (physical % LINE_BYTES);
  w[MONITOR_ADDRESS] = line;
  w[MONITOR_ADDRESS + 1] = line / 4294967296;
  for (let i = 0; i < LINE_BYTES / 4; i++) monitoredLine[i] = memory.read32(line + 4 * i);
  w[MONITOR_ARMED] = Monitor.ARMED;
}

/**
 * True when the monitored line has other contents than when it was armed. A store of equal bytes goes unseen, which is allowed to nobody but
 * a waker that changes nothing: every waiter compares memory with what it waits for.
 */
export function isMonitorTriggered(cpu: Vcpu): boolean {
  const { memory, monitoredLine } = cpu;
  const line = lineAddress(cpu);
  for (let i = 0; i < LINE_BYTES / 4; i++) if (memory.read32(line + 4 * i) >>> 0 !== monitoredLine[i]) return true;
  return false;
}
