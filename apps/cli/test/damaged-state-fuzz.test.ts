import { createMemorySink, createMemorySource, loadSnapshot, MigrationError, saveSnapshot } from '@nestvm/migration';
import { expect, it } from 'vitest';
import { AFTER, createGolden, type Golden, goldens, putToUse } from './golden/machines.js';

/** Damaged snapshots of each machine; the nightly run makes more. */
const ROUNDS = Math.max(400, Number(process.env['NESTVM_MIGRATION_FUZZ'] ?? 0) / 4);

type Below = (limit: number) => number;

function random(seed: number): Below {
  let state = seed;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

/** A copy of a saved value, each part of which `change` may replace. */
function visit(value: unknown, change: (part: unknown) => unknown): unknown {
  const part = change(value);
  if (part instanceof Uint8Array) return part.slice();
  if (Array.isArray(part)) return part.map((one) => visit(one, change));
  if (typeof part !== 'object' || part === null) return part;
  return Object.fromEntries(Object.entries(part).map(([name, one]) => [name, visit(one, change)]));
}

const ODD = [0, 1, -1, 255, 65_536, 2 ** 32 - 1, 2 ** 53 - 1, 1e300, NaN, 0.5, null, true, '', 'x', [], {}, 0n, 2n ** 64n - 1n, -1n, 2n ** 70n];

/** Something else: near to what it is, or anything. */
function other(value: unknown, below: Below): unknown {
  if (below(2) === 0) return [...ODD, new Uint8Array(5)][below(ODD.length + 1)];
  if (typeof value === 'number') return [value + 1, value - 1, 2 ** below(53), below(300), value ^ (1 << below(31))][below(5)];
  if (typeof value === 'bigint') return value ^ (1n << BigInt(below(64)));
  if (typeof value === 'boolean') return !value;
  if (Array.isArray(value)) return [value.slice(1), [...value, ...(value as unknown[])], value.toReversed()][below(3)];
  if (value instanceof Uint8Array) return value.map((byte) => (below(4) === 0 ? byte ^ (1 << below(8)) : byte)).slice(below(2));
  return ODD[below(ODD.length)];
}

/** One to three parts of a saved value replaced. */
function damaged(value: unknown, below: Below): unknown {
  let result = value;
  for (let n = below(3); n >= 0; n--) {
    let parts = 0;
    visit(result, (part) => (parts++, part));
    let left = below(parts);
    result = visit(result, (part) => (left-- === 0 ? other(part, below) : part));
  }
  return result;
}

/** All that a machine is, for comparison. */
function fingerprint({ migratable }: ReturnType<typeof createGolden>): string {
  const show = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? `${value}n` : value);
  const units = [...migratable.units()].flatMap(([path, unit]) => (unit.kind === 'stateful' ? [[path, unit.save()]] : []));
  return JSON.stringify(units, show);
}

async function machineOf(golden: Golden) {
  let text = '';
  const machine = createGolden(golden, (more) => {
    text += more;
    if (text.endsWith(AFTER)) machine.stop();
  });
  await machine.run();
  if (golden.board === 'microvm') putToUse(machine, golden.packed);
  return machine;
}

it.each(goldens)('$file: damaged state of any unit is refused with the machine as it was, or loads', { timeout: 3_600_000 }, async (golden) => {
  const [source, target] = [await machineOf(golden), await machineOf(golden)];
  const { migratable } = source;
  const stateful = [...migratable.units()].flatMap(([path, unit]) => (unit.kind === 'stateful' ? [{ path, unit }] : []));
  const write = async (units: ReturnType<typeof migratable.units>): Promise<Uint8Array> => {
    const sink = createMemorySink();
    await saveSnapshot({ ...migratable, units: () => units }, sink, { compression: 'none' });
    return sink.bytes();
  };
  const whole = await write(migratable.units());
  const before = fingerprint(target);
  const below = random(golden.file.length);
  const counts = new Map<string, number>();
  for (let i = 0; i < ROUNDS; i++) {
    const { path, unit } = stateful[below(stateful.length)]!;
    const state = damaged(unit.save(), below) as ReturnType<typeof unit.save>;
    const bytes = await write(new Map(migratable.units()).set(path, { ...unit, save: () => state }));
    const error = await loadSnapshot(target.migratable, () => createMemorySource(bytes)).catch((reason: unknown) => reason);
    const code = error === undefined ? 'loaded' : error instanceof MigrationError ? error.code : 'untyped';
    counts.set(code, (counts.get(code) ?? 0) + 1);
    if (error === undefined) await loadSnapshot(target.migratable, () => createMemorySource(whole));
    else expect(error, path).toBeInstanceOf(MigrationError);
    expect(fingerprint(target), path).toBe(before);
  }
  expect([...counts.keys()]).toEqual(expect.arrayContaining(['loaded', 'bad-unit']));
  console.log(`${golden.file}: ${ROUNDS} damaged snapshots, ${[...counts].map(([code, n]) => `${code} ${n}`).join(', ')}`);
});
