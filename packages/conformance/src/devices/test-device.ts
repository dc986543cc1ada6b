import type { Device, Width } from '@nestvm/bus';
import { DeviceBench } from './device-bench.js';

/** Saved state of a device as the suite sees it: JSON-like data out, and in again. */
export interface DeviceState {
  save(): unknown;
  load(saved: unknown): void;
}

/** What {@link testDevice} may be told. */
export interface DeviceTestOptions {
  /** Random transactions (default 20 000). */
  readonly operations?: number;
  readonly seed?: number;
  /** The saved state of a device, when it has one. */
  readonly state?: (device: Device) => DeviceState;
}

/** What {@link testDevice} found. */
export interface DeviceReport {
  readonly operations: number;
  /** Regions that the device claimed: `port 0x3f8+8`. */
  readonly regions: readonly string[];
  /** What does not hold, a sentence each; empty for a device that keeps the contract. */
  readonly failures: readonly string[];
}

const WIDTHS: readonly Width[] = [1, 2, 4];
/** More turns than this in a millisecond are a device that never lets the clock go on. */
const MOST_TURNS = 1000;

/** A repeatable generator (xorshift32): an integer below `below`. */
function generator(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** One random transaction, or time; gives what was read, or -1. Throws what the device throws, and when its timers never end. */
function transact(bench: DeviceBench, next: (below: number) => number): number {
  if (next(16) === 0) {
    if (bench.pass(next(1_000_000), MOST_TURNS) >= MOST_TURNS) throw new Error('its timers fire for ever in one millisecond');
    return -1;
  }
  const ports = bench.ports.list().map((region) => ({ ...region, space: bench.ports }));
  const memory = bench.mmio.list().map((region) => ({ ...region, space: bench.mmio }));
  const regions = [...ports, ...memory];
  const region = regions[next(Math.max(1, regions.length))];
  const [width, value, offset, write] = [WIDTHS[next(3)]!, next(2 ** 32), next(region ? Math.min(region.size, 0x4000) : 1), next(2) === 1];
  if (region === undefined) return -1;
  if (write) {
    region.space.write(region.base + offset, width, (next(3) === 0 ? value : value & 0xff) % 2 ** (8 * width));
    return -1;
  }
  return region.space.read(region.base + offset, width);
}

/** Runs the same random transactions on both benches; says where they differ, if they do. */
function compare(a: DeviceBench, b: DeviceBench, operations: number, seed: number): string | undefined {
  const [nextA, nextB] = [generator(seed), generator(seed)];
  const from = [a.events.length, b.events.length];
  for (let i = 0; i < operations; i++) {
    const [x, y] = [transact(a, nextA), transact(b, nextB)];
    if (x !== y) return `read ${i} is ${x} on one and ${y} on the other`;
  }
  const [x, y] = [a.events.slice(from[0]), b.events.slice(from[1])];
  return x.join() === y.join() ? undefined : 'they drive their lines differently';
}

const message = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Keeps what went wrong, with the name of what was looked at. */
function attempt(failures: string[], what: string, run: () => string | undefined): void {
  try {
    const found = run();
    if (found !== undefined) failures.push(`${what}: ${found}`);
  } catch (error) {
    failures.push(`${what}: ${message(error)}`);
  }
}

/**
 * The suite of the contract `Device` (`@nestvm/bus`): random transactions at every width never throw; timers let the clock go on; equal
 * devices answer equally and drive their lines alike; a reset, twice or once, makes one machine; and with `state`, a saved device loaded elsewhere goes on as the original,
 * and refuses what is no saved state of its own while it keeps what it had.
 */
export function testDevice(create: () => Device, options: DeviceTestOptions = {}): DeviceReport {
  const { operations = 20_000, seed = 1, state } = options;
  const failures: string[] = [];
  const bench = new DeviceBench(create());
  const regions = [
    ...bench.ports.list().map(({ base, size }) => `port 0x${base.toString(16)}+${size}`),
    ...bench.mmio.list().map(({ base, size }) => `memory 0x${base.toString(16)}+${size}`),
  ];
  attempt(failures, 'name', () => (bench.device.name === '' ? 'it is empty' : undefined));
  attempt(failures, 'two equal devices', () => compare(bench, new DeviceBench(create()), operations, seed));
  attempt(failures, 'reset', () => {
    const [once, twice] = [new DeviceBench(create()), new DeviceBench(create())];
    for (const used of [once, twice]) {
      const next = generator(seed + 1);
      for (let i = 0; i < 500; i++) transact(used, next);
      used.device.reset();
    }
    twice.device.reset();
    return compare(once, twice, operations / 10, seed + 2);
  });
  if (state) testState(create, state, failures, { operations, seed });
  return { operations: Math.round(operations * (state ? 2.2 : 1.1)), regions, failures };
}

function testState(
  create: () => Device,
  state: (device: Device) => DeviceState,
  failures: string[],
  { operations, seed }: { readonly operations: number; readonly seed: number },
): void {
  const json = (bench: DeviceBench): string => JSON.stringify(state(bench.device).save());
  attempt(failures, 'save and load', () => {
    const rounds = 20;
    for (let round = 0; round < rounds; round++) {
      const bench = new DeviceBench(create());
      const next = generator(seed + 100 + round);
      for (let i = 0; i < 200; i++) transact(bench, next);
      const copy = new DeviceBench(create());
      copy.clock.restore(bench.clock.nowNs());
      copy.memory.bytes.set(bench.memory.bytes);
      const saved = json(bench);
      state(copy.device).load(JSON.parse(saved));
      if (json(copy) !== saved) return `what was loaded is saved differently (round ${round})`;
      const difference = compare(bench, copy, operations / rounds, seed + 200 + round);
      if (difference !== undefined) return `the loaded one goes on differently: ${difference} (round ${round})`;
    }
    return undefined;
  });
  attempt(failures, 'load of nonsense', () => {
    const bench = new DeviceBench(create());
    const before = json(bench);
    for (const nonsense of [null, 7, 'state', [], { nonsense: true }]) {
      let refused = false;
      try {
        state(bench.device).load(nonsense);
      } catch {
        refused = true;
      }
      if (!refused) return `${JSON.stringify(nonsense)} is accepted`;
      if (json(bench) !== before) return `${JSON.stringify(nonsense)} is refused, but changes the state`;
    }
    return undefined;
  });
}
