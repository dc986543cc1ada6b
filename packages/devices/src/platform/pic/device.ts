import type { Device, Wiring } from '@nestvm/bus';
import type { SavableDevice } from '../../saved-state.js';
import { byteRegion } from '../byte-region.js';
import type { InterruptInputs } from '../interrupt-routing.js';
import { PicChip } from './chip.js';
import { CASCADE_INPUT, ELCR_MASK, PicPort } from './registers.js';
import { picSchema, type SavedPic } from './state.js';

/**
 * The pair of 8259A interrupt controllers of a PC ("8259A" data sheet; ELCR as in "82371SB PIIX3"). Inputs 0-15 come through `setInput`; the INT output goes
 * to the callback given to `setOutput`, and the CPU's INTA cycle is `acknowledge`.
 */
export class Pic implements Device, InterruptInputs, SavableDevice<SavedPic> {
  readonly name = 'pic';
  readonly #slave = new PicChip(false, ELCR_MASK.SLAVE, () => this.#slaveChanged());
  readonly #master = new PicChip(true, ELCR_MASK.MASTER, () => this.#masterChanged());
  #intr = false;
  #output: (level: boolean) => void = () => {};

  attach(wiring: Wiring): void {
    const chips = [
      ['pic', PicPort.MASTER, this.#master],
      ['pic-slave', PicPort.SLAVE, this.#slave],
    ] as const;
    for (const [name, port, chip] of chips)
      wiring.pio(
        byteRegion(
          name,
          port,
          2,
          (offset) => chip.read(offset),
          (offset, value) => chip.write(offset, value),
        ),
      );
    const elcr = (offset: number) => (offset === 0 ? this.#master : this.#slave);
    wiring.pio(
      byteRegion(
        'pic-elcr',
        PicPort.ELCR,
        2,
        (offset) => elcr(offset).elcr,
        (offset, value) => elcr(offset).writeElcr(value),
      ),
    );
  }

  reset(): void {
    this.#slave.reset();
    this.#master.reset();
    this.#slaveChanged();
    this.#masterChanged();
  }

  /** Where the INT output goes: called at each change of level. */
  setOutput(output: (level: boolean) => void): void {
    this.#output = output;
  }

  /** Level of the INT output. */
  get intr(): boolean {
    return this.#intr;
  }

  setInput(input: number, level: 0 | 1): void {
    if (input >= 8) this.#slave.setInput(input - 8, level);
    else if (input !== CASCADE_INPUT) this.#master.setInput(input, level);
  }

  /** The interrupt acknowledge cycle: the vector of the most urgent request, or the spurious vector (input 7) when there is none any more. */
  acknowledge(): number {
    const input = this.#master.pending();
    if (input < 0) return this.#master.vectorBase + 7;
    this.#master.serve(input);
    const vector = input === CASCADE_INPUT ? this.#acknowledgeSlave() : this.#master.vectorBase + input;
    this.#masterChanged();
    return vector;
  }

  /** Requests and the rest, for `info pic`. */
  describe(): string {
    const line = (name: string, chip: PicChip) =>
      `${name}: irr=${hex(chip.request)} imr=${hex(chip.mask)} isr=${hex(chip.service)} base=${hex(chip.vectorBase)} elcr=${hex(chip.elcr)}`;
    return `${line('pic0', this.#master)}\n${line('pic1', this.#slave)}`;
  }

  /** How often each of the inputs 0-15 has risen. */
  get raised(): readonly number[] {
    return [...this.#master.raised, ...this.#slave.raised];
  }

  save(): SavedPic {
    return { chips: [this.#master.save(), this.#slave.save()] };
  }

  load(saved: unknown): void {
    const [master, slave] = picSchema.check(saved, this.name).chips;
    this.#slave.load(slave);
    this.#master.load(master);
    this.#masterChanged();
  }

  #acknowledgeSlave(): number {
    const input = this.#slave.pending();
    if (input >= 0) this.#slave.serve(input);
    // The slave drops INT during INTA, so that a request that is still waiting makes a new edge.
    this.#master.setInput(CASCADE_INPUT, 0);
    this.#slaveChanged();
    return this.#slave.vectorBase + (input >= 0 ? input : 7);
  }

  #slaveChanged(): void {
    const level = this.#slave.pending() >= 0 ? 1 : 0;
    if (level !== ((this.#master.inputs >> CASCADE_INPUT) & 1)) this.#master.setInput(CASCADE_INPUT, level);
  }

  #masterChanged(): void {
    const intr = this.#master.pending() >= 0;
    if (intr === this.#intr) return;
    this.#intr = intr;
    this.#output(intr);
  }
}

const hex = (value: number): string => value.toString(16).padStart(2, '0');
