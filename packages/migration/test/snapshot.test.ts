import { nonMigratable, stateful, stateless } from '@nestvm/state';
import { expect, test } from 'vitest';
import {
  createMemorySink,
  createMemorySource,
  L2ActiveError,
  loadSnapshot,
  MigrationError,
  saveSnapshot,
  useHostComparison,
  waitForL2,
} from '../src/index.js';
import { context, DiskToy, ToyMachine, usedMachine } from './toy-machine.js';

async function snapshotOf(machine: ToyMachine, compression: 'deflate' | 'none' = 'deflate'): Promise<Uint8Array> {
  const sink = createMemorySink();
  await saveSnapshot(machine, sink, { compression });
  return sink.bytes();
}

const codeOf = async (promise: Promise<unknown>): Promise<string> => {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(MigrationError);
  return (error as MigrationError).code;
};

test.each(['deflate', 'none'] as const)('what was saved is what is loaded (%s)', async (compression) => {
  const source = usedMachine();
  const bytes = await snapshotOf(source, compression);
  const target = new ToyMachine();
  target.memory.fill(0xee);
  await loadSnapshot(target, () => createMemorySource(bytes));
  expect(target.fingerprint()).toBe(source.fingerprint());
  expect(target.forgotten).toBe(1);
});

test('a comparison of the host finds the same clear pages, and is not taken when it tells something else', async () => {
  let calls = 0;
  const counted = (a: Uint8Array, b: Uint8Array): boolean => (calls++, Buffer.compare(a, b) === 0);
  expect([useHostComparison(() => true), useHostComparison(() => false)]).toEqual([false, false]);
  const before = await snapshotOf(usedMachine(), 'none');
  expect([calls, useHostComparison(counted)]).toEqual([0, true]);
  calls = 0;
  expect(await snapshotOf(usedMachine(), 'none')).toEqual(before);
  expect(calls).toBeGreaterThan(0);
});

test('a machine that nobody needs when its load fails reads the snapshot once', async () => {
  const source = usedMachine();
  const bytes = await snapshotOf(source);
  let opened = 0;
  const load = (target: ToyMachine, from: Uint8Array): Promise<void> =>
    loadSnapshot(target, () => (opened++, createMemorySource(from)), { disposable: true });
  const target = new ToyMachine();
  await load(target, bytes);
  expect([opened, target.fingerprint()]).toEqual([1, source.fingerprint()]);
  const other = new ToyMachine('other');
  const before = other.fingerprint();
  expect([await codeOf(load(other, bytes)), other.fingerprint()]).toEqual(['other-machine', before]);
  const claims = new ToyMachine();
  claims.nested.inspect = () => (claims.counter === 42 ? [context({ class: 'executing' })] : []);
  expect([await codeOf(load(claims, bytes)), claims.fingerprint()]).toEqual(['L2_ACTIVE', new ToyMachine().fingerprint()]);
  const damaged = bytes.slice();
  damaged[damaged.length - 200]! ^= 1;
  expect(await codeOf(load(new ToyMachine(), damaged))).toBe('corrupt');
});

test('zero pages take no room', async () => {
  const empty = await snapshotOf(new ToyMachine(), 'none');
  expect(empty.length).toBeLessThan(1024);
});

test.each(['executing', 'resident', 'parked'] as const)('an L2 that is %s refuses save and load before anything changes', async (kind) => {
  const machine = usedMachine();
  const bytes = await snapshotOf(machine);
  const before = machine.fingerprint();
  machine.contexts = [context({ class: kind }), context({ class: 'configured', pa: 0x9000 })];
  const sink = createMemorySink();
  const refusal = await saveSnapshot(machine, sink).catch((error: unknown) => error);
  expect(refusal).toBeInstanceOf(L2ActiveError);
  expect((refusal as L2ActiveError).contexts.map(({ pa }) => pa)).toEqual([0x1234000]);
  expect((refusal as L2ActiveError).message).toMatch(/CPU 0: VMCS at 0x1234000, .*812 entries.*HLT \(12\).*VMCLEAR/);
  expect(sink.bytes().length).toBe(0);
  expect(await codeOf(loadSnapshot(machine, () => createMemorySource(bytes)))).toBe('L2_ACTIVE');
  expect(machine.fingerprint()).toBe(before);
});

test.each(['configured', 'off'] as const)('an L1 that is %s for nesting saves like any other', async (kind) => {
  const machine = usedMachine();
  machine.contexts = [context({ class: kind })];
  expect((await snapshotOf(machine)).length).toBeGreaterThan(1000);
});

test('a snapshot that claims an L2 is refused and undone', async () => {
  const bytes = await snapshotOf(usedMachine());
  const target = new ToyMachine();
  const before = target.fingerprint();
  target.nested.inspect = () => (target.counter === 42 ? [context({ class: 'executing' })] : []);
  expect(await codeOf(loadSnapshot(target, () => createMemorySource(bytes)))).toBe('L2_ACTIVE');
  expect(target.fingerprint()).toBe(before);
});

test('a unit that cannot be saved is named', async () => {
  const machine = usedMachine();
  machine.extra.set('9p', nonMigratable('it has a folder of the host open'));
  await expect(snapshotOf(machine)).rejects.toThrow(/9p can't be saved: it has a folder of the host open/);
  machine.extra.set('9p', stateless);
  await snapshotOf(machine);
});

test('other machines, newer units and missing units are refused by name', async () => {
  const bytes = await snapshotOf(usedMachine());
  const load = (target: ToyMachine): Promise<void> => loadSnapshot(target, () => createMemorySource(bytes));
  expect(await codeOf(load(new ToyMachine('other')))).toBe('other-machine');
  const more = new ToyMachine();
  more.extra.set('com2', more.units().get('com1')!);
  await expect(load(more)).rejects.toThrow(/lacks unit com2/);
  const newer = usedMachine();
  newer.extra.set('com2', newer.units().get('com1')!);
  const wide = await snapshotOf(newer);
  await expect(loadSnapshot(new ToyMachine(), () => createMemorySource(wide))).rejects.toThrow(/unit com2, which this machine lacks/);
  const later = new ToyMachine('toy', 2);
  const future = await snapshotOf(later);
  expect(await codeOf(loadSnapshot(new ToyMachine(), () => createMemorySource(future)))).toBe('newer-version');
});

test('a unit that refuses leaves the others as they were', async () => {
  const source = usedMachine();
  source.counter = 0.5;
  const bytes = await snapshotOf(source);
  const target = new ToyMachine();
  const before = target.fingerprint();
  expect(await codeOf(loadSnapshot(target, () => createMemorySource(bytes)))).toBe('bad-unit');
  expect(target.fingerprint()).toBe(before);
});

test('a unit that refuses in the middle of its state is as it was, too', async () => {
  const halved = (machine: ToyMachine): { first: number; second: number } => {
    const state = { first: 1, second: 1 };
    const load = (saved: unknown): void => {
      const { first, second } = saved as typeof state;
      state.first = first;
      if (second > 1) throw new Error('the second is too large');
      state.second = second;
    };
    machine.extra.set('halved', stateful({ version: 1, save: () => ({ ...state }), load }));
    return state;
  };
  const source = usedMachine();
  Object.assign(halved(source), { first: 2, second: 2 });
  const bytes = await snapshotOf(source);
  const target = new ToyMachine();
  const state = halved(target);
  expect(await codeOf(loadSnapshot(target, () => createMemorySource(bytes)))).toBe('bad-unit');
  expect(state).toEqual({ first: 1, second: 1 });
});

test('every truncation and 100,000 mutations give a typed error or the same machine, and never a part of it', async () => {
  const source = usedMachine(new DiskToy()).hold({ 1: 1, 2: 2, 7: 7 });
  const bytes = await snapshotOf(source, 'deflate');
  const target = new DiskToy().hold({ 0: 3, 2: 4 });
  const before = target.fingerprint();
  const attempt = async (damaged: Uint8Array): Promise<string> => {
    try {
      await loadSnapshot(target, () => createMemorySource(damaged));
      return 'loaded';
    } catch (error) {
      if (!(error instanceof MigrationError)) throw error;
      expect(target.fingerprint()).toBe(before);
      return error.code;
    }
  };
  const codes = new Map<string, number>();
  const count = (code: string): void => void codes.set(code, (codes.get(code) ?? 0) + 1);
  for (let length = 0; length < bytes.length; length += Math.max(1, bytes.length >> 8)) count(await attempt(bytes.subarray(0, length)));
  let seed = 1;
  const random = (limit: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return Math.floor((seed / 2 ** 32) * limit);
  };
  const mutations = 100_000;
  for (let i = 0; i < mutations; i++) {
    const damaged = bytes.slice();
    for (let n = random(3); n >= 0; n--) damaged[random(damaged.length)]! ^= 1 + random(255);
    const code = await attempt(damaged);
    expect(code).not.toBe('loaded');
    count(code);
  }
  console.log(`snapshot mutations: ${mutations}, ${[...codes].map(([code, n]) => `${code} ${n}`).join(', ')}`);
}, 600_000);

test('truncation at and around every section boundary is told with its place', async () => {
  const { split } = await import('./reseal.js');
  const bytes = await snapshotOf(usedMachine(), 'deflate');
  let at = 16;
  for (const { payload } of split(bytes)) {
    for (const length of [at - 1, at, at + 1, at + 15, at + 16, at + 17].filter((place) => place < bytes.length)) {
      const target = new ToyMachine();
      const before = target.fingerprint();
      const error = await loadSnapshot(target, () => createMemorySource(bytes.subarray(0, length))).catch(
        (reason: unknown) => reason as MigrationError,
      );
      expect([(error as MigrationError).code, target.fingerprint()], `${length} bytes`).toEqual(['truncated', before]);
      expect((error as MigrationError).offset).toBeLessThanOrEqual(length);
    }
    at += 16 + payload.length;
  }
  expect(at).toBe(bytes.length);
});

test('pages that unpack to more than they announce are refused before they take memory', async () => {
  const { split, join } = await import('./reseal.js');
  const bytes = await snapshotOf(usedMachine(), 'deflate');
  const stream = new Blob([new Uint8Array(256 << 20)]).stream().pipeThrough(new CompressionStream('deflate-raw'));
  const bomb = new Uint8Array(await new Response(stream).arrayBuffer());
  const pieces = split(bytes);
  const end = pieces.pop()!;
  const page = pieces.find(({ kind }) => String.fromCharCode(...kind) === 'PAGE')!;
  page.payload = Uint8Array.of(...page.payload.subarray(0, 12), ...bomb.subarray(0, 100_000));
  page.payload[2] = 2;
  const before = process.memoryUsage().arrayBuffers;
  expect(await codeOf(loadSnapshot(new ToyMachine(), () => createMemorySource(join(bytes, pieces, end))))).toBe('corrupt');
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 << 20);
});

test('mutations with right checksums give a typed error or a whole load', async () => {
  const { reseal } = await import('./reseal.js');
  const bytes = await snapshotOf(usedMachine(new DiskToy()).hold({ 1: 1, 2: 2, 7: 7 }), 'deflate');
  let seed = 7;
  const random = (limit: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return Math.floor((seed / 2 ** 32) * limit);
  };
  const codes = new Map<string, number>();
  for (let i = 0; i < 3_000; i++) {
    const target = new DiskToy().hold({ 0: 3, 2: 4 });
    const before = target.fingerprint();
    const damaged = reseal(bytes, random);
    try {
      await loadSnapshot(target, () => createMemorySource(damaged));
      codes.set('loaded', (codes.get('loaded') ?? 0) + 1);
    } catch (error) {
      if (!(error instanceof MigrationError)) throw error;
      expect(target.fingerprint()).toBe(before);
      codes.set(error.code, (codes.get(error.code) ?? 0) + 1);
    }
  }
  expect(codes.size).toBeGreaterThan(3);
  console.log(`resealed mutations: 3000, ${[...codes].map(([code, n]) => `${code} ${n}`).join(', ')}`);
}, 600_000);

test('waitForL2 runs the machine until the L2 is gone, and gives up without ending it', async () => {
  const machine = usedMachine();
  machine.contexts = [context()];
  let looks = 0;
  await waitForL2(machine.nested, {
    runFor: () => {
      if (++looks === 3) machine.contexts = [];
      return Promise.resolve();
    },
  });
  expect(looks).toBe(3);
  machine.contexts = [context()];
  expect(await codeOf(waitForL2(machine.nested, { timeoutMs: 200, runFor: () => Promise.resolve() }))).toBe('L2_ACTIVE');
});
