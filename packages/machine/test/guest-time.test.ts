import { VirtualClock } from '@nestvm/bus';
import { describe, expect, it } from 'vitest';
import type { ClockConfig, HostServices } from '../src/config.js';
import { RunLoop } from '../src/run-loop.js';

const MILLISECOND = 1e6;
/** A PIT tick of a guest with 250 ticks a second. */
const TICK = 4 * MILLISECOND;

/** A vCPU on a host whose speed and pauses the test chooses. */
class Rig {
  hostNs = 5e9;
  retired = 0;
  awake = true;
  /** Host nanoseconds for an instruction. */
  cost = 10;
  sleeps: number[] = [];
  /** How long a sleep is in truth, since something wakes. */
  onSleep: (ns: number) => number = (ns) => ns;
  readonly clock = new VirtualClock();
  readonly loop: RunLoop;
  /** Called for each slice, before it runs. */
  onSlice: () => void = () => {};
  private stopRequested = false;

  constructor(config: ClockConfig, cpus = 1) {
    const host: HostServices = {
      nowNs: () => this.hostNs,
      sleep: (ns) => {
        this.sleeps.push(ns);
        this.hostNs += this.onSleep(ns);
        return Promise.resolve(true);
      },
      wake: () => {},
      yieldTurn: () => Promise.resolve(),
    };
    const executor = (): { retired: number; requestStop: () => void; run: (budget: number) => 'idle' | 'budget' } => {
      const self = {
        retired: 0,
        requestStop: () => void (this.stopRequested = true),
        run: (budget: number): 'idle' | 'budget' => {
          this.onSlice();
          if (!this.awake) return 'idle';
          // In steps, so that what is asked for in the middle is seen.
          for (let done = 0; done < budget && !this.stopRequested; done += 10) {
            this.hostNs += Math.min(10, budget - done) * this.cost;
            self.retired += Math.min(10, budget - done);
            this.onStep(self.retired);
          }
          this.stopRequested = false;
          this.retired += 1;
          return 'budget';
        },
      };
      return self;
    };
    const executors = Array.from({ length: cpus }, executor);
    this.counts = () => executors.map(({ retired }) => retired);
    const { clock } = this;
    this.loop = new RunLoop({
      executors,
      clock,
      host,
      clockConfig: config,
      selectCpu: () => {},
      reset: () => {},
      halted: () => false,
      rebootAllowed: true,
    });
  }

  onStep: (retired: number) => void = () => {};
  counts: () => number[];

  /** Ticks as a PIT makes them: at exact multiples, whenever the last one was served. Calls `onTick`, and stops after `count`. */
  ticks(count: number, onTick: (tick: number) => void = () => {}): { tick: number; at: number; instructions: number }[] {
    const seen: { tick: number; at: number; instructions: number }[] = [];
    const timer = this.clock.createTimer('pit', () => {
      seen.push({ tick: seen.length + 1, at: this.clock.nowNs(), instructions: this.counts()[0]! });
      onTick(seen.length);
      if (seen.length < count) timer.arm((seen.length + 1) * TICK);
      else this.loop.finish({ kind: 'stopped' });
    });
    timer.arm(TICK);
    return seen;
  }
}

/** Fewest instructions that the first vCPU had between two ticks. */
const leastBetween = (seen: readonly { instructions: number }[]): number =>
  Math.min(...seen.slice(1).map(({ instructions }, i) => instructions - seen[i]!.instructions));

describe('host clock', () => {
  it('follows the host while the engine is fast enough', async () => {
    const rig = new Rig({ kind: 'host' });
    const seen = rig.ticks(100);
    const start = rig.hostNs;
    await rig.loop.run();
    expect(seen.map(({ at }) => at)).toEqual(seen.map(({ tick }) => tick * TICK));
    expect(rig.hostNs - start).toBeGreaterThanOrEqual(100 * TICK);
    expect(rig.hostNs - start).toBeLessThan(100 * TICK + 3 * MILLISECOND);
  });

  it('gives the guest its instructions between two ticks though the host is away for most of the time', async () => {
    const rig = new Rig({ kind: 'host' });
    let slices = 0;
    rig.onSlice = () => {
      if (++slices % 2 === 0) rig.hostNs += 30 * MILLISECOND;
    };
    const seen = rig.ticks(200);
    await rig.loop.run();
    expect(seen.map(({ at }) => at)).toEqual(seen.map(({ tick }) => tick * TICK));
    expect(leastBetween(seen)).toBeGreaterThan(200_000);
  });

  it('does the same on an engine that has become slow, and in a process that was stopped for an hour', async () => {
    const rig = new Rig({ kind: 'host' });
    const seen = rig.ticks(60, (tick) => {
      if (tick === 10) rig.cost = 200;
      if (tick === 40) rig.hostNs += 3600e9;
    });
    await rig.loop.run();
    expect(seen.map(({ at }) => at)).toEqual(seen.map(({ tick }) => tick * TICK));
    expect(leastBetween(seen)).toBeGreaterThan(200_000);
  });

  it('catches up while the guest idles, one deadline at a time, twenty times as fast as the host; then it keeps pace again', async () => {
    const rig = new Rig({ kind: 'host' });
    const seen = rig.ticks(300, (tick) => {
      if (tick === 10) {
        rig.hostNs += 400 * MILLISECOND;
        rig.awake = false;
      }
    });
    const start = rig.hostNs;
    await rig.loop.run();
    expect(seen.map(({ at }) => at)).toEqual(seen.map(({ tick }) => tick * TICK));
    // 100 ticks late, made up for in the time of 105 / 20 or so.
    const short = rig.sleeps.filter((ns) => ns <= TICK / 20);
    expect(short.length).toBeGreaterThanOrEqual(100);
    expect(short.length).toBeLessThanOrEqual(107);
    expect(rig.sleeps).toHaveLength(290);
    expect(Math.abs(rig.hostNs - start - 300 * TICK)).toBeLessThan(3 * MILLISECOND);
  });

  it('goes by instructions between looks at the clock, never backwards, and stays near the host', async () => {
    const rig = new Rig({ kind: 'host' });
    rig.cost = 3;
    const start = rig.hostNs;
    let [base, from, asked, last, most] = [0, 0, 0, 0, 0];
    const read = (retired: number): number => {
      const { instructions, nsPerInstruction } = rig.clock.pace();
      if (asked > 0 && retired >= from && retired - from < instructions) return base + (retired - from) * nsPerInstruction;
      asked++;
      from = retired;
      return (base = rig.clock.nowNs());
    };
    let [readings, backwards] = [0, 0];
    rig.onSlice = () => void (from = Infinity);
    rig.onStep = (retired) => {
      const ns = read(retired);
      if (ns < last) backwards++;
      last = ns;
      if (++readings > 1000) most = Math.max(most, Math.abs(ns - (rig.hostNs - start)));
    };
    const seen = rig.ticks(5);
    await rig.loop.run();
    expect(seen.map(({ at }) => at)).toEqual(seen.map(({ tick }) => tick * TICK));
    expect(backwards).toBe(0);
    expect(most).toBeLessThan(100_000);
    expect(asked).toBeLessThan(readings / 10);
  });

  it('catches up at twice the pace of the host while a guest on a fast engine never idles; then it keeps pace again', async () => {
    const rig = new Rig({ kind: 'host' });
    rig.cost = 1;
    const start = rig.hostNs;
    const at: number[] = [];
    const seen = rig.ticks(300, (tick) => {
      at[tick] = rig.hostNs - start;
      if (tick === 10) rig.hostNs += 400 * MILLISECOND;
    });
    await rig.loop.run();
    expect(seen.map((each) => each.at)).toEqual(seen.map(({ tick }) => tick * TICK));
    expect(at[60]! - at[20]!).toBeGreaterThanOrEqual(20 * TICK - MILLISECOND);
    expect(at[60]! - at[20]!).toBeLessThan(20 * TICK + 3 * MILLISECOND);
    expect(Math.abs(at[300]! - 300 * TICK)).toBeLessThan(3 * MILLISECOND);
  });

  it('moves little while it catches up and something comes from outside', async () => {
    const rig = new Rig({ kind: 'host' });
    rig.awake = false;
    rig.onSleep = (ns) => Math.min(ns, MILLISECOND / 10);
    let first = 0;
    rig.clock.createTimer('behind', () => void (rig.hostNs += 10e9)).arm(0);
    rig.clock.createTimer('timeout', () => rig.loop.finish({ kind: 'stopped' })).arm(200 * MILLISECOND);
    rig.onSlice = () => {
      if (rig.sleeps.length === 1) first = rig.clock.nowNs();
    };
    await rig.loop.run();
    expect(first).toBeGreaterThan(0);
    expect(first).toBeLessThanOrEqual(2.1 * MILLISECOND);
  });

  it('gives up on more than a minute', async () => {
    const rig = new Rig({ kind: 'host' });
    rig.awake = false;
    rig.ticks(20_000, (tick) => {
      if (tick === 10) rig.hostNs += 3600e9;
    });
    await rig.loop.run();
    // A minute at twenty times the pace, while another three seconds go by.
    const slept = rig.sleeps.filter((ns) => ns > TICK / 20);
    expect(slept.length).toBeGreaterThan(4100);
    expect(slept.length).toBeLessThan(4300);
  });

  it('moves time for a guest that only looks at the clock, never backwards and never past a deadline', async () => {
    const rig = new Rig({ kind: 'host' });
    rig.cost = 100;
    const seen = rig.ticks(20);
    let last = 0;
    let wrong = 0;
    rig.onStep = () => {
      for (let again = 0; again < 4; again++) rig.clock.nowNs();
      const now = rig.clock.nowNs();
      if (now < last || now > (seen.length + 1) * TICK) wrong++;
      last = now;
    };
    await rig.loop.run();
    expect(wrong).toBe(0);
    expect(leastBetween(seen)).toBeLessThan(200_000);
  });

  it('counts vCPUs that take turns as running side by side', async () => {
    const rig = new Rig({ kind: 'host' }, 4);
    const seen = rig.ticks(50);
    await rig.loop.run();
    expect(leastBetween(seen)).toBeGreaterThan(200_000);
    const counts = rig.counts();
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThan(100_000);
  });
});

describe('adaptive clock', () => {
  it.each([2, 40, 300])('keeps pace with the host at %i ns an instruction', async (cost) => {
    const rig = new Rig({ kind: 'adaptive' });
    rig.cost = cost;
    const seen = rig.ticks(600);
    const start = rig.hostNs;
    await rig.loop.run();
    expect(Math.max(...seen.map(({ at, tick }) => at - tick * TICK))).toBeLessThan(2 ** 10);
    const ratio = (rig.hostNs - start) / (600 * TICK);
    expect(ratio).toBeGreaterThan(0.8);
    expect(ratio).toBeLessThan(1.25);
  });

  it('makes up for being behind while the guest idles', async () => {
    const rig = new Rig({ kind: 'adaptive' });
    rig.awake = false;
    rig.ticks(200, (tick) => {
      if (tick === 10) rig.hostNs += 400 * MILLISECOND;
    });
    await rig.loop.run();
    expect(rig.sleeps).toHaveLength(100);
  });
});
