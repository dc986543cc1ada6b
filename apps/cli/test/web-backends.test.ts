import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createQcow2, MemoryFile, Qcow2Disk } from '@nestvm/disks';
import type { WebSocketNetwork } from '@nestvm/networks';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { openDrive } from '../src/disk.js';
import { UsageError } from '../src/errors.js';
import { createWebSocketCable } from '../src/networks/web-socket-cable.js';
import { parseNetworks } from '../src/options/all-networks.js';
import { parseDrives } from '../src/options/drives.js';
import { parseRelay, Relay } from '../src/relay.js';
import { openRemoteDrives } from '../src/remote-drives.js';
import { freePort } from './ports.js';

/** Waits for conditions are as long as a busy host needs. */
vi.setConfig({ testTimeout: 120_000 });
const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function serve(listener: RequestListener): Promise<string> {
  const server: Server = createServer(listener);
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const serveFile = (bytes: Uint8Array): Promise<string> =>
  serve((request, response) => {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    if (first === undefined) return void response.end();
    const part = bytes.subarray(Number(first), Number(last) + 1);
    response.writeHead(206, { 'content-range': `bytes ${first}-${Number(first) + part.length - 1}/${bytes.length}` }).end(part);
  });

const drives = (text: string) => parseDrives(new Map([['drive', [text]]]), true);

describe('a disk on a web server', () => {
  it.each([
    ['file=http://h/a.raw,format=raw', 'http://h/a.raw', 'raw'],
    ['file.driver=http,file.url=http://h/a.qcow2,driver=qcow2', 'http://h/a.qcow2', 'qcow2'],
    ['file.driver=https,file.url=https://h/a?x=1,,2', 'https://h/a?x=1,2', undefined],
    ['file.driver=file,file.filename=/tmp/a', '/tmp/a', undefined],
  ])('is named as for QEMU: %s', (text, path, format) => {
    expect(drives(text)[0]).toMatchObject({ path, ...(format === undefined ? {} : { format }) });
  });

  it.each([
    ['file.driver=ftp,file.url=ftp://h/a', /there are file, http, https/],
    ['file.driver=http,file.url=https://h/a', /needs an address; write file.url=http:/],
    ['file.driver=http', /needs an address/],
  ])('is refused when its driver does not fit: %s', (text, message) => {
    expect(() => drives(text)).toThrow(message);
  });

  it('is read by ranges, and what is written is there while it runs', async () => {
    const file = new MemoryFile();
    createQcow2(file, { sizeBytes: 2 ** 24 });
    const inside = new Qcow2Disk(file);
    inside.write(2 ** 20, new Uint8Array(512).fill(7));
    inside.close();
    const url = await serveFile(file.bytes());
    const [drive] = await openRemoteDrives(drives(`file=${url}/d.qcow2`));
    const disk = openDrive(drive!);
    const sector = new Uint8Array(512);
    await disk.read(2 ** 20, sector);
    expect(sector[0]).toBe(7);
    await disk.write(2 ** 20, new Uint8Array(512).fill(8));
    await disk.read(2 ** 20, sector);
    expect(sector[0]).toBe(8);
  });

  it.each([
    ['sends whole files', ((_, response) => response.end('all')) as RequestListener, /sends whole files only; a disk needs one that serves ranges/],
    ['has none', ((_, response) => response.writeHead(404).end()) as RequestListener, /the server answers 404; check the address/],
  ])('says in one line of a server that %s', async (_, listener, message) => {
    const url = await serve(listener);
    const opening = openRemoteDrives(drives(`file=${url}/d`));
    await expect(opening).rejects.toThrow(UsageError);
    await expect(opening).rejects.toThrow(message);
  });

  it.each([
    ['http', (url: string) => `driver=http,url=${url}/d.raw,node-name=d`, 'raw'],
    ['raw above it', (url: string) => `raw,node-name=d,file.driver=http,file.url=${url}/d.raw`, 'raw'],
    ['qcow2 above it', (url: string) => `qcow2,node-name=d,file.driver=http,file.url=${url}/d.qcow2`, 'qcow2'],
  ])('is a node of -blockdev: %s', async (_, describe, format) => {
    const file = new MemoryFile();
    if (format === 'qcow2') createQcow2(file, { sizeBytes: 2 ** 24 });
    else file.write(0, new Uint8Array(4096));
    const url = await serveFile(file.bytes());
    const nodes = parseDrives(new Map([['blockdev', [describe(url)]]]), true);
    const [drive] = await openRemoteDrives(nodes);
    expect([drive!.format, openDrive(drive!).sizeBytes]).toEqual([format, format === 'raw' ? 4096 : 2 ** 24]);
  });

  it.each([
    ['http,node-name=d,url=https://h/a', /write url=http:/],
    ['raw,node-name=d,offset=512,file.driver=http,file.url=http://h/a', /for the whole image, and nothing else/],
    ['blkdebug,node-name=d,image.driver=https,image.url=https://h/a', /for the whole image, and nothing else/],
  ])('is refused as a node of what is not built upon it: %s', async (text, message) => {
    const opening = async (): Promise<unknown> => openRemoteDrives(parseDrives(new Map([['blockdev', [text]]]), true));
    await expect(opening()).rejects.toThrow(message);
  });

  it('says so when nobody listens', async () => {
    await expect(openRemoteDrives(drives('file=http://127.0.0.1:1/d'))).rejects.toThrow(/127.0.0.1:1\/d: .*; check the address/);
    expect(() => openDrive(drives('file=http://127.0.0.1:1/d')[0]!)).toThrow(/when the machine starts/);
  });
});

describe('a relay', () => {
  const open = async (...args: string[]): Promise<{ url: string; said: string[] }> => {
    const said: string[] = [];
    const relay = new Relay(parseRelay(['-listen', '127.0.0.1:0', ...args]), (text) => said.push(text));
    closers.push(() => relay.close());
    return { url: `ws://127.0.0.1:${await relay.open()}/`, said };
  };
  const plug = async (url: string): Promise<{ network: WebSocketNetwork; got: Uint8Array[] }> => {
    const network = createWebSocketCable('-netdev websocket', url);
    closers.push(() => network.close());
    const got: Uint8Array[] = [];
    network.receiver = (frame) => got.push(frame.slice());
    await until(() => network.isOpen);
    return { network, got };
  };
  const until = async (condition: () => boolean): Promise<void> => {
    for (const endMs = performance.now() + 60_000; !condition() && performance.now() < endMs; ) await new Promise((done) => setTimeout(done, 10));
    expect(condition()).toBe(true);
  };

  it('joins guests, and takes those out that have gone', async () => {
    const { url, said } = await open('-netdev', 'none');
    const [one, other, third] = [await plug(url), await plug(url), await plug(url)];
    one.network.send(new Uint8Array(60).fill(3));
    await until(() => other.got.length === 1 && third.got.length === 1);
    expect(other.got[0]).toEqual(new Uint8Array(60).fill(3));
    expect(one.got).toEqual([]);
    third.network.close();
    await until(() => said.includes('127.0.0.1 has gone'));
    other.network.send(new Uint8Array(1514).fill(4));
    await until(() => one.got.length === 1);
    expect(one.got[0]!.length).toBe(1514);
    expect(third.got.length).toBe(1);
  });

  it('has a user network behind it, which answers', async () => {
    const { url } = await open();
    const { network, got } = await plug(url);
    // Who has 10.0.2.2?
    const request = new Uint8Array(42);
    request.fill(255, 0, 6);
    request.set([2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 2, 15], 6);
    request.set([10, 0, 2, 2], 38);
    network.send(request);
    await until(() => got.length === 1);
    expect([...got[0]!.subarray(20, 22), ...got[0]!.subarray(28, 32)]).toEqual([0, 2, 10, 0, 2, 2]);
  });

  it.each([
    [undefined, [], true],
    ['http://localhost:8000', [], true],
    ['https://evil.example', [], false],
    ['https://good.example', ['-origin', 'https://good.example'], true],
    ['https://any.example', ['-origin', '*'], true],
    ['null', [], false],
  ] as const)('lets pages of %s in with %j: %s', async (origin, args, welcome) => {
    const { url } = await open('-netdev', 'none', ...args);
    const socket = new WebSocket(url, origin === undefined ? {} : { origin });
    closers.push(() => socket.terminate());
    const outcome = await new Promise((resolve) => {
      socket.once('open', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    expect(outcome).toBe(welcome);
  });

  it.each([
    [['-listen', 'nowhere'], /-listen nowhere: write ADDRESS:PORT/],
    [['-listen'], /a value is missing/],
    [['-port', '1'], /there are -listen, -netdev and -origin/],
  ])('refuses %j', (args, message) => {
    expect(() => parseRelay(args)).toThrow(message);
  });

  it('says so when its port is taken', async () => {
    const { url } = await open('-netdev', 'none');
    const second = new Relay(parseRelay(['-listen', new URL(url).host, '-netdev', 'none']), () => {});
    await expect(second.open()).rejects.toThrow(/the port is in use; choose another port/);
    second.close();
  });

  it('is asked for until it is there', async () => {
    const port = await freePort();
    const network = createWebSocketCable('-netdev websocket,id=n0', `ws://127.0.0.1:${port}/`);
    closers.push(() => network.close());
    // Long enough for it to have asked in vain.
    await new Promise((done) => setTimeout(done, 300));
    expect(network.isOpen).toBe(false);
    const late = new Relay(parseRelay(['-listen', `127.0.0.1:${port}`, '-netdev', 'none']), () => {});
    closers.push(() => late.close());
    await late.open();
    await until(() => network.isOpen);
    expect(network.isOpen).toBe(true);
  });
});

it('a WebSocket network is named by its address', () => {
  const parse = (text: string) => parseNetworks(new Map([['netdev', [text]]])).networks[0];
  expect(parse('websocket,id=n0,url=ws://127.0.0.1:8086/')).toMatchObject({ kind: 'websocket', url: 'ws://127.0.0.1:8086/' });
  expect(() => parse('websocket,id=n0')).toThrow(/not a relay; write url=ws:/);
  expect(() => parse('websocket,id=n0,url=http://h')).toThrow(/not a relay/);
});
