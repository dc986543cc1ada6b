import type { BootFile } from '@nestvm/boot';
import type { Arena, PhysicalMemory } from '@nestvm/memory';
import { MachineError } from './errors.js';

const LARGEST = 8 * 2 ** 20;
const LEGACY_WINDOW = 128 * 1024;

/**
 * Maps a firmware image read-only so that it ends at 4 GiB; throws `MachineError` (`bad-option`). The result is the part, at most 128 KiB, that also
 * ends at 1 MiB.
 */
export function mapFirmware(arena: Arena, memory: PhysicalMemory, { name, bytes }: BootFile): { readonly offset: number; readonly size: number } {
  if (bytes.length === 0 || bytes.length > LARGEST || bytes.length % 4096 !== 0) {
    throw new MachineError('bad-option', `${name}: firmware of ${bytes.length} bytes; it must be a whole number of 4 KiB pages, at most 8 MiB`);
  }
  const offset = arena.allocate('firmware', bytes.length, 4096);
  arena.u8.set(bytes, offset);
  memory.mapRom(2 ** 32 - bytes.length, bytes.length, offset);
  const legacy = Math.min(bytes.length, LEGACY_WINDOW);
  return { offset: offset + bytes.length - legacy, size: legacy };
}
