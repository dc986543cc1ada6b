/** Debian several times with `-icount`, compiled or not: the runs must be the same at every checkpoint (tools/soak). */
import { spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(fileURLToPath(new URL('../../', import.meta.url)));

/** Runs the guest `guest` of tools/soak/guests.ts in each of `ways`; throws when they differ. */
export function sameRun({ guest, ways, everyMillions, most, report }) {
  const limits = most === undefined ? [] : ['--most', String(most)];
  const words = ['tools/soak/same-run.ts', '--guest', guest, '--ways', ways.join(','), '--every', String(everyMillions), ...limits];
  const child = spawn(process.execPath, [join(root, 'node_modules/tsx/dist/cli.mjs'), '--conditions=@nestvm/source', ...words], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (data) => (output += data));
  return new Promise((done, fail) =>
    child.on('close', (status) => {
      const lines = output.trim().split('\n');
      if (status !== 0) return fail(new Error(`the runs are not the same: ${output.slice(-2000)}`));
      report(lines[lines.length - 1]);
      done(undefined);
    }),
  );
}
