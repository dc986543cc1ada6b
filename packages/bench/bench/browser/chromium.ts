/** One run of the guest in headless Chromium: a page on the loopback interface whose Worker runs the machine. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BenchError } from '../../src/index.js';
import type { GuestOrder, GuestReport } from './guest.js';

const PAGE = '<!doctype html><title>Nestvm</title><script>new Worker("/worker.js", { type: "module" })</script>';
/** A page may share memory between threads only when it is isolated from other pages. */
const ISOLATION = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };
/** Without these Chromium looks for updates and the like, on a network that may not be there. */
const QUIET = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // A page without a window counts as in the background, whose processes run at a lower priority.
  '--disable-renderer-backgrounding',
  '--disable-backgrounding-occluded-windows',
  '--disable-background-timer-throttling',
];
/** Names under which distributions install it. */
const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/** The first Chromium on the PATH (or `CHROMIUM` of the environment) with what it says of its version; undefined without one. */
export function findChromium(): { command: string; version: string } | undefined {
  const asked = process.env['CHROMIUM'];
  for (const command of asked === undefined ? NAMES : [asked]) {
    const { status, stdout } = spawnSync(command, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    if (status === 0) return { command, version: stdout.trim() };
  }
  return undefined;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

/** Serves the page, its script and the guest; `onReport` gets what the Worker found. */
function serve(files: ReadonlyMap<string, { type: string; body: string | Uint8Array }>, onReport: (report: GuestReport) => void): Server {
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (request.method === 'POST') {
      onReport(JSON.parse(await bodyOf(request)) as GuestReport);
      response.end();
      return;
    }
    const file = files.get(request.url ?? '');
    response.writeHead(file ? 200 : 404, { ...ISOLATION, 'Content-Type': file?.type ?? 'text/plain' });
    response.end(file?.body);
  };
  return createServer((request, response) => void answer(request, response).catch(() => response.destroy()));
}

/** Chromium is many processes; those that are left would write on. */
function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

/** On a busy host the last of the processes may be slower to end than anybody wants to wait. */
function removeProfile(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  } catch (error) {
    console.error(`${folder} is left behind: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Runs the guest once. @throws BenchError `guest-failed` when the browser ends early or says nothing for `timeoutMs`. */
export async function runInChromium(command: string, workerScript: string, order: GuestOrder, timeoutMs: number): Promise<GuestReport> {
  const { kernel, initramfs, ...rest } = order;
  const binary = 'application/octet-stream';
  const files = new Map([
    ['/', { type: 'text/html', body: PAGE }],
    ['/worker.js', { type: 'text/javascript', body: workerScript }],
    ['/order', { type: 'application/json', body: JSON.stringify(rest) }],
    ['/kernel', { type: binary, body: kernel }],
    ['/initramfs', { type: binary, body: initramfs }],
  ]);
  const profile = mkdtempSync(join(tmpdir(), 'nestvm-chromium-'));
  // Chromium refuses its sandbox to root.
  const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return new Promise<GuestReport>((resolve, reject) => {
    const server = serve(files, (report) => finish(() => resolve(report)));
    let ended = false;
    const finish = (then: () => void): void => {
      if (ended) return;
      ended = true;
      clearTimeout(limit);
      server.close();
      server.closeAllConnections();
      killGroup(child?.pid);
      then();
    };
    let child: ReturnType<typeof spawn> | undefined;
    const fail = (why: string): void => finish(() => reject(new BenchError('guest-failed', `the guest in ${command} ${why}.`)));
    const limit = setTimeout(() => fail(`did not end within ${timeoutMs / 1000} s; try --timeout`), timeoutMs);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      const options = ['--headless', ...sandbox, ...QUIET, `--user-data-dir=${profile}`, `http://127.0.0.1:${port}/`];
      child = spawn(command, options, { stdio: 'ignore', detached: true });
      child.on('error', (error) => fail(`could not be started: ${error.message}`));
      child.on('close', (status) => fail(`ended early, as the browser did with status ${status}`));
    });
  }).finally(() => removeProfile(profile));
}

/** The guest's files and words. */
export const readOrder = (kernel: string, initramfs: string, rest: Omit<GuestOrder, 'kernel' | 'initramfs'>): GuestOrder => ({
  kernel: readFileSync(kernel),
  initramfs: readFileSync(initramfs),
  ...rest,
});
