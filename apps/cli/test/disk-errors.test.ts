import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MmioSpace, PortSpace, VirtualClock } from '@nestvm/bus';
import { VirtioFeature, VirtioMmio } from '@nestvm/devices/virtio';
import { DriverMemory, MmioDriverTransport, VirtioDriver } from '@nestvm/devices/virtio/testing';
import { describe, expect, it } from 'vitest';
import type { BlockFailure } from '../src/blocks/guarded-disk.js';
import { Media } from '../src/media.js';
import { configure } from '../src/options/config.js';
import { parseOptions } from '../src/options/parse.js';
import { VirtioParts } from '../src/virtio.js';
import { temporaryFolder } from './temporary.js';

const BASE = 0xfeb0_0000;
const SECTOR = 3;

/** A driver of the disk that the options make, on a file whose sector 3 fails once, and what the session hears. */
function make(device: string, policy: string, rule: string) {
  const file = join(temporaryFolder('errors'), 'raw');
  writeFileSync(file, new Uint8Array(64 * 512).fill(0x11));
  const blocks = `-blockdev file,filename=${file},node-name=file -blockdev blkdebug,image=file,node-name=d,inject-error.0.sector=${SECTOR},inject-error.0.once=on,${rule}`;
  const options = configure(parseOptions(`${blocks} ${device},drive=d${policy} -nodefaults -kernel k`.split(' ')), () => '');
  const media = new Media(options);
  const failures: BlockFailure[] = [];
  const retries: (() => void)[] = [];
  media.onFailure = (failure) => {
    failures.push(failure);
    return failure.action === 'stop' ? new Promise<void>((resolve) => retries.push(resolve)) : undefined;
  };
  const virtio = new VirtioParts();
  // None of these has a character device.
  virtio.create(options, undefined as never, media);
  const mmio = new MmioSpace();
  const memory = new DriverMemory(0x10_0000);
  const carrier = new VirtioMmio({ device: virtio.configs[0]!.device, base: BASE, line: 'gsi:16' });
  const line = () => ({ set: () => {} });
  const pio = new PortSpace();
  carrier.attach({
    pio: (region) => pio.claim(region),
    mmio: (region) => mmio.claim(region),
    line,
    msi: () => ({ send: () => {} }),
    clock: new VirtualClock(),
    dma: memory,
  });
  const driver = new VirtioDriver({ transport: new MmioDriverTransport(mmio, BASE), memory, features: [VirtioFeature.VERSION_1] });
  const close = (): void => {
    virtio.close();
    media.close();
  };
  return { driver, failures, retries, file, close };
}

const be32 = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];

/** A command of a disk: its parts for the device to read, the room for its answer, and how that tells what became of it. */
interface Way {
  readonly option: string;
  readonly queues: number;
  readonly queue: number;
  readonly request: (writing: boolean, data: Uint8Array) => { readonly out: Uint8Array[]; readonly room: number; readonly status: number };
  /** Of the answer's status byte. */
  readonly failed: number;
}

const ways: Readonly<Record<string, Way>> = {
  'virtio-blk': {
    option: '-device virtio-blk-device',
    queues: 1,
    queue: 0,
    failed: 1,
    request: (writing, data) => {
      const header = new Uint8Array(16);
      header[0] = writing ? 1 : 0;
      header[8] = SECTOR;
      return { out: writing ? [header, data] : [header], room: writing ? 1 : 513, status: writing ? 0 : 512 };
    },
  },
  'scsi-hd': {
    option: '-device virtio-scsi-device -device scsi-hd',
    queues: 3,
    queue: 2,
    failed: 2,
    request: (writing, data) => {
      const header = new Uint8Array(51);
      header.set([1, 0, 0x40]);
      header.set([writing ? 0x2a : 0x28, 0, ...be32(SECTOR), 0, 0, 1], 19);
      return { out: writing ? [header, data] : [header], room: 108 + (writing ? 0 : 512), status: 10 };
    },
  },
};

const policies = [
  ['a read that is to be reported', false, '', 'EIO', 'report'],
  ['a read with rerror=stop', false, ',rerror=stop', 'EIO', 'stop'],
  ['a read with rerror=ignore', false, ',rerror=ignore', 'EIO', 'ignore'],
  ['a write of the default policy', true, '', 'EIO', 'report'],
  ['a write without space, of the default policy', true, '', 'ENOSPC', 'stop'],
  ['a write without space, werror=report', true, ',werror=report', 'ENOSPC', 'report'],
  ['a write with werror=stop', true, ',werror=stop', 'EIO', 'stop'],
  ['a write with werror=ignore', true, ',werror=ignore', 'EIO', 'ignore'],
  ['a write with werror=enospc', true, ',werror=enospc', 'EIO', 'report'],
] as const;
const ERRNO = { EIO: 5, ENOSPC: 28 } as const;
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

describe.each(Object.entries(ways))('%s', (_, { option, queues, queue, failed, request }) => {
  it.each(policies)('%s', async (_name, writing, policy, error, action) => {
    const rule = `inject-error.0.event=${writing ? 'pwritev' : 'read_aio'},inject-error.0.errno=${ERRNO[error]}`;
    const { driver, failures, retries, file, close } = make(option, policy, rule);
    expect(driver.start(queues)).toBe(true);
    const data = new Uint8Array(512).fill(0x77);
    const { out, room, status } = request(writing, data);
    const ring = driver.queues[queue]!;
    const answer = driver.room(room);
    // SCSI disks say first that they were switched on.
    const attempts = failed === 2 ? 2 : 1;
    for (let i = 0; i < attempts; i++) {
      ring.add([...out.map((bytes) => driver.place(bytes)), answer]);
      driver.kick(queue);
      if (i + 1 < attempts) expect(ring.poll()).toBeDefined();
    }
    await turn();
    expect(failures).toMatchObject([{ device: 'd', operation: writing ? 'write' : 'read', action, noSpace: error === 'ENOSPC' }]);
    if (action === 'stop') {
      expect([ring.poll(), retries.length]).toEqual([undefined, 1]);
      retries[0]!();
      await turn();
    }
    expect(ring.poll()).toBeDefined();
    const contents = driver.contents([answer]);
    expect(contents[status]).toBe(action === 'report' ? failed : 0);
    close();
    const there = readFileSync(file)[SECTOR * 512];
    expect(there).toBe(writing && action === 'stop' ? 0x77 : 0x11);
    if (!writing && action === 'stop') expect(contents[failed === 2 ? 108 : 0]).toBe(0x11);
  });
});
