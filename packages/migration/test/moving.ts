import { type Arrival, type Link, type LiveMachine, type MigrateOptions, migrateIn, migrateOut, type Witness } from '../src/index.js';
import { createLine, type Fault } from './pipe.js';
import { ToyMachine, usedMachine } from './toy-machine.js';

/** A machine that writes a page whenever somebody waits, and that knows whether it runs. */
export class Running {
  running: boolean;
  readonly toy: ToyMachine;
  private dirty = new Uint32Array(1);
  private tracking = false;
  steps = 0;

  constructor(toy: ToyMachine, running: boolean) {
    this.toy = toy;
    this.running = running;
  }

  step(): void {
    if (!this.running || this.steps > 200) return;
    const page = this.steps++ % 5;
    this.toy.memory[page * 4096 + 100] = this.steps & 0xff;
    this.toy.counter++;
    if (this.tracking) this.dirty[0]! |= 1 << page;
  }

  get live(): LiveMachine {
    const { toy } = this;
    return {
      configuration: () => toy.configuration(),
      mismatches: (configuration) => toy.mismatches(configuration),
      units: () => toy.units(),
      ram: () => toy.ram(),
      nested: toy.nested,
      heldDisks: () => toy.heldDisks(),
      forgetCaches: () => toy.forgetCaches(),
      dirty: {
        start: () => {
          this.tracking = true;
          this.dirty = new Uint32Array(1);
        },
        stop: () => {
          this.tracking = false;
        },
        take: () => {
          const taken = [this.dirty];
          this.dirty = new Uint32Array(1);
          return taken;
        },
      },
      pause: () => {
        this.running = false;
        return Promise.resolve();
      },
      resume: () => {
        this.running = true;
      },
    };
  }
}

/** What has become of both sides. */
export interface Ending {
  readonly source: Running;
  readonly target: Running;
  readonly sourceError: Error | undefined;
  readonly targetError: Error | undefined;
  readonly how: Arrival['how'] | undefined;
  /** Bytes from source to target, and back. */
  readonly sent: readonly [number, number];
  /** Who has said that it waits, and how often the source has come back. */
  readonly waited: readonly ('source' | 'target')[];
  readonly visits: number;
  /** The source has found that both would have run. */
  readonly conflict: boolean;
}

/** Which process dies, and when: after so many bytes on the way from the source to the target, or back. */
export interface Death {
  readonly of: 'source' | 'target';
  readonly way: 'forth' | 'back';
  readonly after: number;
}

/** Options of {@link move}. */
export interface MoveOptions extends Partial<MigrateOptions> {
  readonly forth?: Fault;
  readonly back?: Fault;
  readonly death?: Death;
  /** What goes wrong with the lines that the source opens after the first one, in turn: forth and back; without a limit afterwards. */
  readonly again?: readonly (readonly [Fault, Fault])[];
  /** What is decided, and by whom, when a side waits. */
  readonly decide?: { readonly at: 'source' | 'target'; readonly when: 'source' | 'target' };
  readonly from?: ToyMachine;
  readonly target?: ToyMachine;
  readonly onPass?: (source: Running, pass: number) => void;
}

const never = new Promise<never>(() => {});

/** A process: it does nothing any more once it is dead, and others can tell. */
class Process {
  dead = false;
  private died: () => void = () => {};
  readonly death = new Promise<void>((resolve) => {
    this.died = resolve;
  });
  readonly witness = (other: Process): Witness => ({ me: 'it', judge: () => Promise.resolve(other.dead ? 'dead' : 'alive') });

  die(): void {
    this.dead = true;
    this.died();
  }

  /** Its end of the line. */
  own(link: Link): Link {
    const living = async <T>(act: () => Promise<T>): Promise<T> => {
      if (this.dead) await never;
      try {
        return await act();
      } finally {
        if (this.dead) await never;
      }
    };
    return {
      sink: { write: (bytes) => living(() => link.sink.write(bytes)) },
      source: { read: (length) => living(() => link.source.read(length)) },
      close: () => void (this.dead || link.close()),
    };
  }
}

/** The way back to a target: lines that the source opens and the target takes, with their own faults. */
class WayBack {
  readonly waited: ('source' | 'target')[] = [];
  visits = 0;
  conflict = false;
  private readonly faults: (readonly [Fault, Fault])[];
  private readonly arrived: Link[] = [];
  private waiting: ((link: Link) => void) | undefined;
  private readonly decisions = { source: new AbortController(), target: new AbortController() };

  constructor(private readonly options: MoveOptions) {
    this.faults = [...(options.again ?? [])];
  }

  /** The source's end of another line. */
  readonly reconnect = (own: (link: Link) => Link): Promise<Link> => {
    this.visits++;
    const { ends } = createLine(...(this.faults.shift() ?? [{}, {}]));
    if (this.waiting) this.waiting(ends[1]);
    else this.arrived.push(ends[1]);
    this.waiting = undefined;
    return Promise.resolve(own(ends[0]));
  };

  readonly again = (): Promise<Link> => {
    const link = this.arrived.shift();
    if (link) return Promise.resolve(link);
    return new Promise((resolve) => {
      this.waiting = resolve;
    });
  };

  readonly onWaiting = (who: 'source' | 'target') => (): void => {
    this.waited.push(who);
    const { decide } = this.options;
    if (decide?.when === who) this.decisions[decide.at].abort();
  };

  readonly decided = (who: 'source' | 'target'): AbortSignal => this.decisions[who].signal;
}

const reasonOf = (outcome: PromiseSettledResult<unknown>): Error | undefined =>
  outcome.status === 'rejected' ? (outcome.reason as Error) : undefined;

/** Moves a machine that writes all the time, over a line and between processes that may fail. */
export async function move(options: MoveOptions = {}): Promise<Ending> {
  const source = new Running(options.from ?? usedMachine(), true);
  const target = new Running(options.target ?? new ToyMachine(), false);
  target.toy.memory.fill(0x55);
  const [here, there] = [new Process(), new Process()];
  const { death } = options;
  const kill = (way: Death['way']): Fault =>
    death?.way === way ? { endAfter: death.after, onEnd: () => (death.of === 'source' ? here : there).die() } : {};
  const line = createLine({ ...options.forth, ...kill('forth') }, { ...options.back, ...kill('back') });
  let ms = 0;
  const clock = { nowMs: () => (ms += 0.01), sleep: (wait: number) => (source.step(), (ms += wait), Promise.resolve()) };
  const way = new WayBack(options);
  const going = migrateOut(source.live, here.own(line.ends[0]), {
    clock,
    downtimeLimitMs: 0,
    maxPasses: 4,
    bandwidth: 1e6,
    witness: here.witness(there),
    ...(options.again && {
      recovery: {
        session: 'this one',
        reconnect: () => (here.dead ? never : way.reconnect((link) => here.own(link))),
        onWaiting: way.onWaiting('source'),
        decided: way.decided('source'),
        onConflict: () => void (way.conflict = true),
      },
    }),
    ...options,
    onStatus: (status) => options.onPass?.(source, status.passes),
  });
  let how: Arrival['how'] | undefined;
  const recovery = options.again && {
    again: () => way.again().then((link) => there.own(link)),
    onWaiting: way.onWaiting('target'),
    decided: way.decided('target'),
  };
  const incoming = { witness: there.witness(here), ...(recovery && { recovery }) };
  const coming = migrateIn(target.live, there.own(line.ends[1]), incoming).then(async (arrival) => {
    await arrival.confirm();
    if (there.dead) return;
    ({ how } = arrival);
    target.running = true;
  });
  const [out, into] = await Promise.allSettled([Promise.race([going, here.death]), Promise.race([coming, there.death])]);
  // What the sides do behind their backs: the source tells a target that waits in vain, and hears of a conflict.
  for (let turn = 0; turn < 200 && options.again; turn++) await Promise.resolve();
  if (here.dead) source.running = false;
  if (there.dead) target.running = false;
  return {
    source,
    target,
    how,
    sent: line.sent(),
    sourceError: reasonOf(out),
    targetError: reasonOf(into),
    waited: way.waited,
    visits: way.visits,
    conflict: way.conflict,
  };
}
