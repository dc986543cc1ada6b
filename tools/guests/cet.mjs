/** A kernel that uses CET, which Debian 12's own does not: that of its successor, as Debian has it for 12. */
import { copyFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fetchPackages } from './packages.mjs';

/** Writes vmlinuz-cet into `output`. The package has a cache of its own: there are no two kernels in one, or the newest would be taken without a network. */
export function buildCet(output, log) {
  const [tree] = fetchPackages(join(output, 'cet'), ['linux-image-6.12-cloud-amd64'], log);
  const kernel = readdirSync(join(tree, 'boot')).find((name) => name.startsWith('vmlinuz-'));
  copyFileSync(join(tree, 'boot', kernel), join(output, 'vmlinuz-cet'));
}
