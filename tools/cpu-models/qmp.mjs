/** A conversation with an installed QEMU. */
import { execFileSync, spawn } from 'node:child_process';

export const QEMU = process.env.QEMU ?? 'qemu-system-x86_64';

/** Its version, as it says. */
export const version = () => execFileSync(QEMU, ['--version']).toString().split('\n')[0].trim();

/** Names of all its CPU models, versions and aliases included. */
export const modelNames = () =>
  [
    ...execFileSync(QEMU, ['-cpu', 'help'])
      .toString()
      .matchAll(/^x86 (\S+)/gm),
  ].map(([, name]) => name);

/** One QMP session: calls `body(command)` and ends the process. */
export async function session(machine, cpu, body) {
  const child = spawn(
    QEMU,
    ['-M', machine, ...(cpu ? ['-cpu', cpu] : []), '-accel', 'tcg', '-nodefaults', '-display', 'none', '-S', '-qmp', 'stdio'],
    { stdio: ['pipe', 'pipe', 'ignore'] },
  );
  const waiting = [];
  let pending = '';
  child.stdout.on('data', (data) => {
    pending += data;
    for (let end = pending.indexOf('\n'); end >= 0; end = pending.indexOf('\n')) {
      const line = pending.slice(0, end).trim();
      pending = pending.slice(end + 1);
      if (!line) continue;
      const message = JSON.parse(line);
      if (!message.QMP && !message.event) waiting.shift()?.(message);
    }
  });
  const command = (execute, args) =>
    new Promise((resolve) => {
      waiting.push(resolve);
      child.stdin.write(`${JSON.stringify({ execute, arguments: args })}\n`);
    });
  await command('qmp_capabilities');
  const result = await body(command);
  child.kill();
  return result;
}
