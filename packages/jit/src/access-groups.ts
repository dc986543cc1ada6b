import type { LookUpForm, Val } from '@nestvm/emit';

/** Tables that accesses are looked up in. */
type Table = 'tlbRead' | 'tlbWrite';

/** An address as a variable's present value and a distance from it. */
export interface Place {
  /** Of the variable and of its value, as text. */
  readonly base: string;
  readonly distance: number;
}

/** A look-up whose bounds can still change. */
interface LookUp {
  readonly form: { -readonly [K in keyof LookUpForm]: LookUpForm[K] };
  /** Host address of the place that was looked up first. */
  readonly host: Val<32>;
}

/** Accesses near one base. */
export interface Group extends LookUp {
  readonly first: number;
  /** Bounds of the accesses: distances of the first byte, and of the one behind the last. */
  low: number;
  high: number;
}

/** Bytes from the first to the last of a group: the farther apart, the likelier it spans two pages, where a group always misses. */
const MOST_BYTES = 256;

/**
 * Look-ups that serve several accesses: those of one block near one base. The look-up of the first one checks for all of them that they are on one page, which then need
 * none; if they are not, the region is left there.
 */
export class AccessGroups {
  private groups = new Map<string, Group>();

  /** Starts afresh: at a block that may be reached without the code before it. */
  clear(): void {
    this.groups.clear();
  }

  /** The look-ups that can serve here, for a block that is reached from here alone. */
  get known(): ReadonlyMap<string, Group> {
    return new Map(this.groups);
  }

  /** Starts a block with what is known where it is reached from. */
  resume(known: ReadonlyMap<string, Group> | undefined): void {
    this.groups = new Map(known);
  }

  /** Host address of an access that an earlier look-up can check as well, or null. What may be written may be read. */
  find(table: Table, place: Place, bytes: number): Val<32> | null {
    const group = this.groups.get(`tlbWrite ${place.base}`);
    const inWritten = group === undefined ? null : this.join(group, place.distance, bytes);
    if (inWritten !== null || table === 'tlbWrite') return inWritten;
    const read = this.groups.get(`tlbRead ${place.base}`);
    return read === undefined ? null : this.join(read, place.distance, bytes);
  }

  /** Lets others share a look-up. */
  add(table: Table, { base, distance }: Place, lookUp: LookUp): void {
    this.groups.set(`${table} ${base}`, { ...lookUp, first: distance, low: distance, high: distance + lookUp.form.span + 1 });
  }

  private join(group: Group, distance: number, bytes: number): Val<32> | null {
    const low = Math.min(group.low, distance);
    const high = Math.max(group.high, distance + bytes);
    if (high - low > MOST_BYTES) return null;
    group.low = low;
    group.high = high;
    group.form.bias = low - group.first;
    group.form.span = high - low - 1;
    return group.host.add(distance - group.first);
  }
}
