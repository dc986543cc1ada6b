import type { IntWidth, Val, Variable } from '@nestvm/emit';

/** What made the flags that are in force, kept as values until somebody needs them in their lasting form. */
export interface Producer {
  /** Sign-extended it is `flagResult`. */
  readonly result: Val<IntWidth>;
  /** Writes the computation of `flagAux`. */
  readonly aux: () => Val<32>;
  /** Bits 0 and 15:8 of `flagAux` are zero: SF and PF are those of the result. */
  readonly isPlain: boolean;
  readonly cf?: () => Val<32>;
  readonly of?: () => Val<32>;
  /** Shorter ways to the conditions, by their number without the lowest bit. */
  readonly conditions?: readonly ((() => Val<32>) | undefined)[];
}

/**
 * The arithmetic flags while a region is written: two variables for `flagResult` and `flagAux`, and, as long as nothing forces it into them, the
 * instruction that produced the flags last. `depth` counts the conditional pieces of code that one instruction has opened.
 */
export class FlagState {
  producer: Producer | null = null;
  depth = 0;
  /** Set when the variables have been written inside of conditional code. */
  hasWritten = false;

  constructor(
    readonly result: Variable<64>,
    readonly aux: Variable<32>,
  ) {}

  /** New flags: kept as a producer, or written at once where it depends on a condition whether they are. */
  put(producer: Producer): void {
    if (this.depth === 0) {
      this.producer = producer;
      return;
    }
    this.write(producer);
    this.producer = null;
    this.hasWritten = true;
  }

  private write(producer: Producer): void {
    const aux = producer.aux();
    this.result.set(producer.result.sext(64));
    this.aux.set(aux);
  }

  /** Writes the flags in force into the variables; the producer stays in force. */
  flush(): void {
    if (this.producer !== null) this.write(this.producer);
  }

  /** The flags that stand now, to be read later. */
  snapshot(): Producer {
    if (this.producer !== null) return this.producer;
    const [result, aux] = [this.result.get(), this.aux.get()];
    return { result, aux: () => aux, isPlain: false };
  }

  /** Opens conditional code; gives what to do at its end with a place before it. */
  enter(): (before: (write: () => void) => void) => void {
    const saved = this.producer;
    const outer = this.hasWritten;
    this.hasWritten = false;
    this.depth++;
    return (before) => {
      this.depth--;
      if (this.hasWritten) {
        if (saved !== null) before(() => this.write(saved));
        this.producer = null;
      } else this.producer = saved;
      this.hasWritten ||= outer;
    };
  }
}
