/** A newer kernel, that of Debian 12's successor as Debian has it for 12: it uses CET, and its KVM stays in VMX operation from the moment at which it is loaded. */
import { copyFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { moduleFiles } from './modules.mjs';
import { fetchPackages } from './packages.mjs';

/**
 * Writes vmlinuz-cet and nested-cet.cpio into `output`; `assemble(modules, kernel)` makes an initramfs that starts a level below itself. The package has a cache of its own: there are no two kernels in one, or the newest would be taken without a network.
 */
export function buildCet(output, busybox, assemble, log) {
  const [tree] = fetchPackages(join(output, 'cet'), ['linux-image-6.12-cloud-amd64'], log);
  const kernel = readdirSync(join(tree, 'boot')).find((name) => name.startsWith('vmlinuz-'));
  copyFileSync(join(tree, 'boot', kernel), join(output, 'vmlinuz-cet'));
  const modules = moduleFiles(join(tree, 'lib/modules', kernel.slice('vmlinuz-'.length)), ['kvm-intel', 'kvm-amd'], busybox);
  writeFileSync(join(output, 'nested-cet.cpio'), assemble(modules, join(output, 'vmlinuz-cet')));
}
