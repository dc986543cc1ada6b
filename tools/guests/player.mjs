/** A guest on the emulator that a script plays with: types on its console, waits for lines, talks to the monitor. */
import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defaultOutput } from './build.mjs';

const root = resolve(fileURLToPath(new URL('../../', import.meta.url)));
const logs = join(defaultOutput, 'logs');
const PROMPT = '(nestvm) ';

export const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** What a promise resolves to within that time, else `otherwise`; nothing is waited for afterwards. */
export async function within(milliseconds, promise, otherwise) {
  let timer;
  const over = new Promise((done) => (timer = setTimeout(() => done(otherwise), milliseconds)));
  try {
    return await Promise.race([promise, over]);
  } finally {
    clearTimeout(timer);
  }
}

const folders = [];

/** A folder for sockets and snapshots of one scenario; it is gone when the script ends. */
export function scratch() {
  const folder = mkdtempSync(join(tmpdir(), 'nestvm-guests-'));
  folders.push(folder);
  return folder;
}

/** A monitor on a unix socket: `ask(line)` resolves to what is printed up to the next prompt. */
class Monitor {
  #text = '';
  #told = () => {};

  static open(path) {
    return new Promise((done, fail) => {
      const socket = connect(path);
      socket.once('error', fail);
      socket.once('connect', () => {
        const monitor = new Monitor(socket);
        void monitor.#prompt().then(() => done(monitor), fail);
      });
    });
  }

  constructor(socket) {
    this.socket = socket;
    socket.on('data', (data) => {
      this.#text += String(data);
      this.#told();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
      this.#told();
    });
  }

  ask(line) {
    this.socket.write(`${line}\n`);
    return this.#prompt();
  }

  async #prompt() {
    // News of a migration may come behind the prompt, in one piece with it: they are the beginning of the next answer.
    while (!this.#text.includes(PROMPT)) {
      if (this.closed) throw new Error(`the monitor has gone after: ${this.#text}`);
      await new Promise((told) => {
        this.#told = told;
      });
    }
    const end = this.#text.lastIndexOf(PROMPT);
    const answer = this.#text.slice(0, end).replaceAll('\r', '');
    this.#text = this.#text.slice(end + PROMPT.length);
    return answer;
  }
}

/** Groups of processes that run: none of them outlives the script, whatever ends it (but `kill -9`). */
const groups = new Set();
process.on('exit', () => {
  for (const group of groups) {
    try {
      process.kill(-group, 'SIGKILL');
    } catch {
      // It has just ended by itself.
    }
  }
  for (const folder of folders) {
    try {
      rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 20 });
    } catch {
      // What is left behind is in the system's folder for such things.
    }
  }
});
for (const [signal, status] of Object.entries({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 })) process.on(signal, () => process.exit(status));

/** One process of the emulator. */
export class Guest {
  /** What runs a guest: the launcher of the checkout, or a bundle of it. */
  static program = join(root, 'tools/workspace/nestvm.mjs');
  output = '';
  /** @type {string | number | null | undefined} Signal or status, once it has ended. */
  ending = undefined;
  #told = new Set();

  /** `name` names the log; `folder` is where the monitor's socket is made. */
  constructor(name, folder, args) {
    this.name = name;
    this.path = join(folder, `${name}.monitor`);
    mkdirSync(logs, { recursive: true });
    const log = createWriteStream(join(logs, `${name}.log`));
    const command = [Guest.program, 'run', ...args, '-monitor', `unix:${this.path}`, '-serial', 'stdio', '-display', 'none'];
    // Detached: a group of its own, so that a kill takes the launcher and the emulator together.
    this.child = spawn(process.execPath, [...command, '-no-reboot'], { cwd: root, stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    groups.add(this.child.pid);
    this.child.stdin.on('error', () => {});
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.on('data', (data) => {
        this.output += data;
        log.write(data);
        this.#tell();
      });
    }
    this.ended = new Promise((done) =>
      this.child.on('close', (status, signal) => {
        this.ending = signal ?? status;
        groups.delete(this.child.pid);
        log.end();
        this.#tell();
        done(this.ending);
      }),
    );
  }

  #tell() {
    for (const look of this.#told) look();
  }

  /** Resolves to the match, once the console has `pattern` after the place `from`. */
  waitFor(pattern, { minutes = 10, from = 0 } = {}) {
    return new Promise((done, fail) => {
      const finish = (settle, value) => {
        clearTimeout(timer);
        this.#told.delete(look);
        settle(value);
      };
      const look = () => {
        const rest = this.output.slice(from);
        const match = typeof pattern === 'string' ? (rest.includes(pattern) ? [pattern] : null) : pattern.exec(rest);
        if (match) finish(done, match);
        else if (this.ending !== undefined) finish(fail, new Error(`${this.name} ended (${this.ending}) before ${pattern}`));
      };
      const timer = setTimeout(() => finish(fail, new Error(`${this.name}: no ${pattern} in ${minutes} minutes`)), minutes * 60_000);
      this.#told.add(look);
      look();
    });
  }

  type(text) {
    this.child.stdin.write(text);
  }

  /** Has the guest end by itself, which a microvm does by a reset; throws unless the emulator's status is 0. */
  async switchOff(machine) {
    this.type(machine === 'microvm' ? 'reboot -f\n' : 'poweroff -f\n');
    await this.ended;
    check(this.ending === 0, `ended with ${this.ending}`);
  }

  /** Types a line at the shell, and resolves to what it has printed when the shell is back. */
  async shell(line, { minutes = 10 } = {}) {
    const mark = `done-${Math.floor(performance.now() * 1000)}`;
    const from = this.output.length;
    // The quotes keep the echo of the line from matching.
    this.type(`${line}; echo ${mark.slice(0, 4)}''${mark.slice(4)}\n`);
    await this.waitFor(mark, { minutes, from });
    return this.output.slice(from).replaceAll('\r', '');
  }

  /** Presses Enter until the shell answers: what is typed before a snapshot is loaded is lost. */
  async awaken({ minutes = 10 } = {}) {
    const from = this.output.length;
    const pressing = setInterval(() => this.type('\n'), 1000);
    try {
      await this.waitFor('nestvm# ', { minutes, from });
    } finally {
      clearInterval(pressing);
    }
  }

  /** One command on a monitor connection that stays open. */
  async ask(line) {
    while (!this.monitor) {
      this.monitor = await Monitor.open(this.path).catch(() => undefined);
      if (this.ending !== undefined) throw new Error(`${this.name} ended (${this.ending}): ${this.output.slice(-500)}`);
      if (!this.monitor) await pause(50);
    }
    return this.monitor.ask(line);
  }

  /** kill -9, whole. */
  async kill() {
    if (this.ending !== undefined) return;
    process.kill(-Number(this.child.pid), 'SIGKILL');
    await this.ended;
  }
}

/** A line for the shell of a guest: loads the drivers of its initramfs, and says which could not be. */
export const LOAD_DRIVERS = 'for m in $(cat /lib/modules/order); do insmod /lib/modules/$m || echo "insmod $m failed"; done';

/** Initramfs whose modules are those of another kernel. */
const KERNELS = { 'full.cpio': 'vmlinuz-full', 'nested-cet.cpio': 'vmlinuz-cet' };

/** Options that start Debian's kernel (for some initramfs another one of Debian's) with an initramfs of ours. */
export const debian = (initramfs, append, ...args) => [
  ...args,
  '-kernel',
  join(defaultOutput, KERNELS[initramfs] ?? 'vmlinuz'),
  '-initrd',
  join(defaultOutput, initramfs),
  '-append',
  ['console=ttyS0 quiet cryptomgr.notests', append].join(' '),
];

export function check(condition, message) {
  if (!condition) throw new Error(message);
}
