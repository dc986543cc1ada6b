import { fieldNamed } from '../fields/layout.js';
import type { FieldName } from '../fields/table.js';
import type { CheckGroup, VmxCheck } from './check.js';
import type { EntryContext } from './context.js';

const VM = 1 << 17;
const IF = 1 << 9;
const TF = 1 << 8;

/** Where a section looks at some bits only of a field whose other bits change all the time: low and high half. A test holds the rows to it. */
export const bitsLookedAt: Readonly<Partial<Record<CheckGroup, Readonly<Partial<Record<FieldName, readonly [lo: number, hi: number]>>>>>> = {
  guestRegisters: { GUEST_CR3: [0, -1] },
  guestSegments: { GUEST_RFLAGS: [VM, 0] },
  guestRip: { GUEST_RIP: [0, -1] },
  guestNonRegister: { GUEST_RFLAGS: [IF | TF, 0] },
};

const ALL = [-1, -1] as const;
/** How many different contents that passed are remembered of each section, as a power of two: guests that nest come back with many a set of segments. */
const WAY_BITS = 6;

/** What a section's rows read: words of the VMCS, and the bits of them that count. */
interface Reads {
  readonly words: Int32Array;
  readonly masks: Int32Array;
}

/** The words that rows of a section read, but for those of which no bit counts. */
export function readsOf(group: CheckGroup, rows: readonly VmxCheck[]): Reads {
  const names = [...new Set(rows.flatMap(({ reads }) => reads))];
  const pairs = names.flatMap((name) => {
    const { word } = fieldNamed(name);
    const [lo, hi] = bitsLookedAt[group]?.[name] ?? ALL;
    return [[word, lo] as const, [word + 1, hi] as const];
  });
  const counted = pairs.filter(([, mask]) => mask !== 0);
  return { words: Int32Array.from(counted, ([word]) => word), masks: Int32Array.from(counted, ([, mask]) => mask) };
}

/**
 * What has passed a section's checks lately: the rows depend on fields and capabilities alone, so that the same values pass again, in whatever VMCS. Compares
 * values, so nothing is ever missed.
 */
export class RememberedSection {
  private readonly values: Int32Array;
  private readonly isTaken = new Uint8Array(1 << WAY_BITS);
  /** Where the contents that were asked for last are, or would be. */
  private way = 0;

  constructor(private readonly reads: Reads) {
    this.values = new Int32Array(reads.words.length << WAY_BITS);
  }

  /** Whether the VMCS in view holds what has passed before. */
  knows(c: EntryContext): boolean {
    if (this.isAt(c, this.way)) return true;
    this.way = this.wayOf(c);
    return this.isAt(c, this.way);
  }

  /** The VMCS in view has passed. */
  keep(c: EntryContext): void {
    const { words, masks } = this.reads;
    this.way = this.wayOf(c);
    const at = this.way * words.length;
    for (let i = 0; i < words.length; i++) this.values[at + i] = c.i32[c.base + words[i]!]! & masks[i]!;
    this.isTaken[this.way] = 1;
  }

  private isAt({ i32, base }: EntryContext, way: number): boolean {
    const { words, masks } = this.reads;
    const { values } = this;
    const at = way * words.length;
    let i = 0;
    while (i < words.length && (i32[base + words[i]!]! & masks[i]!) === values[at + i]!) i++;
    return i === words.length && this.isTaken[way] === 1;
  }

  /** Contents have one place each; those that another drives out are checked again. */
  private wayOf({ i32, base }: EntryContext): number {
    const { words, masks } = this.reads;
    let hash = 0;
    for (let i = 0; i < words.length; i++) hash = (Math.imul(hash, 31) + (i32[base + words[i]!]! & masks[i]!)) | 0;
    return Math.imul(hash, 0x9e3779b1) >>> (32 - WAY_BITS);
  }
}
