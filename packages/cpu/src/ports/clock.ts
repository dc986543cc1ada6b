/** A timer of a {@link CpuClock}. */
export interface CpuTimer {
  arm(deadlineNs: number): void;
  cancel(): void;
}

/** Guest time as a CPU sees it: `VirtualClock` of `@nestvm/bus` has this shape. */
export interface CpuClock {
  /** Nanoseconds since power-on, whole. */
  nowNs(): number;
  /** The latest answer of `nowNs`, whoever asked: cheap, and late by a slice at most. Without it, `nowNs` is asked. */
  recentNs?(): number;
  /** How the latest answer of `nowNs` goes on while this vCPU runs: by so much with each of its next instructions, and after those it must be asked for. Without it, each time. */
  pace?(): { readonly instructions: number; readonly nsPerInstruction: number };
  /** Makes a timer, so that a machine whose vCPUs all wait knows when one of them goes on. Without timers a timed wait ends when the vCPU gets its next turn after the deadline. */
  createTimer?(name: string, callback: () => void): CpuTimer;
}

/** Guest time for records of what happened when: late by a slice at most. */
export const recentNs = (clock: CpuClock): number => (clock.recentNs === undefined ? clock.nowNs() : clock.recentNs());
