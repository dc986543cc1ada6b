import type { Device, Line, Width, Wiring } from '@nestvm/bus';
import { record, type SavableDevice, type Saved, unsigned } from '../../saved-state.js';

const RESET_CPU = 0x04;
/** Bits that stay: system reset (1) and full power cycle (3). */
const KEPT = 0x0a;
const schema = record({ value: unsigned(8) });
/** Saved state of the reset control register. */
export type SavedResetControl = Saved<typeof schema>;

/**
 * The reset control register at port 0xcf9 ("82371SB PIIX3", "ICH9"): a rising RST_CPU bit pulses the line `reset`.
 * It lies inside the PCI address port's dword, but answers byte accesses only; on boards with PCI the host bridge forwards those (see `PciHost`).
 */
export class ResetControl implements Device, SavableDevice<SavedResetControl> {
  readonly name = 'reset-control';
  #value = 0;
  #resetLine!: Line;

  /** `claimPort`: false where a PCI host bridge owns 0xcf8-0xcff and forwards to `read` and `write`. */
  constructor(readonly claimPort = true) {}

  attach(wiring: Wiring): void {
    this.#resetLine = wiring.line('reset');
    if (!this.claimPort) return;
    wiring.pio({
      name: this.name,
      base: 0xcf9,
      size: 1,
      read: () => this.read(),
      write: (_offset: number, _width: Width, value: number) => this.write(value),
    });
  }

  reset(): void {
    this.#value = 0;
  }

  read(): number {
    return this.#value;
  }

  write(value: number): void {
    const resetting = (value & ~this.#value & RESET_CPU) !== 0;
    this.#value = value & (KEPT | RESET_CPU);
    if (!resetting) return;
    this.#value &= ~RESET_CPU;
    this.#resetLine.set(1);
    this.#resetLine.set(0);
  }

  save(): SavedResetControl {
    return { value: this.#value };
  }

  load(saved: unknown): void {
    this.#value = schema.check(saved, this.name).value & KEPT;
  }
}
