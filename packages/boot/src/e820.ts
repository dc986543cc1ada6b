/** Types of memory in the E820 map (ACPI, "Address Map System Interfaces"). */
export const E820Type = { RAM: 1, RESERVED: 2, ACPI: 3, NVS: 4 } as const;

/** One range of the memory map. */
export interface E820Entry {
  readonly base: number;
  readonly size: number;
  readonly type: number;
}

/** RAM as a board lays it out, and what lies on it or beside it. Sizes in bytes. */
export interface E820Options {
  /** RAM from address 0 up; at least 1 MiB. */
  readonly below4G: number;
  /** RAM from 4 GiB up. */
  readonly above4G: number;
  /** Further ranges that the guest must not use (ECAM, firmware at the end of 4 GiB …). */
  readonly reserved?: readonly { readonly base: number; readonly size: number }[];
}

const EBDA = 0x9fc00;
const FIRMWARE = 0xf0000;
const MEBIBYTE = 0x100000;

/** The memory map that firmware would hand over: conventional memory, the firmware's areas, RAM above 1 MiB and above 4 GiB. Sorted and disjoint. */
export function buildE820(options: E820Options): E820Entry[] {
  const entries: E820Entry[] = [
    { base: 0, size: EBDA, type: E820Type.RAM },
    { base: EBDA, size: 0xa0000 - EBDA, type: E820Type.RESERVED },
    { base: FIRMWARE - 0x10000, size: 0x20000, type: E820Type.RESERVED },
  ];
  if (options.below4G > MEBIBYTE) entries.push({ base: MEBIBYTE, size: options.below4G - MEBIBYTE, type: E820Type.RAM });
  for (const { base, size } of options.reserved ?? []) entries.push({ base, size, type: E820Type.RESERVED });
  if (options.above4G > 0) entries.push({ base: 2 ** 32, size: options.above4G, type: E820Type.RAM });
  return entries.sort((a, b) => a.base - b.base);
}

/** True when [base, base + size) is RAM throughout. */
export function isRam(e820: readonly E820Entry[], base: number, size: number): boolean {
  return e820.some((entry) => entry.type === E820Type.RAM && base >= entry.base && base + size <= entry.base + entry.size);
}

/** End of the RAM that starts at 1 MiB, or 1 MiB without any. */
export function topOfLowRam(e820: readonly E820Entry[]): number {
  const range = e820.find((entry) => entry.type === E820Type.RAM && entry.base === MEBIBYTE);
  return range ? range.base + range.size : MEBIBYTE;
}
