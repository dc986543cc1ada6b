import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

/** The part of the library's binary that calls a function of C. */
interface ForeignFunctions {
  /** A library, or with null what the process itself consists of. */
  load(library: string | null): { func(declaration: string): (bytes: Uint8Array, length: number, advice: number) => number };
}

const LIBRARY = 'koffi';
/** How Linux gives out large pages: the words with the one in force in brackets. */
const POLICY_FILE = '/sys/kernel/mm/transparent_hugepage/enabled';
/** Of the C library of Linux, on all architectures. */
const MADV_HUGEPAGE = 14;

/** Whether Linux gives large pages to whom asks for them, and to nobody else. */
function isAskedFor(): boolean {
  try {
    return readFileSync(POLICY_FILE, 'latin1').includes('[madvise]');
  } catch {
    return false;
  }
}

/**
 * Asks Linux for pages of 2 MiB behind a memory, as QEMU does for its guests: else each 4 KiB that is touched for the first time is a page fault of its own, in a virtual machine some
 * 10 µs, a tenth of a kernel's boot. Without the optional library that can ask, and on other systems, nothing changes.
 * @returns whether the system has agreed
 */
export function adviseLargePages({ buffer }: WebAssembly.Memory): boolean {
  if (process.platform !== 'linux' || !isAskedFor()) return false;
  try {
    const here = createRequire(import.meta.url);
    const library = createRequire(here.resolve(LIBRARY))(`@koromix/koffi-linux-${process.arch}`) as ForeignFunctions;
    return (
      library.load(null).func('int madvise(void *address, size_t length, int advice)')(new Uint8Array(buffer), buffer.byteLength, MADV_HUGEPAGE) === 0
    );
  } catch {
    return false;
  }
}
