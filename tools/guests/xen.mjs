/**
 * Debian's Xen: the hypervisor as it is, the full kernel for dom0 (the cloud kernel cannot be one), and an initramfs in which dom0 starts
 * a PVH guest with Debian's xl.
 */
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { findIn, libraryFiles } from './libraries.mjs';
import { moduleFiles } from './modules.mjs';
import { fetchPackages } from './packages.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const hypervisor = 'xen-hypervisor-4.17-amd64';
const kernelPackage = 'linux-image-amd64';
const utilities = 'xen-utils-4.17';
const xenLibraries = ['misc4.17', 'call1', 'devicemodel1', 'evtchn1', 'foreignmemory1', 'gnttab1', 'hypfs1', 'store4', 'toolcore1', 'toollog1'];
const otherLibraries = ['libc6', 'libyajl2', 'liblzma5', 'libuuid1', 'libzstd1', 'zlib1g', 'libgcc-s1'];
const libraryPackages = [...xenLibraries.map((name) => `libxen${name}`), ...otherLibraries];
/** Where Debian's xl expects its helpers. */
const folder = 'usr/lib/xen-4.17/bin';
const programs = ['xl', 'xenstored', 'xenconsoled', 'xen-init-dom0'];
const modules = ['xen-evtchn', 'xen-privcmd', 'xen-gntdev', 'xen-gntalloc', 'xenfs'];

function tools(present) {
  const paths = programs.map((name) => join(present[0], folder, name));
  const files = paths.map((path, i) => ({ name: `${folder}/${programs[i]}`, path, mode: 0o755 }));
  files.push({ name: 'bin/xen', path: join(here, 'xen.sh'), mode: 0o755 });
  // glibc loads libgcc_s by itself when a thread is cancelled, so no dynamic section names it.
  const unwinder = { name: 'lib/x86_64-linux-gnu/libgcc_s.so.1', path: findIn(present, ['lib/x86_64-linux-gnu/libgcc_s.so.1']).file };
  return [...files, ...libraryFiles(paths, present), unwinder];
}

/**
 * Fetches and builds what a multiboot loader needs: `xen` (the hypervisor, unpacked), `vmlinuz-dom0` and `xen.cpio` in `output`.
 * @param build makes an initramfs of `{ modules, files }`, with the guest's kernel and initramfs in /guest.
 */
export function buildXen(output, build, log) {
  const [xenTree, kernelTree, ...present] = fetchPackages(output, [hypervisor, kernelPackage, utilities, ...libraryPackages], log);
  const packed = readdirSync(join(xenTree, 'boot')).find((name) => /^xen-.*\.gz$/.test(name));
  writeFileSync(join(output, 'xen'), gunzipSync(readFileSync(join(xenTree, 'boot', packed))));
  const kernel = readdirSync(join(kernelTree, 'boot')).find((name) => name.startsWith('vmlinuz-'));
  copyFileSync(join(kernelTree, 'boot', kernel), join(output, 'vmlinuz-dom0'));
  const tree = join(kernelTree, 'lib/modules', kernel.slice('vmlinuz-'.length));
  writeFileSync(join(output, 'xen.cpio'), build({ modules: moduleFiles(tree, modules), files: tools(present) }));
}
