import { guests } from '@nestvm/guests';
import type { Machine } from '@nestvm/machine';
import { describe, expect, it } from 'vitest';
import { createMemorySource, loadSnapshot } from '../src/index.js';
import { boot as bootImage, fingerprint, runTo, snapshot } from './machines.js';

const TIMEOUT = 300_000;
const boot = (name: keyof typeof guests, cpu: string, output: number[] = []): Machine => bootImage(guests[name](), cpu, output);

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

  it('is loaded into one that waits for it, of which only what may hold something is cleared', { timeout: TIMEOUT }, async () => {
    const first = boot('kernel', 'max');
    await runTo(first, 3_000_000);
    // The kernel's own pages are zero in the snapshot, so that those of the target are to be cleared.
    const image = guests.kernel();
    const text = first.migratable.ram().find(({ name }) => name === 'ram@c0000')!;
    text.bytes.fill(0, 0x10_0000 - 0xc_0000, 0x10_0000 - 0xc_0000 + 0x1000);
    const bytes = await snapshot(first);
    const second = bootImage(image, 'max', [], () => {}, { incoming: true, vga: { memoryBytes: 1 << 20 } });
    const third = bootImage(image, 'max', [], () => {}, { incoming: true });
    await expect(loadSnapshot(second.migratable, () => createMemorySource(bytes))).rejects.toThrow(/vga/);
    await loadSnapshot(third.migratable, () => createMemorySource(bytes));
    expect(fingerprint(third)).toBe(fingerprint(first));
    const pages = (machine: typeof first): string => machine.migratable.touched().join();
    expect(pages(third)).toBe(pages(first));
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
