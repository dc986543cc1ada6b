import { VirtualClock } from '@nestvm/bus';
import { describe, expect, it } from 'vitest';
import type { ClockConfig, HostServices } from '../src/config.js';
import { createMemoryHost } from '../src/host.js';
import { type LoopExecutor, RunLoop } from '../src/run-loop.js';

/** A vCPU that runs or waits as its script says. */
class FakeExecutor implements LoopExecutor {
  retired = 0;
  awake = true;
  readonly budgets: number[] = [];
  private stopRequested = false;
  onRun: (executor: FakeExecutor) => void = () => {};

  requestStop(): void {
    this.stopRequested = true;
  }

  run(budget: number): 'budget' | 'idle' | 'requested' {
    this.budgets.push(budget);
    if (!this.awake) return 'idle';
    this.onRun(this);
    if (this.stopRequested) {
      this.stopRequested = false;
      this.retired += 1;
      return 'requested';
    }
    if (!this.awake) {
      this.retired += 1;
      return 'idle';
    }
    this.retired += budget;
    return 'budget';
  }
}

interface Setup {
  readonly executors: FakeExecutor[];
  readonly clock: VirtualClock;
  readonly loop: RunLoop;
  readonly resets: number[];
  readonly selected: number[];
}

function setUp(count: number, clockConfig: ClockConfig, options: { host?: HostServices; reboot?: boolean; halted?: () => boolean } = {}): Setup {
  const executors = Array.from({ length: count }, () => new FakeExecutor());
  const clock = new VirtualClock();
  const resets: number[] = [];
  const selected: number[] = [];
  const loop = new RunLoop({
    executors,
    clock,
    host: options.host ?? createMemoryHost(),
    clockConfig,
    selectCpu: (index) => selected.push(index),
    reset: () => resets.push(clock.nowNs()),
    halted: options.halted ?? (() => false),
    rebootAllowed: options.reboot ?? true,
  });
  return { executors, clock, loop, resets, selected };
}

const VIRTUAL: ClockConfig = { kind: 'virtual', shift: 0, sleep: false };

describe('virtual clock', () => {
  it('counts instructions, and ends slices at deadlines', async () => {
    const { executors, clock, loop } = setUp(1, VIRTUAL);
    const fired: number[] = [];
    const timer = clock.createTimer('t', () => {
      fired.push(clock.nowNs());
      if (fired.length < 4) timer.arm(clock.nowNs() + 12_345);
      else loop.finish({ kind: 'stopped' });
    });
    timer.arm(12_345);
    expect(await loop.run()).toEqual({ kind: 'stopped' });
    expect(fired).toEqual([12_345, 24_690, 37_035, 49_380]);
    expect(executors[0]!.retired).toBe(49_380);
  });

  it('scales by the shift', async () => {
    const { executors, clock, loop } = setUp(1, { ...VIRTUAL, shift: 3 });
    clock.createTimer('t', () => loop.finish({ kind: 'stopped' })).arm(80_000);
    await loop.run();
    expect([clock.nowNs(), executors[0]!.retired]).toEqual([80_000, 10_000]);
  });

  it('jumps to the next deadline while every CPU waits', async () => {
    const { executors, clock, loop } = setUp(2, VIRTUAL);
    for (const executor of executors) executor.awake = false;
    clock
      .createTimer('t', () => {
        executors[1]!.awake = true;
        executors[1]!.onRun = () => loop.finish({ kind: 'stopped' });
      })
      .arm(5_000_000_000);
    expect(await loop.run()).toEqual({ kind: 'stopped' });
    expect(clock.nowNs()).toBe(5_000_000_001);
  });

  it('shortens a slice when an earlier timer is armed in it', async () => {
    const { executors, clock, loop } = setUp(1, VIRTUAL);
    const timer = clock.createTimer('t', () => loop.finish({ kind: 'stopped' }));
    executors[0]!.onRun = () => {
      if (timer.deadlineNs === Infinity) timer.arm(clock.nowNs() + 10);
    };
    await loop.run();
    expect(clock.nowNs()).toBeLessThan(100);
  });
});

describe('turns', () => {
  it('gives every CPU its turn', async () => {
    const { executors, loop, selected } = setUp(3, VIRTUAL);
    executors[2]!.onRun = ({ retired }) => {
      if (retired > 100_000) loop.finish({ kind: 'stopped' });
    };
    await loop.run();
    expect(selected.slice(0, 6)).toEqual([0, 1, 2, 0, 1, 2]);
    expect(executors[0]!.retired).toBe(executors[1]!.retired);
  });

  it('does not sleep when a later CPU has woken an earlier one', async () => {
    const { executors, loop } = setUp(2, VIRTUAL);
    const [first, second] = executors as [FakeExecutor, FakeExecutor];
    first.awake = false;
    second.onRun = () => {
      first.awake = true;
      second.awake = false;
    };
    first.onRun = () => loop.finish({ kind: 'stopped' });
    expect(await loop.run()).toEqual({ kind: 'stopped' });
  });

  it('does not sleep when a timer between two turns has woken a CPU', async () => {
    const { executors, clock, loop } = setUp(2, VIRTUAL);
    const [first, second] = executors as [FakeExecutor, FakeExecutor];
    first.awake = false;
    second.awake = false;
    first.onRun = () => loop.finish({ kind: 'stopped' });
    clock.createTimer('t', () => void (first.awake = true)).arm(0);
    expect(await loop.run()).toEqual({ kind: 'stopped' });
  });

  it('gives the event loop a turn even on a host whose time stands still', async () => {
    let turns = 0;
    const host = { ...createMemoryHost(), yieldTurn: async () => void turns++ };
    const { executors, loop } = setUp(1, VIRTUAL, { host });
    executors[0]!.onRun = () => turns >= 3 && loop.finish({ kind: 'stopped' });
    await loop.run();
    expect(turns).toBe(3);
  });
});

describe('ends', () => {
  it('reports a machine that nothing can wake', async () => {
    const { executors, loop } = setUp(1, VIRTUAL);
    executors[0]!.awake = false;
    expect(await loop.run()).toEqual({ kind: 'stuck' });
  });

  it('reports a halt for good before it would sleep', async () => {
    const { executors, clock, loop } = setUp(1, VIRTUAL, { halted: () => true });
    executors[0]!.awake = false;
    clock.createTimer('t', () => {}).arm(1e9);
    expect(await loop.run()).toEqual({ kind: 'halted' });
  });

  it('resets, or ends when it must not', async () => {
    const first = setUp(1, VIRTUAL);
    let asked = 0;
    first.executors[0]!.onRun = () => (asked++ === 0 ? first.loop.requestReset('guest') : first.loop.finish({ kind: 'poweroff' }));
    expect(await first.loop.run()).toEqual({ kind: 'poweroff' });
    expect(first.resets).toHaveLength(1);
    const second = setUp(1, VIRTUAL, { reboot: false });
    second.executors[0]!.onRun = () => second.loop.requestReset('triple-fault');
    expect(await second.loop.run()).toEqual({ kind: 'reset', cause: 'triple-fault' });
    expect(second.resets).toHaveLength(0);
  });

  it('goes on after a stop, with guest time where it was', async () => {
    let now = 1_000_000;
    const host: HostServices = { ...createMemoryHost(), nowNs: () => now };
    const { executors, clock, loop } = setUp(1, { kind: 'host' }, { host });
    executors[0]!.onRun = () => {
      now += 500;
      executors[0]!.retired += 1000;
      loop.finish({ kind: 'stopped' });
    };
    await loop.run();
    const stoppedAt = clock.nowNs();
    now += 1_000_000_000;
    await loop.run();
    expect(clock.nowNs() - stoppedAt).toBe(500);
  });
});
