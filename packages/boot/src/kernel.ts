import { isElf } from './elf.js';
import { BootError } from './errors.js';
import { isLinux, loadLinux } from './linux.js';
import { findMultiboot, findMultiboot2, loadMultiboot, loadMultiboot2 } from './multiboot.js';
import type { BootFile, BootMemory, BootModule, BootPlan } from './plan.js';
import { loadPvh, pvhEntry } from './pvh.js';

/** A kernel of any format, as `-kernel`, `-initrd` and `-append` give it. */
export interface KernelOptions extends BootMemory {
  readonly kernel: BootFile;
  /** The initrd, or all modules for multiboot and PVH. */
  readonly modules?: readonly BootModule[];
  readonly commandLine?: string;
  readonly longMode: boolean;
  readonly rsdpBytes?: Uint8Array;
}

/** The formats that `loadKernel` recognises. */
export type KernelFormat = 'linux' | 'multiboot' | 'multiboot2' | 'pvh' | 'elf';

/**
 * What a file is, by its contents; undefined when it is none of them. Linux comes first: a bzImage may contain anything. Multiboot 1 comes before 2, as
 * `-kernel` of QEMU knows no other: of a kernel with both headers, such as Xen, the command lines then begin with the file's name.
 */
export function kernelFormat(file: BootFile): KernelFormat | undefined {
  if (isLinux(file.bytes)) return 'linux';
  if (findMultiboot(file.bytes) >= 0) return 'multiboot';
  if (findMultiboot2(file.bytes) >= 0) return 'multiboot2';
  if (isElf(file.bytes)) return pvhEntry(file) === undefined ? 'elf' : 'pvh';
  return undefined;
}

/** Loads a kernel by what its file contains; throws `BootError` (`not-a-kernel` and what the loaders throw). */
export function loadKernel(options: KernelOptions): BootPlan {
  const { kernel, modules = [], e820 } = options;
  const shared = { kernel, e820, ...(options.rsdp === undefined ? {} : { rsdp: options.rsdp }), commandLine: options.commandLine ?? '' };
  switch (kernelFormat(kernel)) {
    case 'linux': {
      if (modules.length > 1)
        throw new BootError('unsupported', `-initrd: ${modules.length} files; a Linux kernel takes one: join them (cat a b > c)`);
      const initrd = modules[0];
      return loadLinux({ ...shared, longMode: options.longMode, ...(initrd ? { initrd } : {}) });
    }
    case 'multiboot':
      return loadMultiboot({ ...shared, modules });
    case 'multiboot2':
      return loadMultiboot2({ ...shared, modules, ...(options.rsdpBytes ? { rsdpBytes: options.rsdpBytes } : {}) });
    case 'pvh':
    case 'elf':
      return loadPvh({ ...shared, modules });
    default:
      throw new BootError(
        'not-a-kernel',
        `${kernel.name}: not a kernel that Nestvm can start (bzImage, ELF with a PVH note, multiboot 1 or 2)${hint(kernel)}`,
      );
  }
}

function hint({ bytes }: BootFile): string {
  if (bytes.length === 0) return '; the file is empty';
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return '; it is gzip data: unpack it first (gunzip)';
  if (bytes[0] === 0x30 && bytes[1] === 0x37 && bytes[2] === 0x30) return '; it is a cpio archive: give it as -initrd';
  if (bytes[510] === 0x55 && bytes[511] === 0xaa) return '; it looks like a boot sector or disk image: give a kernel file';
  return '; for a raw image use -device loader,file=…,addr=…,cpu-num=0';
}
