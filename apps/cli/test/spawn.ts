import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach } from 'vitest';
import { temporaryFolder } from './temporary.js';

const launcher = fileURLToPath(new URL('../../../tools/workspace/nestvm.mjs', import.meta.url));

/** How a run of the command line ended. */
export interface Ended {
  readonly status: number | null;
  readonly signal: string | null;
  readonly out: string;
  readonly err: string;
}

/** A running command line. */
export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves when standard output has matched; rejects when the process ends before. */
  waitFor(pattern: RegExp | string): Promise<void>;
}

/** What was started and has not ended: a test that fails leaves nothing behind. */
const alive = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of alive) child.kill('SIGKILL');
});
afterEach(() => {
  for (const child of alive) child.kill('SIGKILL');
});

/** Starts `nestvm` as a process of its own. */
export const start = (...args: string[]): Running => startWith({ stdio: ['pipe', 'pipe', 'pipe'] }, ...args);

/** The same with more open than the standard streams, which must be pipes, or in another folder. */
export function startWith(options: { readonly stdio: StdioOptions; readonly cwd?: string }, ...args: string[]): Running {
  const child = spawn(process.execPath, [launcher, ...args], options) as ChildProcess & {
    stdout: NodeJS.ReadableStream;
    stderr: NodeJS.ReadableStream;
    stdin: NodeJS.WritableStream;
  };
  alive.add(child);
  child.once('exit', () => alive.delete(child));
  let out = '';
  let err = '';
  // A character may come in two pieces.
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8');
  const waiting = new Set<() => void>();
  child.stdout.on('data', (data) => {
    out += String(data);
    for (const look of waiting) look();
  });
  child.stderr.on('data', (data) => (err += String(data)));
  // A program that has ended does not read what is typed.
  child.stdin.on('error', () => {});
  const ended = new Promise<Ended>((resolve) => child.on('close', (status, signal) => resolve({ status, signal, out, err })));
  const waitFor = (pattern: RegExp | string): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (!(typeof pattern === 'string' ? out.includes(pattern) : pattern.test(out))) return;
        waiting.delete(look);
        resolve();
      };
      waiting.add(look);
      void ended.then(() => reject(new Error(`ended before ${String(pattern)}: ${out}${err}`)));
      look();
    });
  return { child, ended, waitFor };
}

/** Runs `nestvm` to its end, with nothing on standard input. */
export function nestvm(...args: string[]): Promise<Ended> {
  const running = start(...args);
  running.child.stdin?.end();
  return running.ended;
}

const folder = temporaryFolder('cli');
let files = 0;

/** A file with these bytes; its path. */
export function fileOf(bytes: Uint8Array | string): string {
  const path = join(folder, `file${files++}`);
  writeFileSync(path, bytes);
  return path;
}

/** A path in the same folder where there is nothing yet. */
export const pathFor = (name: string): string => join(folder, name);

/** Options that start these bytes in real mode at 0x7c00, with isa-debug-exit at 0xf4. */
export const guest = (...bytes: number[]): string[] => guestIn('real', bytes);

/** The same in another mode. */
export const guestIn = (mode: 'real' | 'long', bytes: readonly number[]): string[] => [
  '-device',
  `loader,file=${fileOf(Uint8Array.from(bytes))},addr=0x7c00,cpu-num=0,mode=${mode}`,
  '-device',
  'isa-debug-exit,iobase=0xf4,iosize=0x4',
  '-m',
  '4M',
];
