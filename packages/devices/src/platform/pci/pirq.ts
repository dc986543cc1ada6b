import type { Line, Wiring } from '@nestvm/bus';

/** ISA interrupts that a PIRQ may be routed to. */
const ROUTABLE = 0xdef8;

/**
 * The programmable interrupt router of an ISA bridge: counts who drives each PIRQ line, and drives the ISA interrupt that its route register names
 * (bit 7: none). `gsiBase` also brings PIRQ n to that I/O APIC pin + n.
 */
export class PirqRouter {
  readonly #driving: number[];
  readonly #lines: Line[][];
  readonly #gsis: Line[] = [];
  readonly #routes: Uint8Array;

  constructor(
    wiring: Wiring,
    readonly count: number,
    gsiBase?: number,
  ) {
    this.#driving = new Array<number>(count).fill(0);
    this.#routes = new Uint8Array(count).fill(0x80);
    this.#lines = Array.from({ length: count }, () => Array.from({ length: 16 }, (_, irq) => wiring.line(`isa:${irq}`)));
    if (gsiBase !== undefined) for (let pirq = 0; pirq < count; pirq++) this.#gsis.push(wiring.line(`gsi:${gsiBase + pirq}`));
  }

  /** One more function drives PIRQ `pirq`, or one fewer. */
  set(pirq: number, level: 0 | 1): void {
    this.#driving[pirq] = Math.max(0, this.#driving[pirq] + (level ? 1 : -1));
    this.#drive(pirq);
  }

  /** A route register has been written. */
  route(pirq: number, value: number): void {
    if (this.#routes[pirq] === value) return;
    this.#line(pirq)?.set(0);
    this.#routes[pirq] = value;
    this.#drive(pirq);
  }

  #line(pirq: number): Line | undefined {
    const route = this.#routes[pirq];
    return route & 0x80 || !(ROUTABLE & (1 << (route & 15))) ? undefined : this.#lines[pirq][route & 15];
  }

  #drive(pirq: number): void {
    const level = this.#driving[pirq] > 0 ? 1 : 0;
    this.#line(pirq)?.set(level);
    this.#gsis[pirq]?.set(level);
  }
}
