import { guests } from '@nestvm/guests';
import { createMachine, type Machine } from '@nestvm/machine';
import { describe, expect, it } from 'vitest';
import { crc32 } from '../src/checksum.js';
import {
  createMemorySink,
  createMemorySource,
  isActive,
  L2ActiveError,
  loadSnapshot,
  type MigratableMachine,
  MigrationError,
  saveSnapshot,
} from '../src/index.js';
import { saveUnits } from '../src/save.js';
import { encodeValue } from '../src/value-codec.js';

const TIMEOUT = 120_000;

function boot(name: keyof typeof guests, cpu: string, output: number[] = []): Machine {
  const image = guests[name]();
  return createMachine({
    board: 'pc',
    cpu,
    nested: true,
    memoryBytes: 64 << 20,
    kernel: { name: image.name, bytes: image.bytes },
    serial: [{ write: (byte) => void output.push(byte) }],
    debugExit: { iobase: 0xf4, iosize: 4 },
    clock: { kind: 'virtual', shift: 0, sleep: false },
  });
}

/** Runs to a moment of guest time, or to the guest's end. */
async function runTo(machine: Machine, ns: number): Promise<'stopped' | 'ended'> {
  const timer = machine.clock.createTimer('test', () => machine.stop());
  timer.arm(ns);
  const outcome = await machine.run();
  timer.cancel();
  return outcome.kind === 'stopped' ? 'stopped' : 'ended';
}

function fingerprint(machine: Machine): string {
  const port: MigratableMachine = machine.migratable;
  const units = saveUnits(port).map(({ path, state }) => `${path} ${crc32(encodeValue(state)).toString(16)}`);
  const ram = port.ram().map(({ name, bytes }) => `${name} ${crc32(bytes).toString(16)}`);
  return [...units, ...ram].join('\n');
}

async function snapshot(machine: Machine): Promise<Uint8Array> {
  const sink = createMemorySink();
  await saveSnapshot(machine.migratable, sink);
  return sink.bytes();
}

describe('a machine that is saved and loaded', () => {
  it('goes on as if it had not stopped, byte for byte', { timeout: TIMEOUT }, async () => {
    const said: number[] = [];
    const first = boot('kernel', 'max', said);
    expect(await runTo(first, 3_000_000)).toBe('stopped');
    const saidBefore = said.length;
    const bytes = await snapshot(first);
    const before = fingerprint(first);

    const saidLater: number[] = [];
    const second = boot('kernel', 'max', saidLater);
    await loadSnapshot(second.migratable, () => createMemorySource(bytes));
    expect(fingerprint(second)).toBe(before);
    expect(await runTo(first, 7_000_000)).toBe(await runTo(second, 7_000_000));
    expect(fingerprint(second)).toBe(fingerprint(first));
    expect([await runTo(first, 1e12), await runTo(second, 1e12)]).toEqual(['ended', 'ended']);
    expect(fingerprint(second)).toBe(fingerprint(first));
    expect(saidLater).toEqual(said.slice(saidBefore));
    expect(String.fromCharCode(...said)).toContain('Nestvm kernel: done');
  });

  it('goes back to an earlier moment of itself', { timeout: TIMEOUT }, async () => {
    const machine = boot('kernel', 'max');
    await runTo(machine, 2_000_000);
    const bytes = await snapshot(machine);
    const before = fingerprint(machine);
    await runTo(machine, 6_000_000);
    const later = fingerprint(machine);
    expect(later).not.toBe(before);
    await loadSnapshot(machine.migratable, () => createMemorySource(bytes));
    expect(fingerprint(machine)).toBe(before);
    await runTo(machine, 6_000_000);
    expect(fingerprint(machine)).toBe(later);
  });

  it('is refused by a machine of another CPU or memory, which stays as it was', { timeout: TIMEOUT }, async () => {
    const machine = boot('kernel', 'max');
    await runTo(machine, 1_000_000);
    const bytes = await snapshot(machine);
    const other = boot('kernel', 'qemu64');
    const before = fingerprint(other);
    await expect(loadSnapshot(other.migratable, () => createMemorySource(bytes))).rejects.toThrow(/-cpu: the snapshot has max, this machine qemu64/);
    expect(fingerprint(other)).toBe(before);
  });
});

describe.each([
  { vendor: 'VMX', guest: 'vmx', cpu: 'host,vendor=intel' },
  { vendor: 'SVM', guest: 'svm', cpu: 'host,vendor=amd' },
] as const)('$vendor', ({ guest, cpu }) => {
  it('refuses at 1,000 instants while an L2 is active, and allows before it starts', { timeout: TIMEOUT }, async () => {
    const machine = boot(guest, cpu);
    const port: MigratableMachine = machine.migratable;
    let seed = 1;
    let [refused, allowed, attempts] = [0, 0, 0];
    const classes = new Set<string>();
    for (let ns = 1000; ; ) {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      ns += 1 + ((seed >>> 8) % 2_000);
      if ((await runTo(machine, ns)) === 'ended' || refused === 1000) break;
      attempts++;
      const contexts = port.nested.inspect();
      for (const { class: kind } of contexts) classes.add(kind);
      const before = machine.levels().entries;
      try {
        await saveSnapshot(port, { write: () => Promise.resolve() }, { compression: 'none' });
        allowed++;
        expect(contexts.some(isActive)).toBe(false);
      } catch (error) {
        if (!(error instanceof L2ActiveError)) throw error;
        refused++;
        expect(error.contexts.length).toBeGreaterThan(0);
        expect(before).toBeGreaterThan(0);
      }
    }
    console.log(`${guest}: ${attempts} snapshot attempts, ${refused} refused, ${allowed} allowed; classes ${[...classes].join(' ')}`);
    expect(allowed).toBeGreaterThan(0);
    expect(refused).toBe(1000);
    expect(classes.has('executing') && classes.has('resident')).toBe(true);
  });

  it('refuses to load into a machine whose L2 runs', { timeout: TIMEOUT }, async () => {
    const machine = boot(guest, cpu);
    await runTo(machine, 500);
    const bytes = await snapshot(machine);
    let ns = 500;
    while (!machine.migratable.nested.inspect().some(isActive)) expect(await runTo(machine, (ns += 5_000))).toBe('stopped');
    const before = port(machine);
    const refusal = await loadSnapshot(machine.migratable, () => createMemorySource(bytes)).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(MigrationError);
    expect((refusal as MigrationError).code).toBe('L2_ACTIVE');
    expect(port(machine)).toBe(before);
  });
});

/** RAM alone: units of an active L2 can't be saved. */
const port = (machine: Machine): string =>
  machine.migratable
    .ram()
    .map(({ bytes }) => crc32(bytes))
    .join(' ');
