/** Debian's full kernel, which has drivers that the cloud kernel lacks: 9P, input devices, graphics. */
import { copyFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { moduleFiles } from './modules.mjs';
import { fetchPackages } from './packages.mjs';

/** Drivers in full.cpio. */
const MODULES = ['virtio_pci', 'virtio_mmio', '9p', '9pnet_virtio', 'virtio_input', 'evdev', 'virtio-gpu', 'virtio_net', 'virtio_blk'];

/**
 * Writes vmlinuz-full and full.cpio into `output`.
 * @param assemble makes an initramfs of kernel modules.
 */
export function buildFull(output, assemble, log) {
  const [tree] = fetchPackages(output, ['linux-image-amd64'], log);
  const kernel = readdirSync(join(tree, 'boot')).find((name) => name.startsWith('vmlinuz-'));
  copyFileSync(join(tree, 'boot', kernel), join(output, 'vmlinuz-full'));
  writeFileSync(join(output, 'full.cpio'), assemble(moduleFiles(join(tree, 'lib/modules', kernel.slice('vmlinuz-'.length)), MODULES)));
}
