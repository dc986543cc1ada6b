import { copyFileSync, mkdirSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Link } from '@nestvm/migration';
import { describe, expect, it, vi } from 'vitest';
import { UsageError } from '../src/errors.js';
import type { Door } from '../src/migration/door.js';
import { inTime } from '../src/migration/in-time.js';
import { parseTlsCredentials } from '../src/migration/tls.js';
import { type LineOptions, openDoor, openLine, parsePlace } from '../src/migration/transport.js';
import { createProcessWitness } from '../src/migration/witness.js';
import { freePort } from './ports.js';
import { pathFor, start, startWith } from './spawn.js';

const certificates = fileURLToPath(new URL('tls/', import.meta.url));
const plain: LineOptions = { timeoutMs: () => 20_000 };

const credentials = (endpoint: 'client' | 'server', folder = certificates, more = '') =>
  parseTlsCredentials(`tls-creds-x509,id=t0,dir=${folder},endpoint=${endpoint}${more}`);

/** A folder with the certificates of a test, some replaced. */
function folderWith(name: string, files: Readonly<Record<string, string>>): string {
  const folder = pathFor(name);
  mkdirSync(folder);
  for (const file of ['ca-cert', 'server-cert', 'server-key', 'client-cert', 'client-key'])
    copyFileSync(join(certificates, `${files[file] ?? file}.pem`), join(folder, `${file}.pem`));
  return folder;
}

/** The end of a line at who waits for it. */
async function awaitLine(uri: string, options: LineOptions): Promise<Link> {
  const door = await openDoor('-incoming', parsePlace('-incoming', uri), options);
  return entered(door);
}

/** The line of who comes through an open door. */
async function entered(door: Door<Link>): Promise<Link> {
  try {
    return await door.next();
  } finally {
    door.close();
  }
}

/** Both ends of a line. */
async function connected(uri: string, options: LineOptions = plain, other: LineOptions = options, listenUri = uri): Promise<[Link, Link]> {
  const waiting = awaitLine(listenUri, other);
  waiting.catch(() => {});
  for (const endMs = performance.now() + 60_000; ; ) {
    try {
      const here = await openLine('migrate', parsePlace('migrate', uri), options);
      return [here, await waiting];
    } catch (error) {
      if (performance.now() > endMs || !/is somebody listening/.test(String(error))) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

async function carry(from: Link, to: Link, bytes: Uint8Array): Promise<Buffer> {
  const sent = from.sink.write(bytes);
  const pieces: Uint8Array[] = [];
  for (let have = 0; have < bytes.length; ) {
    const piece = await to.source.read(bytes.length - have);
    if (piece.length === 0) throw new Error(`the line ended after ${have} bytes`);
    pieces.push(piece.slice());
    have += piece.length;
  }
  await sent;
  return Buffer.concat(pieces);
}

const bytes = Uint8Array.from({ length: 3 << 20 }, (_, i) => (i ^ (i >> 7)) & 0xff);

/** True when a line carries bytes unchanged both ways, and tells of its end. */
async function carries([here, there]: readonly [Link, Link]): Promise<boolean> {
  const forth = (await carry(here, there, bytes)).equals(bytes);
  const back = (await carry(there, here, bytes.subarray(0, 5000))).equals(bytes.subarray(0, 5000));
  here.close();
  const ended = (await there.source.read(1)).length === 0;
  there.close();
  return forth && back && ended;
}

describe('lines of a migration', () => {
  it('tcp, unix, ws', async () => {
    expect(await carries(await connected(`tcp:127.0.0.1:${await freePort()}`))).toBe(true);
    expect(await carries(await connected(`tcp:[::1]:${await freePort()}`))).toBe(true);
    expect(await carries(await connected(`unix:${pathFor('line')}`))).toBe(true);
    expect(await carries(await connected(`ws://127.0.0.1:${await freePort()}/`))).toBe(true);
  });

  it('what comes is read into the memory of who waits, in pieces of any size, and waits for who does not', async () => {
    for (const uri of [`tcp:127.0.0.1:${await freePort()}`, `unix:${pathFor('into')}`]) {
      const [here, there] = await connected(uri);
      const sent = here.sink.write(bytes).then(() => here.sink.write(bytes.subarray(0, 1000)));
      const came = Buffer.alloc(bytes.length + 1000);
      for (let at = 0, turn = 0; at < came.length; turn++) {
        const target = came.subarray(at, at + ((turn * 7919) % 300_000) + 1);
        const pieces = turn % 3 === 0 ? await there.source.read(target.length) : undefined;
        if (pieces) target.set(pieces);
        at += pieces ? pieces.length : await there.source.readInto!(target);
        if (turn % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      }
      await sent;
      expect(came.equals(Buffer.concat([bytes, bytes.subarray(0, 1000)]))).toBe(true);
      const last = there.source.readInto!(new Uint8Array(1));
      here.close();
      expect(await last).toBe(0);
      expect(await there.source.readInto!(new Uint8Array(1))).toBe(0);
      there.close();
    }
  });

  it('exec: the command carries the bytes', async () => {
    const path = pathFor('exec-line');
    const program = `const s = require('net').connect('${path}'); process.stdin.pipe(s); s.pipe(process.stdout)`;
    const command = `exec:until [ -S ${path} ]; do sleep 0.02; done; ${process.execPath} -e "${program}"`;
    expect(await carries(await connected(command, plain, plain, `unix:${path}`))).toBe(true);
  });

  it('fd: a socket that the process was started with', { timeout: 300_000 }, async () => {
    const server: Server = createServer();
    await new Promise<void>((resolve) => server.listen(pathFor('fd'), resolve));
    const arrived = new Promise<Socket>((resolve) => server.once('connection', resolve));
    const here = await openLine('migrate', parsePlace('migrate', `unix:${pathFor('fd')}`), plain);
    const target = startWith({ stdio: ['pipe', 'pipe', 'pipe', await arrived] }, 'run', '-m', '4M', '-display', 'none', '-incoming', 'fd:3');
    await here.sink.write(new Uint8Array(64));
    const { status, err } = await target.ended;
    expect([status, err]).toEqual([1, expect.stringMatching(/no Nestvm snapshot/)]);
    server.close();
    const none = await start('run', '-m', '4M', '-display', 'none', '-incoming', 'fd:77').ended;
    expect([none.status, none.err]).toEqual([2, expect.stringMatching(/fd:77: this process has no such descriptor/)]);
  });

  it('a line on which nothing moves fails', async () => {
    const [here, there] = await connected(`unix:${pathFor('silent')}`, { timeoutMs: () => 200 });
    await expect(there.source.read(1)).rejects.toThrow(/nothing could be received for 0.2 s/);
    const [full] = await connected(`unix:${pathFor('full')}`, { timeoutMs: () => 300 });
    await expect(full.sink.write(new Uint8Array(64 << 20))).rejects.toThrow(/nothing could be sent for 0.3 s/);
    here.close();
  });

  it('a line that moves slowly does not fail, however much is waited for', async () => {
    const [here, there] = await connected(`unix:${pathFor('slow')}`, plain, { timeoutMs: () => 500 });
    const target = new Uint8Array(15);
    const came = Promise.resolve(there.source.readInto!(target));
    for (let i = 0; i < target.length; i++) {
      await here.sink.write(Uint8Array.of(i));
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect([await came, ...target]).toEqual([15, ...target.keys()]);
    await expect(there.source.readInto!(target)).rejects.toThrow(/nothing could be received for 0.5 s/);
    here.close();
  });

  it('a line that is not there in time, or is not wanted any more, is given up', async () => {
    const place = parsePlace('migrate', `unix:${pathFor('mute')}`);
    let closed = 0;
    const mute = createServer((socket) =>
      socket
        .resume()
        .on('close', () => closed++)
        .on('error', () => {}),
    ).listen(pathFor('mute'));
    const tls = credentials('client');
    const open = (ending: AbortSignal): Promise<Link> => openLine('migrate', place, { ...plain, tls, ending });
    await expect(inTime(open, 200)).rejects.toThrow(/no line in 0.2 s/);
    const cancel = new AbortController();
    const cancelled = inTime(open, 60_000, cancel.signal);
    setTimeout(() => cancel.abort(), 100);
    await expect(cancelled).rejects.toMatchObject({ code: 'cancelled' });
    await vi.waitFor(() => expect(closed).toBe(2));
    mute.close();
  });

  it('what is no address is refused', () => {
    for (const text of ['tcp:1', 'tcp:[::1:1', 'ws:', 'wss://host:1', 'fd:x', 'exec:', 'quic:1', ''])
      expect(() => parsePlace('migrate', text), text).toThrow(UsageError);
  });
});

describe('TLS', () => {
  const secured = async (client: LineOptions['tls'], server: LineOptions['tls'], more: Partial<LineOptions> = {}): Promise<[Link, Link]> =>
    connected(`tcp:127.0.0.1:${await freePort()}`, { ...plain, tls: client, ...more }, { ...plain, tls: server });

  it('carries bytes between sides that know each other', async () => {
    expect(await carries(await secured(credentials('client'), credentials('server')))).toBe(true);
    expect(await carries(await secured(credentials('client'), credentials('server'), { hostname: 'localhost' }))).toBe(true);
  });

  it('refuses a target whose certificate is of another authority, or for another name', async () => {
    const distrustful = folderWith('distrustful', { 'ca-cert': 'other-cert' });
    await expect(secured(credentials('client', distrustful), credentials('server'))).rejects.toThrow(/TLS: .*(certificate|issuer)/);
    await expect(secured(credentials('client'), credentials('server'), { hostname: 'elsewhere.example' })).rejects.toThrow(/TLS: .*altnames/);
    expect(await carries(await secured(credentials('client', distrustful, ',verify-peer=off'), credentials('server')))).toBe(true);
  });

  it('refuses a source whose certificate is of another authority', async () => {
    const distrustful = folderWith('distrustful-server', { 'ca-cert': 'other-cert' });
    const port = await freePort();
    const door = await openDoor('-incoming', parsePlace('-incoming', `tcp:127.0.0.1:${port}`), { ...plain, tls: credentials('server', distrustful) });
    const refused = entered(door).then(
      () => 'accepted',
      (error: unknown) => String(error),
    );
    const line = openLine('migrate', parsePlace('migrate', `tcp:127.0.0.1:${port}`), { ...plain, tls: credentials('client') });
    await line.then((link) => link.source.read(1)).catch(() => {});
    expect(await refused).toMatch(/TLS: /);
  });

  it('what is missing is named', async () => {
    expect(() => parseTlsCredentials('tls-creds-x509,id=a')).toThrow(/write tls-creds-x509,id=/);
    await expect(secured(credentials('client', pathFor('nowhere')), credentials('server'))).rejects.toThrow(/nowhere\/ca-cert.pem: no such file/);
    await expect(secured(credentials('server'), credentials('server'))).rejects.toThrow(/endpoint=client/);
  });
});

it('a witness tells living processes of this system from dead ones, and knows nothing of others', { timeout: 300_000 }, async () => {
  const witness = createProcessWitness();
  const identity = JSON.parse(witness.me) as { pid: number };
  expect(await witness.judge(witness.me)).toBe('alive');
  expect(await witness.judge(JSON.stringify({ ...identity, start: '1' }))).toBe('dead');
  expect(await witness.judge(JSON.stringify({ ...identity, pid: 2 ** 22 + 1 }))).toBe('dead');
  expect(await witness.judge(JSON.stringify({ ...identity, boot: 'another' }))).toBe('unknown');
  expect(await witness.judge(JSON.stringify({ ...identity, pid: -1 }))).toBe('unknown');
  expect(await witness.judge('{')).toBe('unknown');
});
