import type { Line } from '@nestvm/bus';
import { DeviceError } from '../errors.js';

/** Something with numbered interrupt inputs: the PIC pair (0-15), an I/O APIC (0-23). */
export interface InterruptInputs {
  setInput(input: number, level: 0 | 1): void;
}

/** The controllers of a board; absent ones are simply not there. */
export interface RoutingOptions {
  readonly pic?: InterruptInputs;
  readonly ioApic?: InterruptInputs;
}

/** A wire shared by any number of drivers: high while at least one drives it. */
class SharedWire {
  #driving = 0;
  constructor(readonly drive: (level: 0 | 1) => void) {}

  connect(): Line {
    let driven: 0 | 1 = 0;
    return {
      set: (level) => {
        if (level === driven) return;
        driven = level;
        this.#driving += level === 1 ? 1 : -1;
        if (level === 1 ? this.#driving === 1 : this.#driving === 0) this.drive(level);
      },
    };
  }
}

/**
 * The board's interrupt wires. `isa:N` (0-15) reaches input N of the PIC pair and pin N of the I/O APIC (`isa:0` reaches pin 2, as the MADT override says);
 * `gsi:N` (0-23) reaches pin N of the I/O APIC and, below 16, the PIC. Devices that share a wire are ORed.
 */
export class InterruptRouting {
  readonly #wires = new Map<string, SharedWire>();

  constructor(readonly controllers: RoutingOptions) {}

  /** The wire of that name for one more driver; throws `DeviceError` (`unknown-line`) for a name that is no interrupt wire. */
  line(name: string): Line {
    const match = /^(isa|gsi):(\d+)$/.exec(name);
    const number = match ? Number(match[2]) : -1;
    if (!match || number >= (match[1] === 'isa' ? 16 : 24)) {
      throw new DeviceError('unknown-line', `interrupt line '${name}' does not exist; use isa:0 to isa:15 or gsi:0 to gsi:23`);
    }
    const { picInput, pin } = route(match[1] as 'isa' | 'gsi', number);
    const key = `${picInput}/${pin}`;
    let wire = this.#wires.get(key);
    if (wire === undefined) {
      wire = new SharedWire((level) => {
        if (picInput >= 0) this.controllers.pic?.setInput(picInput, level);
        if (pin >= 0) this.controllers.ioApic?.setInput(pin, level);
      });
      this.#wires.set(key, wire);
    }
    return wire.connect();
  }
}

/** Input of the PIC pair and pin of the I/O APIC for a wire; -1 where it does not go. The PIC's input 2 is the cascade, so GSI 2 is the timer and ISA 2 arrives as 9. */
function route(kind: 'isa' | 'gsi', number: number): { picInput: number; pin: number } {
  if (kind === 'isa' && number === 2) return route('isa', 9);
  if (kind === 'isa') return { picInput: number, pin: number === 0 ? 2 : number };
  if (number === 2) return { picInput: 0, pin: 2 };
  if (number === 0) return { picInput: -1, pin: 0 };
  return { picInput: number < 16 ? number : -1, pin: number };
}
