import type { BootFile } from '@nestvm/boot';
import { Flash } from '@nestvm/devices/platform';
import { type Arena, PAGE_BYTES, type PhysicalMemory } from '@nestvm/memory';
import type { MachineConfig } from './config.js';
import { MachineError } from './errors.js';
import type { RamBlock } from './snapshot.js';

const LARGEST = 8 * 2 ** 20;
/** What flash has room for below 4 GiB: I/O APIC, local APICs and HPET lie below. */
const FLASH_WINDOW = 16 * 2 ** 20;
const LEGACY_WINDOW = 128 * 1024;
const FOUR_GIB = 2 ** 32;

/** Firmware in its place. */
export interface FirmwareParts {
  /** Arena offset and size of the part, at most 128 KiB, that also ends at 1 MiB. */
  readonly legacy?: { readonly offset: number; readonly size: number };
  readonly flash: readonly { readonly device: Flash; readonly block: RamBlock }[];
}

/** Bytes of the arena that firmware takes. */
export const firmwareBytes = ({ firmware, flash = [] }: MachineConfig): number =>
  [firmware, ...flash.map(({ file }) => file)].reduce((sum, file) => sum + (file?.bytes.length ?? 0), 0);

/** Puts firmware where the reset vector is: ROM that ends at 4 GiB, or flash there and below. Throws `MachineError` (`bad-option`). */
export function placeFirmware(arena: Arena, memory: PhysicalMemory, { firmware, flash = [] }: MachineConfig): FirmwareParts {
  if (firmware && flash.length > 0) throw new MachineError('bad-option', `machine: ${firmware.name} as well as flash; the CPU starts in one of them`);
  if (flash.reduce((sum, { file }) => sum + file.bytes.length, 0) > FLASH_WINDOW)
    throw new MachineError('bad-option', `machine: flash of more than ${FLASH_WINDOW / 2 ** 20} MiB; there is no more room below 4 GiB`);
  let end = FOUR_GIB;
  const parts = flash.map((config, unit) => {
    end -= config.file.bytes.length;
    return placeFlash(arena, memory, { ...config, name: `flash${unit}`, base: end });
  });
  const first = firmware ? { offset: placeRom(arena, memory, firmware), size: firmware.bytes.length } : undefined;
  const start = first ?? (parts[0] && { offset: parts[0].block.arenaOffset, size: parts[0].block.size });
  return { flash: parts, ...(start ? { legacy: legacyPart(start) } : {}) };
}

function legacyPart({ offset, size }: { readonly offset: number; readonly size: number }): { readonly offset: number; readonly size: number } {
  const legacy = Math.min(size, LEGACY_WINDOW);
  return { offset: offset + size - legacy, size: legacy };
}

/** Copies an image of whole pages into the arena; the result is its offset there. */
function copyIn(arena: Arena, { name, bytes }: BootFile, largest: number): number {
  if (bytes.length === 0 || bytes.length > largest || bytes.length % PAGE_BYTES !== 0)
    throw new MachineError(
      'bad-option',
      `${name}: firmware of ${bytes.length} bytes; it must be a whole number of 4 KiB pages, at most ${largest / 2 ** 20} MiB`,
    );
  const offset = arena.allocate('firmware', bytes.length, PAGE_BYTES);
  arena.u8.set(bytes, offset);
  return offset;
}

function placeRom(arena: Arena, memory: PhysicalMemory, file: BootFile): number {
  const offset = copyIn(arena, file, LARGEST);
  memory.mapRom(FOUR_GIB - file.bytes.length, file.bytes.length, offset);
  return offset;
}

type FlashPlace = NonNullable<MachineConfig['flash']>[number] & { readonly name: string; readonly base: number };

/** Reads of a flash's contents are those of ROM; in its other modes every access is the device's. */
function placeFlash(arena: Arena, memory: PhysicalMemory, place: FlashPlace): FirmwareParts['flash'][number] {
  const { name, base, file, readOnly, onStore } = place;
  const offset = copyIn(arena, file, FLASH_WINDOW);
  const size = file.bytes.length;
  const device: Flash = new Flash({
    name,
    base,
    memory: arena.u8.subarray(offset, offset + size),
    ...(readOnly === undefined ? {} : { readOnly }),
    show: (array) => {
      if (array) memory.mapRom(base, size, offset, (address, width, value) => device.write(address - base, width, value));
      else memory.unmap(base, size);
    },
    beforeStore: (at, length) => memory.beforeProgramming(offset + at, length),
    ...(onStore ? { onStore } : {}),
  });
  return { device, block: { name, size, arenaOffset: offset } };
}
