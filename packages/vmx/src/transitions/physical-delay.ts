/** The TSC multiplier of L2, as halves of 64 bits with 48 fraction bits. */
interface TscMultiplier {
  readonly multiplierLo: number;
  readonly multiplierHi: number;
}

/** Nanoseconds of so many ticks of the guest's TSC (SDM Vol. 3, "Changes to Instruction Behavior in VMX Non-Root Operation": the physical delay). */
export function unscaleTicks({ multiplierLo, multiplierHi }: TscMultiplier, ticks: number): number {
  const multiplier = (multiplierHi >>> 0) * 4294967296 + (multiplierLo >>> 0);
  return multiplier === 0 ? Number.MAX_SAFE_INTEGER : (ticks * 2 ** 48) / multiplier;
}
