import type { Device, Line, Wiring } from '@nestvm/bus';
import { record, type SavableDevice, type Saved, unsigned } from '../../saved-state.js';
import { byteRegion } from '../byte-region.js';

const FAST_RESET = 0x01;
const A20 = 0x02;
const schema = record({ value: unsigned(8) });
/** Saved state of port 0x92. */
export type SavedPort92 = Saved<typeof schema>;

/** System control port A, 0x92: the fast A20 gate (line `a20`, the last writer wins) and the fast reset (line `reset`, pulsed on a rising bit 0). */
export class Port92 implements Device, SavableDevice<SavedPort92> {
  readonly name = 'port92';
  #value = A20;
  #a20!: Line;
  #resetLine!: Line;

  attach(wiring: Wiring): void {
    this.#a20 = wiring.line('a20');
    this.#resetLine = wiring.line('reset');
    wiring.pio(
      byteRegion(
        this.name,
        0x92,
        1,
        () => this.#value,
        (_offset, value) => this.#write(value),
      ),
    );
  }

  reset(): void {
    this.#value = A20;
  }

  save(): SavedPort92 {
    return { value: this.#value };
  }

  load(saved: unknown): void {
    this.#value = schema.check(saved, this.name).value;
  }

  #write(value: number): void {
    const resetting = (value & ~this.#value & FAST_RESET) !== 0;
    this.#value = value;
    this.#a20.set(value & A20 ? 1 : 0);
    if (!resetting) return;
    this.#resetLine.set(1);
    this.#resetLine.set(0);
  }
}
