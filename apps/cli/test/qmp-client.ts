import { connect, type Socket } from 'node:net';
import { expect } from 'vitest';
import { JsonStream } from '../src/qmp/json-stream.js';
import { guest, pathFor, type Running, start } from './spawn.js';

/** What a QMP server sends. */
type Message = Record<string, unknown> & {
  error?: { class: string; desc: string; data?: unknown };
  return?: unknown;
  event?: string;
  id?: unknown;
};

/** A QMP client: answers by their order, events apart. */
class Client {
  readonly events: Message[] = [];
  private readonly answers: Message[] = [];
  private readonly stream = new JsonStream();
  private told: () => void = () => {};
  closed = false;

  constructor(readonly socket: Socket) {
    socket.on('data', (bytes) => {
      for (const item of this.stream.push(bytes)) {
        if ('error' in item) throw new Error(item.error);
        const message = item.value as Message;
        (message.event === undefined ? this.answers : this.events).push(message);
      }
      this.told();
    });
    socket.on('close', () => {
      this.closed = true;
      this.told();
    });
    socket.on('error', () => {});
  }

  async next(): Promise<Message> {
    await this.until(() => this.answers.length > 0);
    return this.answers.shift()!;
  }

  async event(name: string): Promise<Message> {
    await this.until(() => this.events.some(({ event }) => event === name));
    return this.events.find(({ event }) => event === name)!;
  }

  call(execute: string, args?: unknown, id?: unknown): Promise<Message> {
    this.socket.write(JSON.stringify({ execute, ...(args === undefined ? {} : { arguments: args }), ...(id === undefined ? {} : { id }) }));
    return this.next();
  }

  private async until(check: () => boolean): Promise<void> {
    while (!check()) {
      if (this.closed) throw new Error('the connection was closed');
      await new Promise<void>((resolve) => {
        this.told = resolve;
      });
    }
  }
}

/** Connects, as soon as somebody listens. */
export async function client(running: Running, path: string): Promise<Client> {
  for (;;) {
    const socket = await new Promise<Socket | undefined>((resolve) => {
      const attempt = connect(path, () => resolve(attempt));
      attempt.once('error', () => resolve(undefined));
    });
    if (socket) return new Client(socket);
    await Promise.race([new Promise((resolve) => setTimeout(resolve, 50)), running.ended.then((ended) => Promise.reject(new Error(ended.err)))]);
  }
}

let sockets = 0;

/** A guest with these bytes, and a client of its QMP. */
export async function session(bytes: readonly number[], ...more: string[]): Promise<{ running: Running; qmp: Client }> {
  const path = pathFor(`qmp${sockets++}`);
  const running = start('run', ...guest(...bytes), '-serial', 'null', '-qmp', `unix:${path},server=on,wait=off`, ...more);
  return { running, qmp: await client(running, path) };
}

/** The same, ready for commands. */
export async function negotiated(bytes: readonly number[], ...more: string[]): Promise<{ running: Running; qmp: Client }> {
  const both = await session(bytes, ...more);
  expect(await both.qmp.next()).toMatchObject({ QMP: { version: { qemu: { major: 7 } }, capabilities: [] } });
  expect(await both.qmp.call('qmp_capabilities')).toEqual({ return: {} });
  return both;
}
