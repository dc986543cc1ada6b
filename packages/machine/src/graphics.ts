import { Vga } from '@nestvm/devices/display';
import type { Arena, PhysicalMemory } from '@nestvm/memory';
import { PAGE_BYTES } from '@nestvm/memory';
import { type VgaConfig, videoMemoryBytes } from './config.js';
import type { RamBlock } from './snapshot.js';

/** A VGA whose memory is in the arena, so that the framebuffer is as fast as RAM. */
export function createVga(arena: Arena, memory: PhysicalMemory, config: VgaConfig): { readonly vga: Vga; readonly block: RamBlock } {
  const size = videoMemoryBytes(config);
  const arenaOffset = arena.allocate('video memory', size, PAGE_BYTES);
  let shownAt = -1;
  const mapMemory = (base: number): boolean => {
    if (shownAt >= 0) memory.unmap(shownAt, size);
    shownAt = -1;
    if (base < 0) return true;
    if (memory.ranges().some((range) => range.base < base + size && base < range.base + range.size)) return false;
    memory.mapRam(base, size, arenaOffset);
    shownAt = base;
    return true;
  };
  const vga = new Vga({
    memory: arena.u8.subarray(arenaOffset, arenaOffset + size),
    mapMemory,
    touch: (offset) => memory.beforeWrite(arenaOffset + offset, 1),
    ...(config.rom ? { rom: config.rom.bytes } : {}),
  });
  return { vga, block: { name: 'video', size, arenaOffset } };
}
