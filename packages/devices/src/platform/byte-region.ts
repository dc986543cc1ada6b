import type { Region, Width } from '@nestvm/bus';

/** A region of an 8-bit device: wider accesses become byte accesses at rising offsets, as an ISA bridge splits them. */
export function byteRegion(
  name: string,
  base: number,
  size: number,
  read8: (offset: number) => number,
  write8: (offset: number, value: number) => void,
): Region {
  return {
    name,
    base,
    size,
    read(offset: number, width: Width): number {
      let value = read8(offset);
      for (let i = 1; i < width; i++) value |= (offset + i < size ? read8(offset + i) : 0xff) << (8 * i);
      return value >>> 0;
    },
    write(offset: number, width: Width, value: number): void {
      write8(offset, value & 0xff);
      for (let i = 1; i < width && offset + i < size; i++) write8(offset + i, (value >>> (8 * i)) & 0xff);
    },
  };
}

/**
 * A region of 32-bit registers: a narrower read sees its bytes of the register, a narrower write is merged into the register's value, which `peek`
 * tells without side effects (default: `read32`).
 */
export function dwordRegion(
  name: string,
  base: number,
  size: number,
  read32: (offset: number) => number,
  write32: (offset: number, value: number) => void,
  peek32: (offset: number) => number = read32,
): Region {
  return {
    name,
    base,
    size,
    read(offset: number, width: Width): number {
      const shift = (offset & 3) * 8;
      const value = read32(offset & ~3) >>> shift;
      return width === 4 ? value >>> 0 : width === 2 ? value & 0xffff : value & 0xff;
    },
    write(offset: number, width: Width, value: number): void {
      if (width === 4 && (offset & 3) === 0) return write32(offset, value >>> 0);
      const shift = (offset & 3) * 8;
      const mask = (width === 1 ? 0xff : width === 2 ? 0xffff : 0xffffffff) << shift;
      write32(offset & ~3, ((peek32(offset & ~3) & ~mask) | ((value << shift) & mask)) >>> 0);
    },
  };
}
