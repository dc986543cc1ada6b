import { writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { createQcow2, MemoryFile } from '@nestvm/disks';
import { describe, expect, it } from 'vitest';
import { openDisk } from '../src/disk.js';
import { UsageError } from '../src/errors.js';
import type { DatagramSpec } from '../src/networks/datagram-cable.js';
import { NetworkParts } from '../src/networks/parts.js';
import type { NetworkSpec } from '../src/options/networks.js';
import { freePort } from './ports.js';
import { temporaryFolder } from './temporary.js';

const folder = temporaryFolder('backends');

function image(name: string, change: (file: MemoryFile) => void = () => {}, backing?: string): string {
  const file = new MemoryFile();
  createQcow2(file, { sizeBytes: 2 ** 20, ...(backing === undefined ? {} : { backing: { name: backing, format: 'qcow2' } }) });
  change(file);
  const path = join(folder, name);
  writeFileSync(path, file.bytes());
  return path;
}

const drive = (path: string, more: object = {}) => ({
  id: 'd',
  option: `-drive file=${path}`,
  path,
  plugged: true,
  cd: false,
  readOnly: false,
  snapshot: false,
  writeCache: true,
  ...more,
});

describe('images', () => {
  it('keeps what is written, but not with snapshot=on', () => {
    const path = image('a.qcow2');
    const data = new Uint8Array(512).fill(7);
    const read = (): number => {
      const disk = openDisk(drive(path));
      const sector = new Uint8Array(512);
      disk.read(4096, sector);
      disk.close();
      return sector[100]!;
    };
    for (const [snapshot, found] of [
      [true, 0],
      [false, 7],
    ] as const) {
      const disk = openDisk(drive(path, { snapshot }));
      disk.write(4096, data);
      disk.close();
      expect(read()).toBe(found);
    }
  });

  it.each([
    ['is missing', () => join(folder, 'none'), /none: no such file/],
    ['is a folder', () => folder, /a directory/],
    ['is empty', () => (writeFileSync(join(folder, 'empty'), ''), join(folder, 'empty')), /the disk has no sectors/],
    ['is cut', () => image('cut', (file) => file.truncate(80)), /cut: qcow2: the file ends inside of the header/],
    ['is its own backing file', () => image('loop', undefined, 'loop'), /loop: this image is its own backing file/],
    ['has a backing file that is missing', () => image('top', undefined, 'gone'), /gone: no such file/],
  ])('says in one line of an image that %s', (_what, make, message) => {
    const path = make();
    expect(() => openDisk(drive(path))).toThrow(UsageError);
    expect(() => openDisk(drive(path))).toThrow(message);
    expect(() => openDisk(drive(path))).not.toThrow(/\n/);
  });
});

describe('networks', () => {
  const create = (...networks: NetworkSpec[]): NetworkParts => {
    const parts = new NetworkParts();
    parts.create({ networks, nics: [], dumps: [] });
    return parts;
  };
  const taken = async (): Promise<{ port: number; close: () => Promise<void> }> => {
    const port = await freePort();
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    return { port, close: () => new Promise((resolve) => server.close(() => resolve())) };
  };

  it('says in one line that a port is in use, or that nobody listens', async () => {
    const { port, close } = await taken();
    const user = create({
      kind: 'user',
      id: 'n',
      option: '-netdev user',
      restrict: false,
      forwards: [{ protocol: 'tcp', hostPort: port, guestPort: 80 }],
    });
    await expect(user.open()).rejects.toThrow(new UsageError(`-netdev user: hostfwd on port ${port}: the port is in use; choose another port`));
    const listen = create({ kind: 'socket', id: 'n', option: '-netdev socket', end: 'listen', address: '127.0.0.1', port });
    await expect(listen.open()).rejects.toThrow(/the port is in use/);
    await close();
    user.close();
    listen.close();
    const there = create({ kind: 'socket', id: 'n', option: '-netdev socket', end: 'connect', address: '127.0.0.1', port });
    await expect(there.open()).rejects.toThrow(/nobody listens there/);
    there.close();
  });

  it('brings frames from one end of a cable to the other', async () => {
    const port = await freePort();
    const [a, b] = (['listen', 'connect'] as const).map((end) =>
      create({ kind: 'socket', id: 'n', option: '-netdev socket', end, address: '127.0.0.1', port }),
    );
    await a!.open();
    await b!.open();
    const [left, right] = [a!.take('n')!, b!.take('n')!];
    const heard = await new Promise<Uint8Array>((resolve) => {
      left.receiver = (frame) => resolve(frame.slice());
      right.send(new Uint8Array(60).fill(3));
    });
    expect([...heard]).toEqual(Array.from({ length: 60 }, () => 3));
    a!.close();
    b!.close();
  });

  it('brings frames in datagrams, from one end to the other and to everybody in a group', async () => {
    const ends = async (left: object, right: object): Promise<number[]> => {
      const [a, b] = [left, right].map((datagrams) =>
        create({ kind: 'datagrams', id: 'n', option: '-netdev socket', datagrams: datagrams as DatagramSpec }),
      ) as [ReturnType<typeof create>, ReturnType<typeof create>];
      await a.open();
      await b.open();
      const [here, there] = [a.take('n')!, b.take('n')!];
      const frame = new Uint8Array(60).fill(5);
      let echoes = 0;
      there.receiver = () => echoes++;
      const heard = await new Promise<Uint8Array>((resolve) => {
        here.receiver = (bytes) => resolve(bytes.slice());
        there.send(frame);
      });
      await new Promise((done) => setTimeout(done, 50));
      a.close();
      b.close();
      return [heard.length, heard[7]!, echoes];
    };
    const [first, second] = [await freePort(), await freePort()];
    const loop = '127.0.0.1';
    const peer = (localPort: number, port: number) => ({ kind: 'peer', address: loop, port, localAddress: loop, localPort });
    expect(await ends(peer(first, second), peer(second, first))).toEqual([60, 5, 0]);
    const group = { kind: 'group', address: '239.192.7.9', port: first, localAddress: loop };
    expect(await ends(group, group)).toEqual([60, 5, 0]);
  });

  it('lets a connection to a forwarded port wait for the guest', async () => {
    const port = await freePort();
    const parts = create({
      kind: 'user',
      id: 'n',
      option: '-netdev user',
      restrict: false,
      forwards: [{ protocol: 'tcp', hostPort: port, guestPort: 80 }],
    });
    await parts.open();
    const network = parts.take('n')!;
    const frame = await new Promise<Uint8Array>((resolve) => {
      network.receiver = (bytes) => resolve(bytes.slice());
      connect(port, '127.0.0.1').on('error', () => {});
    });
    // A TCP segment with SYN for port 80 of the guest.
    expect([frame[23], frame[36]! * 256 + frame[37]!, frame[47]]).toEqual([6, 80, 2]);
    parts.close();
  });
});
