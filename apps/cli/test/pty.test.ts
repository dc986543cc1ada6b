import { spawn, spawnSync } from 'node:child_process';
import { closeSync, constants, copyFileSync, mkdirSync, openSync, readSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { PtyLine } from '../src/characters/pty-line.js';
import { guest, nestvm, pathFor, type Running, start } from './spawn.js';

/** Prints R, then each byte from COM1 + 0x20, so that control characters show. */
const SHOW = [
  0xba, 0xf8, 0x03, 0xb0, 0x52, 0xee, 0xb2, 0xfd, 0xec, 0xa8, 0x01, 0x74, 0xfb, 0xb2, 0xf8, 0xec, 0x04, 0x20, 0xee, 0xb2, 0xfd, 0xeb, 0xf1,
];
const bundle = fileURLToPath(new URL('../build/nestvm.cjs', import.meta.url));
const TIMEOUT = 300_000;

const soon = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

/** A program that has the terminal open, without being its session's leader. */
class Program {
  text = '';
  private readonly descriptor: number;

  constructor(path: string) {
    this.descriptor = openSync(path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
  }

  type(text: string): void {
    writeSync(this.descriptor, Buffer.from(text, 'latin1'));
  }

  /** Reads once; how many bytes came. */
  read(): number {
    const buffer = Buffer.alloc(4096);
    try {
      const count = readSync(this.descriptor, buffer);
      this.text += buffer.toString('latin1', 0, count);
      return count;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 0;
      throw error;
    }
  }

  async waitFor(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.text)) if (this.read() === 0) await soon();
  }

  close(): void {
    closeSync(this.descriptor);
  }
}

/** A program that a monitor has greeted: one that comes before it was seen that the one before has gone takes over what that has left, and tries again. */
async function greeted(path: string): Promise<Program> {
  for (;;) {
    const program = new Program(path);
    for (let looks = 0; looks < 200; looks++) {
      if (program.read() === 0) await soon();
      if (/\(nestvm\) /.test(program.text)) return program;
    }
    program.close();
    for (let looks = 0; looks < 100; looks++) await soon();
  }
}

/** The terminals that a run has said it made, by their labels. */
async function announced(running: Running, ...labels: string[]): Promise<string[]> {
  let out = '';
  running.child.stdout!.on('data', (data) => (out += String(data)));
  const lines = labels.map((label) => new RegExp(`^char device redirected to (/dev/\\S+) \\(label ${label}\\)\n`, 'm'));
  for (const line of lines) await running.waitFor(line);
  return lines.map((line) => line.exec(out)![1]!);
}

describe.skipIf(process.platform === 'win32')('a character device on a pseudo-terminal', () => {
  it(
    'is raw, and open to one program after another',
    async () => {
      const running = start('run', ...guest(...SHOW), '-serial', 'pty');
      const [path] = (await announced(running, 'serial0')) as [string];
      const first = new Program(path);
      first.type('\u0003\n\r\u0011\u007f');
      await first.waitFor(/#\*-1\u009f/);
      first.close();
      // As `echo A > /dev/pts/N` does: gone before anybody has looked.
      const [hasty, second] = [new Program(path), new Program(path)];
      hasty.type('A');
      hasty.close();
      await second.waitFor(/a/);
      second.type('B');
      await second.waitFor(/ab/);
      second.close();
      running.child.kill('SIGTERM');
      expect((await running.ended).status).toBe(143);
    },
    TIMEOUT,
  );

  it(
    'has a monitor for each program that opens it; QMP tells where it is',
    async () => {
      const running = start(
        'run',
        ...guest(0xfb, 0xf4, 0xeb, 0xfd),
        '-monitor',
        'pty',
        '-chardev',
        'pty,id=control',
        '-mon',
        'control,mode=control',
        '-serial',
        'null',
      );
      const [control, monitor] = (await announced(running, 'control', 'compat_monitor0')) as [string, string];
      for (let i = 0; i < 2; i++) {
        const person = await greeted(monitor);
        person.type('info status\n');
        await person.waitFor(/VM status: running/);
        person.close();
      }
      const program = new Program(control);
      await program.waitFor(/"QMP"/);
      program.type('{"execute":"qmp_capabilities"}{"execute":"query-chardev"}');
      // An answer may come in pieces.
      await program.waitFor(new RegExp(`"filename": ?"pty:${control}"`));
      program.type('{"execute":"quit"}');
      expect((await running.ended).status).toBe(0);
      program.close();
    },
    TIMEOUT,
  );

  it(
    'is for one device, and says what to do where the library is absent',
    async () => {
      const twice = await nestvm('run', ...guest(0xf4), '-chardev', 'pty,id=one', '-serial', 'chardev:one', '-serial', 'chardev:one');
      expect(twice).toMatchObject({ status: 2, err: expect.stringMatching(/-serial: another device has this pseudo-terminal/) });
      mkdirSync(pathFor('elsewhere'));
      copyFileSync(bundle, pathFor('elsewhere/nestvm.cjs'));
      const { status, stderr } = spawnSync(process.execPath, [pathFor('elsewhere/nestvm.cjs'), 'run', ...guest(0xf4), '-serial', 'pty'], {
        encoding: 'utf8',
        env: { ...process.env, NODE_PATH: '' },
      });
      expect(stderr).toMatch(/-serial pty: the optional package @lydell\/node-pty-\S+ is not installed; install .* or write unix:PATH/);
      expect(status).toBe(2);
    },
    TIMEOUT,
  );

  it(
    'holds the guest up for a program that is slow, and loses nothing',
    async () => {
      const line = new PtyLine('-serial');
      const chunk = Uint8Array.from({ length: 1000 }, (_, i) => 33 + (i % 90));
      const line1 = Buffer.from(chunk).toString('latin1');
      expect(line.write(chunk)).toBe(true);
      let [came, gone] = [false, false];
      line.onPresence = (present) => (present ? (came = true) : (gone = true));
      const program = new Program(line.path);
      while (!came) await soon();
      let [chunks, held] = [0, 0];
      let room = true;
      line.onRoom = () => (room = true);
      while (chunks < 1500) {
        while (room && chunks < 1500) {
          room = line.write(chunk);
          chunks++;
          if (!room) held++;
        }
        while (program.read() > 0);
        await soon();
      }
      while (program.text.length < 1_500_000) if (program.read() === 0) await soon();
      expect(held).toBeGreaterThan(0);
      expect(program.text === line1.repeat(1500)).toBe(true);
      // A guest that does not take what is typed gets it later.
      const got: number[] = [];
      let willing = false;
      line.onInput = (bytes) => (willing ? got.push(bytes[0]!) && 1 : 0);
      program.type('typed');
      program.close();
      while (!gone) await soon();
      willing = true;
      while (got.length < 5) await soon();
      expect(Buffer.from(got).toString()).toBe('typed');
      line.close();
    },
    TIMEOUT,
  );

  it('is a terminal for programs such as a shell', async () => {
    const line = new PtyLine('-chardev');
    let out = '';
    line.onInput = (bytes) => {
      out += Buffer.from(bytes).toString();
      return bytes.length;
    };
    const shell = spawn('sh', ['-c', `exec <>${line.path} >&0; tty; read answer; echo "got $answer"`], { stdio: ['ignore', 'ignore', 'inherit'] });
    while (!out.includes(line.path)) await soon();
    line.write(Buffer.from('words\n'));
    while (!out.endsWith('got words\n')) await soon();
    expect(out).toBe(`${line.path}\ngot words\n`);
    shell.kill();
    line.close();
  });
});
