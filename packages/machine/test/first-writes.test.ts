import { expect, it } from 'vitest';
import { createMachine, type Machine, type MachineConfig } from '../src/index.js';

const PAGE = 4096;
const FIRMWARE = new Uint8Array(0x1_0000).fill(0xf4);
const image = (name: string, bytes: Uint8Array) => ({ name, bytes });

/** A multiboot image at 1 MiB, whose code is one HLT in a loop. */
function kernel(): Uint8Array {
  const file = new Uint8Array(0x3000).fill(0x90);
  const [base, flags, magic] = [0x10_0000, 0x1_0000, 0x1bad_b002];
  new Int32Array(file.buffer).set([magic, flags, -(magic + flags), base, base, base + file.length, base + file.length, base + 32]);
  file.set([0xf4, 0xeb, 0xfd], 32);
  return file;
}

const create = (more: Partial<MachineConfig>): Machine =>
  createMachine({ board: 'pc', cpu: 'max', memoryBytes: 8 << 20, serial: [{ write: () => {} }], ...more });

/** Pages that hold something, as `block:page`. */
function usedPages(machine: Machine): string[] {
  return machine.migratable.ram().flatMap(({ bytes }, block) =>
    Array.from({ length: bytes.length / PAGE }, (_, page) => page)
      .filter((page) => bytes.subarray(page * PAGE, (page + 1) * PAGE).some((byte) => byte !== 0))
      .map((page) => `${block}:${page}`),
  );
}

const has = (bitmap: Uint32Array, page: number): boolean => ((bitmap[page >>> 5]! >>> (page & 31)) & 1) !== 0;

/** Fails when something is in memory that is not among the pages that may hold something; the result is how many may not. */
function untouchedPages(machine: Machine): number {
  const touched = machine.migratable.touched();
  const used = usedPages(machine);
  expect(used.filter((name) => !has(touched[Number(name.split(':')[0])]!, Number(name.split(':')[1])))).toEqual([]);
  return touched.reduce((sum, bitmap, block) => {
    const pages = machine.migratable.ram()[block]!.bytes.length / PAGE;
    return sum + Array.from({ length: pages }, (_, page) => page).filter((page) => !has(bitmap, page)).length;
  }, 0);
}

it.each([
  ['kernel', { kernel: image('k', kernel()), modules: [image('m', new Uint8Array(0x5000).fill(1))] }],
  ['firmware', { firmware: image('f', FIRMWARE), vga: { memoryBytes: 1 << 20 } }],
  ['flash', { flash: [{ file: image('f', FIRMWARE) }] }],
] as const)('%s: what a machine holds is among the pages that may hold something', async (_, parts) => {
  const machine = create({ ...parts, incoming: true });
  machine.memory.write(0x40_1ffe, Uint8Array.of(1, 2, 3, 4));
  machine.memory.view(0x50_0000, 0x2000, true)!.fill(7);
  machine.reset();
  const before = untouchedPages(machine);
  expect(before).toBeGreaterThan(1500);
  const running = machine.run();
  machine.stop();
  await running;
  machine.migratable.noteWrites(0, 0x600, 2);
  machine.migratable.ram()[0]!.bytes.fill(1, 0x600 * PAGE, 0x602 * PAGE);
  expect(untouchedPages(machine)).toBeLessThanOrEqual(before - 2);
});

it('goes on while and after pages are logged for a move', async () => {
  const machine = create({ kernel: image('k', kernel()) });
  const { dirty } = machine.migratable;
  dirty.start();
  machine.memory.write8(0x60_0000, 1);
  expect(dirty.take().some((pages) => pages.some((word) => word !== 0))).toBe(true);
  machine.memory.write8(0x61_0000, 1);
  dirty.stop();
  machine.memory.write8(0x62_0000, 1);
  expect(untouchedPages(machine)).toBeGreaterThan(1500);
  const running = machine.run();
  machine.stop();
  await running;
  expect(untouchedPages(machine)).toBeGreaterThan(1500);
});
