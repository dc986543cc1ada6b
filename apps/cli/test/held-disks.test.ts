import { AtaDisk } from '@nestvm/devices/ata';
import { type BlockBackend, ScsiDisk, VirtioBlock, VirtioScsi } from '@nestvm/devices/virtio';
import { MemoryFile, OverlayDisk, RawDisk } from '@nestvm/disks';
import { createMachine } from '@nestvm/machine';
import { createMemorySink, createMemorySource, loadSnapshot, saveSnapshot } from '@nestvm/migration';
import { expect, it } from 'vitest';
import { ArrivingDisk } from '../src/blocks/arriving-disk.js';
import { GuardedDisk } from '../src/blocks/guarded-disk.js';
import { DEFAULT_ERRORS } from '../src/options/block-errors.js';

const SIZE = 3 * 2 ** 20 + 512;

/** A machine with a disk on each bus; `overlay`: what is written stays in memory. */
function create(overlay: boolean) {
  const images = Array.from({ length: 3 }, () => new MemoryFile(SIZE));
  const disks = images.map((file, i): BlockBackend => {
    const raw = new RawDisk(file, overlay);
    return new GuardedDisk(`d${i}`, overlay ? new OverlayDisk(raw) : raw, DEFAULT_ERRORS, () => {});
  });
  const machine = createMachine({
    board: 'q35',
    cpu: 'qemu64',
    memoryBytes: 4 << 20,
    incoming: true,
    virtio: [
      { device: new VirtioBlock({ name: 'blk', disk: disks[0]! }) },
      { device: new VirtioScsi({ name: 'scsi', units: [{ target: 1, unit: 2, device: new ScsiDisk({ disk: disks[1]! }) }] }) },
    ],
    ata: { board: [{ drive: new AtaDisk({ name: 'hd', disk: disks[2]! }) }] },
  });
  return { machine, disks, images };
}

const written = [
  [0, 100, 1],
  [5000, 9000, 2],
  [SIZE - 700, 700, 3],
] as const;

it('what guests have written above images goes into snapshots, from disks on each bus, and nowhere else', async () => {
  const first = create(true);
  first.disks.forEach((disk, i) =>
    written.forEach(([offset, length, value]) => void disk.write(offset, new Uint8Array(length).fill(value + 10 * i))),
  );
  const sink = createMemorySink();
  await saveSnapshot(first.machine.migratable, sink);
  const open = () => createMemorySource(sink.bytes());
  const second = create(true);
  void second.disks[0]!.write(100_000, new Uint8Array(10).fill(99));
  await loadSnapshot(second.machine.migratable, open);
  const contents = ({ disks }: typeof first): Buffer[] =>
    disks.map((disk) => {
      const all = new Uint8Array(SIZE);
      void disk.read(0, all);
      return Buffer.from(all);
    });
  expect(contents(second).map((bytes, i) => bytes.equals(contents(first)[i]!))).toEqual([true, true, true]);
  expect(contents(first).map((bytes) => [bytes[50], bytes[6000], bytes[SIZE - 1], bytes[100_005]])).toEqual([
    [1, 2, 3, 0],
    [11, 12, 13, 0],
    [21, 22, 23, 0],
  ]);
  for (const file of [...first.images, ...second.images]) expect(file.bytes().every((byte) => byte === 0)).toBe(true);
  await expect(loadSnapshot(create(false).machine.migratable, open)).rejects.toMatchObject({ code: 'other-machine', unit: 'blk' });
});

it('a disk of a machine that is elsewhere is read only until it arrives, and then opened anew', () => {
  const file = new MemoryFile(SIZE);
  const opened: boolean[] = [];
  const disk = new ArrivingDisk((readOnly) => {
    opened.push(readOnly);
    return new RawDisk(file, readOnly);
  });
  expect([disk.readOnly, disk.sizeBytes]).toEqual([false, Math.floor(SIZE / 512) * 512]);
  expect(() => disk.write(0, new Uint8Array(512))).toThrow(/reading only/);
  disk.arrive();
  disk.arrive();
  disk.write(0, new Uint8Array(512).fill(7));
  expect([opened, file.bytes()[511]]).toEqual([[true, false], 7]);
});
