import type { ByteSink, ByteSource } from './channel.js';
import { PAGE_BYTES } from './clear-pages.js';
import { migrateIn } from './incoming.js';
import type { Link } from './link.js';
import type { LiveMachine, MigratableMachine } from './machine-port.js';
import type { MigrationClock } from './migrate-options.js';
import { migrateOut } from './outgoing.js';

/** Options of {@link rehearse}. */
export interface RehearsalOptions {
  readonly clock: MigrationClock;
  /** Lets the host see to other things. */
  readonly rest: () => Promise<void>;
  /** What lines get beside what a link does, such as a limit of time; default: nothing. */
  readonly dress?: (link: Link) => Link;
  /** Ends it early. */
  readonly signal?: AbortSignal;
}

/** Memory that is sent, and how often: enough for the host to compile what runs often. */
const PAGES = 512;
const PASSES = 16;
/** What comes first is one long run of pages, then short ones and gaps in turn. */
const LONG_PAGES = 256;
const STEP_PAGES = 16;
/** So many writes a line holds. */
const MOST_WRITES = 4;

/** One direction of a line within this process, which takes more while it holds little. */
class Way implements ByteSink, ByteSource {
  private readonly held: Uint8Array[] = [];
  private ended = false;
  private waiting: (() => void)[] = [];

  constructor(private readonly rest: () => Promise<void>) {}

  async write(bytes: Uint8Array): Promise<void> {
    while (this.held.length > MOST_WRITES && !this.ended) await this.change();
    if (this.ended) throw new Error('the line has ended');
    if (bytes.length > 0) this.held.push(bytes.slice());
    this.changed();
    await this.rest();
  }

  async read(length: number): Promise<Uint8Array> {
    const target = new Uint8Array(length);
    return target.subarray(0, await this.readInto(target));
  }

  readInto(target: Uint8Array): Promise<number> | number {
    const [first] = this.held;
    if (first === undefined) return this.ended ? 0 : this.change().then(() => this.readInto(target));
    const count = Math.min(first.length, target.length);
    target.set(first.subarray(0, count));
    if (count < first.length) this.held[0] = first.subarray(count);
    else this.held.shift();
    this.changed();
    return count;
  }

  end(): void {
    this.ended = true;
    this.changed();
  }

  private changed(): void {
    const { waiting } = this;
    this.waiting = [];
    for (const tell of waiting) tell();
  }

  private change(): Promise<void> {
    return new Promise((resolve) => this.waiting.push(resolve));
  }
}

/** The machine with other memory, all of which is always dirty, and that never runs. */
function standIn(machine: MigratableMachine, bytes: Uint8Array): LiveMachine {
  const all = (): readonly Uint32Array[] => [new Uint32Array(PAGES / 32).fill(0xffff_ffff)];
  return {
    configuration: () => machine.configuration(),
    mismatches: (configuration) => machine.mismatches(configuration),
    units: () => machine.units(),
    ram: () => [{ name: 'rehearsal', bytes }],
    noteWrites: () => {},
    nested: machine.nested,
    forgetCaches: () => machine.forgetCaches(),
    dirty: { start: () => {}, stop: () => {}, take: all },
    pause: () => Promise.resolve(),
    resume: () => {},
  };
}

function pattern(): Uint8Array {
  const bytes = new Uint8Array(PAGES * PAGE_BYTES).fill(1, 0, LONG_PAGES * PAGE_BYTES);
  for (let page = LONG_PAGES; page < PAGES; page += STEP_PAGES) bytes.fill(2, page * PAGE_BYTES, (page + 1 + ((page / STEP_PAGES) % 4)) * PAGE_BYTES);
  return bytes;
}

/**
 * Moves the state of a machine that has not run, with a little memory of its own, out of this process and back into it, so that the host has compiled what it takes
 * before a machine comes. Only the state is touched, and stays what it is. A failure means nothing: the machine that comes will tell of it.
 */
export async function rehearse(machine: MigratableMachine, options: RehearsalOptions): Promise<void> {
  const { clock, rest, signal, dress = (link: Link) => link } = options;
  const [forth, back] = [new Way(rest), new Way(rest)];
  const close = (): void => {
    forth.end();
    back.end();
  };
  const leaving = migrateOut(standIn(machine, pattern()), dress({ sink: forth, source: back, close }), {
    clock,
    compression: 'none',
    downtimeLimitMs: 0,
    maxPasses: PASSES,
    ...(signal ? { signal } : {}),
  });
  const arriving = migrateIn(standIn(machine, new Uint8Array(PAGES * PAGE_BYTES)), dress({ sink: back, source: forth, close }));
  await Promise.allSettled([leaving, arriving.then(({ confirm }) => confirm())]);
}
