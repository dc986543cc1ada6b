import { biosDataArea, gdtWrite, identityMap, longEntry, protectedEntry, realEntry } from './cpu-entry.js';
import { assertFits } from './elf.js';
import { BootError } from './errors.js';
import type { BootFile, BootMemory, BootPlan } from './plan.js';

/** A raw image: it is put at `address` and entered at `entry` (default: its first byte) in the given mode. */
export interface FlatOptions extends BootMemory {
  readonly file: BootFile;
  readonly address: number;
  readonly entry?: number;
  readonly mode: 'real' | 'protected' | 'long';
}

/** Loads a flat binary; throws `BootError` (`too-little-memory`, `unsupported`). */
export function loadFlat(options: FlatOptions): BootPlan {
  const { file, address, mode } = options;
  const entry = options.entry ?? address;
  assertFits(file.name, address, Math.max(1, file.bytes.length), options.e820);
  const image = { name: file.name, address, bytes: file.bytes };
  if (mode === 'real') {
    if (entry >= 0x100000)
      throw new BootError('unsupported', `${file.name}: real mode cannot start at 0x${entry.toString(16)}; load it below 1 MiB or use another mode`);
    return {
      format: 'flat',
      writes: [biosDataArea(), image],
      entry: realEntry(entry < 0x10000 ? 0 : (entry >> 4) & 0xf000, entry < 0x10000 ? entry : entry & 0xffff, { rsp: 0x7c00 }),
    };
  }
  const writes = [biosDataArea(), gdtWrite(mode), ...(mode === 'long' ? [identityMap()] : []), image];
  const registers = { rsp: 0x8ff0 };
  return { format: 'flat', writes, entry: mode === 'long' ? longEntry(entry, registers) : protectedEntry(entry, registers) };
}
