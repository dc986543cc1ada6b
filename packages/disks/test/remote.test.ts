import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import {
  createQcow2,
  type HttpFetch,
  MemoryFile,
  openHttpSource,
  openRemoteImage,
  Qcow2Disk,
  RawDisk,
  type RemoteImageOptions,
} from '../src/index.js';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A web server as nginx is one, with a log of the ranges that it was asked for. */
async function serveFiles(files: Record<string, Uint8Array>, version = { tag: '"1"' }): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const url = await serve((request, response) => {
    const bytes = files[request.url!.slice(1)];
    if (!bytes) return void response.writeHead(404).end();
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    asked.push(`${first}-${last}`);
    if (first === undefined)
      return void response.writeHead(200, { 'content-length': bytes.length }).end(request.method === 'HEAD' ? undefined : bytes);
    if (Number(first) >= bytes.length) return void response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end();
    const end = Math.min(Number(last) + 1, bytes.length);
    response.writeHead(206, { 'content-range': `bytes ${first}-${end - 1}/${bytes.length}`, etag: version.tag });
    response.end(bytes.subarray(Number(first), end));
  });
  return { url, asked };
}

const options = (more: Partial<RemoteImageOptions> = {}): RemoteImageOptions => ({ open: (url) => openHttpSource(url, { fetch }), ...more });
const pattern = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 9)) & 255);

describe('an image on a web server', () => {
  it('reads what the file has, anywhere, and asks for nothing twice', async () => {
    const bytes = pattern(3_000_000);
    const { url, asked } = await serveFiles({ 'disk.raw': bytes });
    const disk = await openRemoteImage(`${url}/disk.raw`, options({ readOnly: true }));
    expect(disk.sizeBytes).toBe(Math.ceil(bytes.length / 512) * 512);
    expect(disk.readOnly).toBe(true);
    for (const [offset, length] of [
      [0, 512],
      [65_000, 2000],
      [1_000_000, 700_000],
      [2_999_808, 512],
      [10, 2_900_000],
    ] as const) {
      const into = new Uint8Array(length);
      await disk.read(offset, into);
      const wanted = new Uint8Array(length);
      wanted.set(bytes.subarray(offset, offset + length));
      expect(into.every((byte, i) => byte === wanted[i])).toBe(true);
    }
    const seen = new Set<number>();
    for (const range of asked) {
      const [first, last] = range.split('-').map(Number);
      for (let block = first! >> 16; block <= last! >> 16; block++) {
        expect(seen.has(block)).toBe(false);
        seen.add(block);
      }
    }
    // What is in the cache is answered at once.
    expect(disk.read(0, new Uint8Array(512))).toBeUndefined();
  });

  it('reads ahead for a reader who goes on', async () => {
    const { url, asked } = await serveFiles({ d: pattern(8 * 2 ** 20) });
    const disk = await openRemoteImage(`${url}/d`, options());
    for (let offset = 0; offset < disk.sizeBytes; offset += 0x8000) await disk.read(offset, new Uint8Array(0x8000));
    expect(asked.length).toBeLessThan(25);
    // Several pieces at once, as Linux reads ahead itself.
    asked.length = 0;
    const again = await openRemoteImage(`${url}/d`, options());
    for (let offset = 0; offset < again.sizeBytes; offset += 0x4_0000) {
      const pieces = [0, 0x2_0000].map((more) => Promise.resolve(again.read(offset + more, new Uint8Array(0x2_0000))));
      await Promise.all(pieces);
    }
    expect(asked.length).toBeLessThan(25);
  });

  it('keeps to its memory', async () => {
    const bytes = pattern(8 * 2 ** 20);
    const { url } = await serveFiles({ d: bytes });
    const disk = await openRemoteImage(`${url}/d`, options({ cacheBytes: 4 * 2 ** 20 }));
    for (let offset = 0; offset < disk.sizeBytes; offset += 0x1_0000) await disk.read(offset, new Uint8Array(512));
    expect(disk.read(0, new Uint8Array(512))).toBeInstanceOf(Promise);
    // More at once than the cache holds is read all the same.
    const all = new Uint8Array(disk.sizeBytes);
    await disk.read(0, all);
    expect(all[all.length - 1]).toBe(bytes.at(-1));
  });

  it('keeps what is written in memory', async () => {
    const bytes = pattern(1_000_000 - (1_000_000 % 512));
    const { url } = await serveFiles({ d: bytes });
    const disk = await openRemoteImage(`${url}/d`, options());
    await disk.write(700_100, new Uint8Array(100).fill(9));
    await disk.writeZeroes(512, 512, true);
    disk.flush();
    const into = new Uint8Array(bytes.length);
    await disk.read(0, into);
    const wanted = bytes.slice();
    wanted.fill(9, 700_100, 700_200);
    wanted.fill(0, 512, 1024);
    expect(Buffer.compare(into, wanted)).toBe(0);
  });

  it('opens a chain of qcow2 images, whose names are addresses', async () => {
    const base = new MemoryFile();
    createQcow2(base, { sizeBytes: 2 ** 30 });
    const below = new Qcow2Disk(base);
    for (let i = 0; i < 40; i++) below.write(i * 25_000_000 + 512, pattern(1024));
    below.close();
    const top = new MemoryFile();
    createQcow2(top, { sizeBytes: 2 ** 30, backing: { name: '../base/b.qcow2', format: 'qcow2' } });
    const above = new Qcow2Disk(top, { backing: new RawDisk(new MemoryFile(2 ** 30), true) });
    above.write(910_000_256, new Uint8Array(256).fill(3));
    above.close();
    const { url } = await serveFiles({ 'tops/t.qcow2': top.bytes(), 'base/b.qcow2': base.bytes() });
    const disk = await openRemoteImage(`${url}/tops/t.qcow2`, options());
    for (let i = 0; i < 40; i++) {
      const into = new Uint8Array(1024);
      await disk.read(i * 25_000_000 + 512, into);
      expect(into).toEqual(pattern(1024));
    }
    const into = new Uint8Array(256);
    await disk.read(910_000_256, into);
    expect(into[0]).toBe(3);
  });

  it('says when the file has changed', async () => {
    const version = { tag: '"1"' };
    const { url } = await serveFiles({ d: pattern(3_000_000) }, version);
    const disk = await openRemoteImage(`${url}/d`, options());
    version.tag = '"2"';
    await expect(disk.read(1_000_000, new Uint8Array(512))).rejects.toMatchObject({ code: 'changed' });
  });

  it('tries again when the line breaks, and says so when it stays broken', async () => {
    const { url } = await serveFiles({ d: pattern(3_000_000) });
    let fails = 0;
    const shaky: HttpFetch = async (address, init) => {
      if (fails-- > 0) throw Object.assign(new TypeError('fetch failed'), { cause: { code: 'ECONNRESET' } });
      return fetch(address, init);
    };
    const disk = await openRemoteImage(`${url}/d`, { open: (address) => openHttpSource(address, { fetch: shaky }) });
    fails = 2;
    await disk.read(1_000_000, new Uint8Array(512));
    fails = 100;
    await expect(disk.read(2_000_000, new Uint8Array(512))).rejects.toThrow(/d: ECONNRESET; check/);
    fails = 0;
    await disk.read(2_000_000, new Uint8Array(512));
  });

  it.each([
    [
      'whole files only',
      'no-ranges',
      (_: unknown, response: { writeHead(status: number): { end(text: string): void } }) => response.writeHead(200).end('x'),
    ],
    ['nothing', 'unreachable', (_: unknown, response: { writeHead(status: number): { end(text: string): void } }) => response.writeHead(404).end('')],
    ['errors', 'unreachable', (_: unknown, response: { writeHead(status: number): { end(text: string): void } }) => response.writeHead(503).end('')],
  ] as const)('refuses a server that gives %s', async (_, code, listener) => {
    const url = await serve(listener as RequestListener);
    await expect(openRemoteImage(`${url}/d`, options())).rejects.toMatchObject({ code });
  });

  it('refuses a server that sends other bytes than those asked for', async () => {
    const url = await serve((request, response) => {
      const first = Number(/=(\d+)/.exec(request.headers.range!)![1]);
      response.writeHead(206, { 'content-range': `bytes ${first}-${first + 65_535}/1000000` }).end(Buffer.alloc(first === 0 ? 65_536 : 77));
    });
    const disk = await openRemoteImage(`${url}/d`, options());
    await expect(disk.read(300_000, new Uint8Array(512))).rejects.toMatchObject({ code: 'no-ranges' });
  });

  it('asks for the length where a page may not see Content-Range', async () => {
    const { url } = await serveFiles({ d: pattern(200_000) });
    const hiding: HttpFetch = async (address, init) => {
      const { status, headers, body, arrayBuffer } = await fetch(address, init).then((answer) => ({
        status: answer.status,
        headers: answer.headers,
        body: answer.body,
        arrayBuffer: () => answer.arrayBuffer(),
      }));
      return { status, body, arrayBuffer, headers: { get: (name) => (name === 'content-length' ? headers.get(name) : null) } };
    };
    const disk = await openRemoteImage(`${url}/d`, { open: (address) => openHttpSource(address, { fetch: hiding }) });
    expect(disk.sizeBytes).toBe(200_192);
  });

  it('an empty file is a disk without sectors', async () => {
    const { url } = await serveFiles({ d: new Uint8Array(0) });
    expect((await openRemoteImage(`${url}/d`, options())).sizeBytes).toBe(0);
  });
});
