import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UsageError } from './errors.js';
import { run } from './run.js';

/** The checkout that this program runs from. */
function findRoot(): string | undefined {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'layers.json'))) return folder;
    if (dirname(folder) === folder) return undefined;
  }
}

/** `nestvm demo debian`: Debian's kernel with a shell, built from Debian's packages the first time; `args` are options of `nestvm run`. */
export async function debian(args: readonly string[]): Promise<number> {
  const root = findRoot();
  if (root === undefined) throw new UsageError('demo debian: runs from a checkout of Nestvm; give your own kernel to nestvm run');
  const kernel = join(root, 'build/guests/vmlinuz');
  const initrd = join(root, 'build/guests/initrd.cpio');
  if (!existsSync(kernel) || !existsSync(initrd)) {
    process.stdout.write('nestvm: getting a Debian kernel and busybox (once; nothing is installed) …\n');
    const built = spawnSync(process.execPath, [join(root, 'tools/guests/build.mjs')], { stdio: ['ignore', 'inherit', 'inherit'] });
    if (built.status !== 0 || !existsSync(kernel) || !existsSync(initrd))
      throw new UsageError('demo debian: the Debian kernel could not be fetched (apt-get download); give your own to nestvm run -kernel FILE');
  }
  process.stdout.write('nestvm: starting Debian; type commands when the shell is there, poweroff -f or Ctrl-A x ends it\n');
  const machine = ['-m', '256M', '-kernel', kernel, '-initrd', initrd, '-append', 'console=ttyS0 cryptomgr.notests quiet'];
  return run([...machine, '-nographic', '-no-reboot', ...args]);
}
