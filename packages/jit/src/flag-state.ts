import type { IntWidth, Val, Variable } from '@nestvm/emit';
import { FlagKind, type Kept } from './lasting-flags.js';

/** What made the flags that are in force, kept as values until somebody needs them in their lasting form. */
export interface Producer {
  /** Sign-extended it is `flagResult`. */
  readonly result: Val<IntWidth>;
  /** Writes the computation of `flagAux`. */
  readonly aux: () => Val<32>;
  /** What `flagAux` can be made from later; by default it is computed. */
  readonly kept?: Kept;
  /** Bits 0 and 15:8 of `flagAux` are zero: SF and PF are those of the result. */
  readonly isPlain: boolean;
  readonly cf?: () => Val<32>;
  readonly of?: () => Val<32>;
  /** Shorter ways to the conditions, by their number without the lowest bit. */
  readonly conditions?: readonly ((() => Val<32>) | undefined)[];
}

/** Flags that one point of the code hands to another. */
export interface KnownFlags {
  /** What made them, if that is known; else the variables hold them. */
  readonly producer: Producer | null;
  /** Whether the variables hold them as well. */
  readonly isKept: boolean;
}

/** Nothing is known: the variables hold the flags. */
export const UNKNOWN_FLAGS: KnownFlags = { producer: null, isKept: false };

/** The variables that keep the flags in a region: see `FlagKind`. */
export interface FlagVariables {
  readonly kind: Variable<32>;
  readonly result: Variable<64>;
  readonly a: Variable<64>;
  readonly b: Variable<64>;
}

/**
 * The arithmetic flags while a region is written: four variables, and, as long as nothing forces it into them, the
 * instruction that produced the flags last. `depth` counts the conditional pieces of code that one instruction has opened.
 */
export class FlagState {
  producer: Producer | null = null;
  /** The producer whose flags the variables hold, if that is known. */
  private kept: Producer | null = null;
  depth = 0;
  /** Set when the variables have been written inside of conditional code. */
  hasWritten = false;
  /** Whether the region reads or writes the variables at all. */
  isUsed = false;

  constructor(
    readonly variables: FlagVariables,
    private readonly constant: <W extends IntWidth>(width: W, value: number) => Val<W>,
    /** `flagAux` from values of the variables. */
    private readonly auxOf: (kind: Val<32>, result: Val<64>, a: Val<64>, b: Val<64>) => Val<32>,
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
    const { kind, result, a, b } = this.variables;
    const kept = producer.kept ?? { kind: FlagKind.AUX, a: () => producer.aux().zext(64) };
    const [first, second] = [kept.a(), kept.b?.()];
    this.isUsed = true;
    result.set(producer.result.sext(64));
    kind.set(this.constant(32, kept.kind));
    a.set(first);
    if (second !== undefined) b.set(second);
  }

  /** Nothing, as 64 bits. */
  zero(): Val<64> {
    return this.constant(64, 0);
  }

  /** Writes the flags in force into the variables, unless they hold them; the producer stays in force. */
  flush(): void {
    this.flushAside();
    if (this.depth === 0) this.kept = this.producer;
  }

  /** The same in code that leaves, which says nothing about the variables elsewhere. */
  flushAside(): void {
    if (this.producer !== null && this.producer !== this.kept) this.write(this.producer);
  }

  /** What is known of the flags at this point, for a block that is reached from here alone. */
  get state(): KnownFlags {
    return { producer: this.producer, isKept: this.producer === this.kept };
  }

  /** Goes on with what was known elsewhere. */
  resume({ producer, isKept }: KnownFlags): void {
    this.producer = producer;
    this.kept = isKept ? producer : null;
  }

  /** The flags that stand now, to be read later. */
  snapshot(): Producer {
    if (this.producer !== null) return this.producer;
    this.isUsed = true;
    const { variables } = this;
    const [kind, result, a, b] = [variables.kind.get(), variables.result.get(), variables.a.get(), variables.b.get()];
    return { result, aux: () => this.auxOf(kind, result, a, b), isPlain: false };
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
        if (saved !== null && saved !== this.kept) before(() => this.write(saved));
        this.producer = null;
      } else this.producer = saved;
      this.hasWritten ||= outer;
    };
  }
}
