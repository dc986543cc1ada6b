import { fileURLToPath } from 'node:url';
import { spawn } from '@lydell/node-pty';
import { describe, expect, it } from 'vitest';
import { guest } from './spawn.js';

const launcher = fileURLToPath(new URL('../../../tools/workspace/nestvm.mjs', import.meta.url));
/** Prints R, then each byte from COM1 as two hexadecimal digits would need code: here as the byte + 0x20, so that control characters show. */
const SHOW = [
  0xba, 0xf8, 0x03, 0xb0, 0x52, 0xee, 0xb2, 0xfd, 0xec, 0xa8, 0x01, 0x74, 0xfb, 0xb2, 0xf8, 0xec, 0x04, 0x20, 0xee, 0xb2, 0xfd, 0xeb, 0xf1,
];

/** Runs nestvm in a terminal of its own; gives what it printed, and afterwards what the terminal says about itself. */
async function inTerminal(options: readonly string[], actions: readonly (readonly [RegExp, string])[]): Promise<string> {
  // It ends when all has been read: of what is left behind an end, the library may drop the rest.
  const script = 'exec 3<&0; "$@" <&3 & echo "pid $!"; wait $!; echo "status $?"; stty -a; echo "all told"; read answer';
  const pty = spawn('sh', ['-c', script, 'sh', process.execPath, launcher, ...options], { cols: 200 });
  let out = '';
  let next = 0;
  let told = false;
  pty.onData((data) => {
    out += data;
    if (/all told\s/.test(out) && !told) {
      told = true;
      pty.write('\r');
    }
    const [pattern, action] = actions[next] ?? [];
    if (pattern === undefined || action === undefined || !pattern.test(out)) return;
    next++;
    if (action.startsWith('SIG')) process.kill(Number(/pid (\d+)/.exec(out)![1]), action);
    else pty.write(action);
  });
  await new Promise<void>((resolve) => pty.onExit(() => resolve()));
  return out;
}

const COOKED = [/\sicanon\s/, /\secho\s/, /\sisig\s/, /\sopost\s/];

describe('the terminal', () => {
  it('is raw for the guest: Ctrl-C and Ctrl-Z are keys; Ctrl-A x gives it back', async () => {
    const out = await inTerminal(guest(...SHOW), [
      [/R/, '\u0003'],
      [/#/, '\u001a'],
      [/:/, '\u0001x'],
    ]);
    expect(out).toContain('status 0');
    for (const mode of COOKED) expect(out).toMatch(mode);
  });

  it('is given back when the guest ends by itself', async () => {
    const out = await inTerminal(guest(0xb0, 0x03, 0xe6, 0xf4), []);
    expect(out).toContain('status 7');
    for (const mode of COOKED) expect(out).toMatch(mode);
  });

  it('ends by Ctrl-C on -serial stdio, and is given back', async () => {
    const out = await inTerminal([...guest(...SHOW), '-serial', 'stdio'], [[/R/, '\u0003']]);
    expect(out).toContain('status 130');
    for (const mode of COOKED) expect(out).toMatch(mode);
  });

  it('is given back after SIGTERM', async () => {
    const out = await inTerminal(guest(...SHOW), [[/R/, 'SIGTERM']]);
    expect(out).toContain('status 143');
    for (const mode of COOKED) expect(out).toMatch(mode);
  });
});
