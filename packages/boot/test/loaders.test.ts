import { describe, expect, it } from 'vitest';
import {
  BootError,
  type BootErrorCode,
  type BootPlan,
  buildE820,
  isRam,
  kernelFormat,
  LowMemory,
  loadFlat,
  loadKernel,
  loadLinux,
  splitLinux,
} from '../src/index.js';
import { bzImage, elf, multiboot2Header, multibootHeader } from './images.js';

const e820 = buildE820({ below4G: 64 << 20, above4G: 1 << 30 });
const file = (bytes: Uint8Array, name = 'kernel') => ({ name, bytes });
const load = (bytes: Uint8Array, rest: object = {}): BootPlan => loadKernel({ kernel: file(bytes), e820, longMode: true, ...rest });

/** Reads a little-endian number out of the memory that a plan makes. */
function read(plan: BootPlan, address: number, width: number): number {
  let value = 0;
  for (let i = width - 1; i >= 0; i--) {
    const write = plan.writes.findLast((w) => address + i >= w.address && address + i < w.address + Math.max(w.bytes.length, w.size ?? 0));
    value = value * 256 + (write?.bytes[address + i - write.address] ?? 0);
  }
  return value;
}

function text(plan: BootPlan, address: number): string {
  let out = '';
  for (let at = address; read(plan, at, 1) !== 0; at++) out += String.fromCharCode(read(plan, at, 1));
  return out;
}

function codeOf(action: () => unknown): BootErrorCode | 'none' {
  try {
    action();
    return 'none';
  } catch (error) {
    if (!(error instanceof BootError)) throw error;
    expect(error.message).not.toContain('\n');
    return error.code;
  }
}

describe('memory map', () => {
  it('leaves the firmware areas out of RAM and keeps RAM above 4 GiB', () => {
    expect(e820.map(({ base, size, type }) => [base, size, type])).toEqual([
      [0, 0x9fc00, 1],
      [0x9fc00, 0x400, 2],
      [0xe0000, 0x20000, 2],
      [0x100000, 63 << 20, 1],
      [2 ** 32, 2 ** 30, 1],
    ]);
    expect(isRam(e820, 0x100000, 63 << 20)).toBe(true);
    expect(isRam(e820, 0x100000, (63 << 20) + 1)).toBe(false);
  });
});

describe('Linux', () => {
  it('takes the 64-bit entry with an identity map', () => {
    const plan = load(bzImage(), { commandLine: 'console=ttyS0', modules: [{ name: 'initrd', bytes: new Uint8Array(5000).fill(7) }] });
    expect(plan.format).toBe('bzimage-64');
    expect(plan.entry).toMatchObject({ mode: 'long', rip: 0x100200, cr3: LowMemory.PAGE_TABLES, efer: 0x500 });
    const params = plan.entry.registers.rsi!;
    expect(text(plan, read(plan, params + 0x228, 4))).toBe('console=ttyS0');
    const initrd = read(plan, params + 0x218, 4);
    expect(initrd % 4096).toBe(0);
    expect(initrd + 5000).toBeLessThanOrEqual(64 << 20);
    expect(read(plan, params + 0x21c, 4)).toBe(5000);
    expect(read(plan, initrd + 4999, 1)).toBe(7);
    expect(read(plan, params + 0x1e8, 1)).toBe(e820.length);
    expect(read(plan, params + 0x2d0 + 20 * 3, 8)).toBe(0x100000);
    expect(read(plan, params + 0x202, 4)).toBe(0x53726448);
    expect(read(plan, 0x100000, 1)).toBe(0x90);
  });

  it('maps the first 4 GiB onto themselves', () => {
    const plan = load(bzImage());
    for (const address of [0, 0x100200, 0x3fe00000, 0x7fffffff, 0xffffffff]) {
      const pml4 = read(plan, plan.entry.cr3, 8);
      const pdpt = read(plan, pml4 - 3 + 8 * Math.floor(address / 2 ** 30), 8);
      const pd = read(plan, pdpt - 3 + 8 * Math.floor((address % 2 ** 30) / 2 ** 21), 8);
      expect(pd % 4096).toBe(0x83);
      expect(pd - 0x83).toBe(Math.floor(address / 2 ** 21) * 2 ** 21);
    }
  });

  it('takes the 32-bit entry of a 32-bit kernel, or when asked', () => {
    expect(load(bzImage({ has64: false })).entry).toMatchObject({ mode: 'protected', rip: 0x100000, cr0: 0x11, cr4: 0 });
    expect(loadLinux({ kernel: file(bzImage()), e820, longMode: true, entry: '32-bit' }).format).toBe('bzimage-32');
  });

  it('chains setup_data', () => {
    const plan = loadLinux({
      kernel: file(bzImage()),
      e820,
      longMode: true,
      setupData: [
        { type: 9, bytes: Uint8Array.of(1, 2, 3) },
        { type: 4, bytes: Uint8Array.of(4) },
      ],
    });
    const first = read(plan, LowMemory.BOOT_PARAMS + 0x250, 8);
    expect([read(plan, first + 8, 4), read(plan, first + 12, 4), read(plan, first + 16, 1)]).toEqual([9, 3, 1]);
    const second = read(plan, first, 8);
    expect([read(plan, second, 8), read(plan, second + 8, 4), read(plan, second + 16, 1)]).toEqual([0, 4, 4]);
  });

  it.each<[string, BootErrorCode, () => unknown]>([
    ['a cut-off image', 'truncated', () => load(bzImage().subarray(0, 3000))],
    ['a cut-off header', 'truncated', () => load(bzImage().subarray(0, 0x240))],
    ['a zImage', 'unsupported', () => load(bzImage({ loadedHigh: false }))],
    ['a kernel that needs more RAM', 'too-little-memory', () => load(bzImage({ initBytes: 100 << 20 }))],
    ['a CPU without long mode', 'entry-missing', () => load(bzImage(), { longMode: false })],
    ['an initrd larger than RAM', 'initrd-too-large', () => load(bzImage(), { modules: [{ name: 'i', bytes: new Uint8Array(60 << 20) }] })],
    [
      'an initrd above its limit',
      'initrd-too-large',
      () => load(bzImage({ initrdMaximum: 0x1200000 }), { modules: [{ name: 'i', bytes: new Uint8Array(9000) }] }),
    ],
    ['a long command line', 'command-line-too-long', () => load(bzImage({ commandLineMaximum: 10 }), { commandLine: 'x'.repeat(11) })],
    ['two initrds', 'unsupported', () => load(bzImage(), { modules: [file(new Uint8Array(1)), file(new Uint8Array(1))] })],
  ])('refuses %s', (_what, code, action) => expect(codeOf(action)).toBe(code));
});

describe('PVH', () => {
  it('hands over start info, memory map and modules', () => {
    const plan = load(elf({ pvh: 0x100010, memoryBytes: 8192 }), {
      commandLine: 'a=b',
      rsdp: 0xe0000,
      modules: [{ name: 'm', bytes: Uint8Array.of(9), commandLine: 'mod' }],
    });
    expect(plan.format).toBe('pvh');
    expect(plan.entry).toMatchObject({ mode: 'protected', rip: 0x100010, cr0: 0x11 });
    const info = plan.entry.registers.rbx!;
    expect(read(plan, info, 4)).toBe(0x336ec578);
    expect(text(plan, read(plan, info + 24, 8))).toBe('a=b');
    expect(read(plan, info + 32, 8)).toBe(0xe0000);
    expect([read(plan, info + 48, 4), read(plan, read(plan, info + 40, 8) + 24 * 3, 8)]).toEqual([e820.length, 0x100000]);
    const module = read(plan, info + 16, 8);
    expect(read(plan, read(plan, module, 8), 1)).toBe(9);
    expect([read(plan, module + 8, 8), text(plan, read(plan, module + 16, 8))]).toEqual([1, 'mod']);
    expect(plan.writes.find((write) => write.address === 0x100000)!.size).toBe(8192);
  });

  it('refuses an ELF file without a note, of another machine, or too large', () => {
    expect(codeOf(() => load(elf()))).toBe('entry-missing');
    expect(codeOf(() => load(elf({ pvh: 1, machine: 183 })))).toBe('unsupported');
    expect(codeOf(() => load(elf({ pvh: 1, memoryBytes: 1 << 30 })))).toBe('too-little-memory');
    expect(codeOf(() => load(elf({ pvh: 1, physical: 0xa0000 })))).toBe('too-little-memory');
    expect(codeOf(() => load(elf({ pvh: 1 }).subarray(0, 190)))).toBe('truncated');
  });
});

describe('multiboot', () => {
  it.each([32, 64] as const)('loads an ELF%i kernel with modules', (bits) => {
    const plan = load(elf({ bits, contents: multibootHeader(3), entry: 0x100020 }), {
      commandLine: 'x y',
      modules: [
        { name: 'one', bytes: Uint8Array.of(1), commandLine: 'one 1' },
        { name: 'two', bytes: Uint8Array.of(2) },
      ],
    });
    expect(plan.format).toBe('multiboot');
    expect(plan.entry).toMatchObject({ mode: 'protected', rip: 0x100020 });
    expect(plan.entry.registers.rax).toBe(0x2badb002);
    const info = plan.entry.registers.rbx!;
    expect(read(plan, info, 4) & 0x4f).toBe(0x4f);
    expect([read(plan, info + 4, 4), read(plan, info + 8, 4)]).toEqual([639, 63 * 1024]);
    expect(text(plan, read(plan, info + 16, 4))).toBe('kernel x y');
    const list = read(plan, info + 24, 4);
    expect(read(plan, info + 20, 4)).toBe(2);
    expect([read(plan, read(plan, list, 4), 1), read(plan, read(plan, list + 16, 4), 1)]).toEqual([1, 2]);
    expect([text(plan, read(plan, list + 8, 4)), text(plan, read(plan, list + 24, 4))]).toEqual(['one 1', 'two']);
    const map = read(plan, info + 48, 4);
    expect([read(plan, info + 44, 4), read(plan, map, 4), read(plan, map + 4 + 24 * 3, 8)]).toEqual([24 * e820.length, 20, 0x100000]);
  });

  it('loads a raw kernel by its addresses', () => {
    const header = multibootHeader(0x10000, { header: 0x100040, load: 0x100000, loadEnd: 0, bssEnd: 0x101000, entry: 0x100080 });
    const plan = load(Uint8Array.of(...new Uint8Array(0x40).fill(0x90), ...header));
    expect(plan.entry.rip).toBe(0x100080);
    const write = plan.writes.find((w) => w.name === 'kernel')!;
    expect([write.address, write.bytes[0], write.size]).toEqual([0x100000, 0x90, 0x1000]);
  });

  it('refuses unknown requirements, bad addresses and missing RAM', () => {
    expect(codeOf(() => load(elf({ contents: multibootHeader(0x10) })))).toBe('unsupported');
    expect(codeOf(() => load(multibootHeader(0)))).toBe('bad-header');
    expect(codeOf(() => load(multibootHeader(0x10000, { header: 0x100000, load: 0x100010, loadEnd: 0, bssEnd: 0, entry: 0 })))).toBe('bad-header');
    expect(codeOf(() => load(multibootHeader(0x10000, { header: 0x100000, load: 0x100000, loadEnd: 0x200000, bssEnd: 0, entry: 0 })))).toBe(
      'truncated',
    );
    expect(codeOf(() => load(multibootHeader(0x10000, { header: 2 ** 31, load: 2 ** 31, loadEnd: 0, bssEnd: 0, entry: 0 })))).toBe(
      'too-little-memory',
    );
  });
});

describe('multiboot 2', () => {
  const tagsOf = (plan: BootPlan): Map<number, number> => {
    const tags = new Map<number, number>();
    const info = plan.entry.registers.rbx!;
    for (let at = info + 8; at < info + read(plan, info, 4); at += Math.ceil(read(plan, at + 4, 4) / 8) * 8) tags.set(read(plan, at, 4), at);
    return tags;
  };

  it('loads a kernel and describes the machine in tags', () => {
    const plan = load(
      elf({
        contents: multiboot2Header([
          [1, 0, [1, 6]],
          [6, 0, []],
        ]),
      }),
      { commandLine: 'hello', rsdp: 0xe0000, rsdpBytes: new Uint8Array(36).fill(5), modules: [{ name: 'mod', bytes: Uint8Array.of(3) }] },
    );
    expect(plan.format).toBe('multiboot2');
    expect(plan.entry.registers.rax).toBe(0x36d76289);
    const tags = tagsOf(plan);
    expect([...tags.keys()]).toEqual([1, 2, 3, 4, 6, 14, 15, 21, 0]);
    expect(text(plan, tags.get(1)! + 8)).toBe('hello');
    expect(read(plan, read(plan, tags.get(3)! + 8, 4), 1)).toBe(3);
    expect(read(plan, tags.get(6)! + 8, 4)).toBe(24);
    expect(read(plan, tags.get(14)! + 4, 4)).toBe(28);
  });

  it('takes addresses and entry from tags', () => {
    const header = multiboot2Header([
      [2, 0, [0x100000, 0x100000, 0, 0]],
      [3, 0, [0x100020]],
    ]);
    expect(load(header).entry.rip).toBe(0x100020);
    expect(codeOf(() => load(multiboot2Header([[2, 0, [0x100000, 0x100000, 0, 0]]])))).toBe('entry-missing');
  });

  it('gives way to multiboot 1 where a kernel has both headers', () => {
    const contents = [...multibootHeader(3), 0, 0, 0, 0, ...multiboot2Header([])];
    const plan = load(elf({ contents: Uint8Array.from(contents), entry: 0x100020 }), { commandLine: 'x y' });
    expect(plan.format).toBe('multiboot');
    expect(text(plan, read(plan, plan.entry.registers.rbx! + 16, 4))).toBe('kernel x y');
  });

  it('refuses what it cannot supply, unless optional', () => {
    expect(codeOf(() => load(elf({ contents: multiboot2Header([[1, 0, [7]]]) })))).toBe('unsupported');
    expect(codeOf(() => load(elf({ contents: multiboot2Header([[1, 1, [7]]]) })))).toBe('none');
    expect(codeOf(() => load(elf({ contents: multiboot2Header([[99, 0, [0]]]) })))).toBe('unsupported');
    expect(codeOf(() => load(elf({ contents: multiboot2Header([[99, 1, [0]]]) })))).toBe('none');
  });
});

describe('flat images and other files', () => {
  it('starts raw bytes in each mode', () => {
    const image = file(Uint8Array.of(0xf4), 'raw');
    expect(loadFlat({ file: image, address: 0x7c00, mode: 'real', e820 }).entry).toMatchObject({ mode: 'real', rip: 0x7c00, cr0: 0x10 });
    expect(loadFlat({ file: image, address: 0x12345, mode: 'real', e820 }).entry).toMatchObject({
      rip: 0x2345,
      segments: { cs: { selector: 0x1000, base: 0x10000 } },
    });
    expect(loadFlat({ file: image, address: 0x100000, mode: 'protected', e820 }).entry).toMatchObject({ mode: 'protected', rip: 0x100000 });
    expect(loadFlat({ file: image, address: 0x100000, mode: 'long', e820 }).entry).toMatchObject({ mode: 'long', efer: 0x500 });
    expect(codeOf(() => loadFlat({ file: image, address: 0x100000, mode: 'real', e820 }))).toBe('unsupported');
    expect(codeOf(() => loadFlat({ file: image, address: 64 << 20, mode: 'long', e820 }))).toBe('too-little-memory');
  });

  it.each([
    ['nothing', new Uint8Array(0), /empty/],
    ['gzip', Uint8Array.of(0x1f, 0x8b, 8), /gunzip/],
    ['a cpio archive', new TextEncoder().encode('070701…'), /-initrd/],
    ['text', new TextEncoder().encode('hello'), /raw image/],
  ])('says what %s is', (_what, bytes, pattern) => {
    expect(kernelFormat(file(bytes))).toBeUndefined();
    expect(() => load(bytes)).toThrow(pattern);
  });
});

describe('a Linux kernel for firmware', () => {
  const kernel = file(bzImage());

  it('is split where its header says, and the header says where the parts go', () => {
    const initrd = file(new Uint8Array(5000).fill(7), 'initrd');
    const parts = splitLinux({ kernel, e820, initrd, commandLine: 'quiet' });
    expect([...parts.setup.bytes, ...parts.kernel.bytes].length).toBe(kernel.bytes.length);
    const header = new DataView(parts.setup.bytes.buffer);
    const field = (at: number): number => header.getUint32(at, true);
    expect([field(0x228), field(0x218), field(0x21c)]).toEqual([parts.commandLine.address, parts.initrd?.address, 5000]);
    expect([parts.setup.address, parts.kernel.address, String.fromCharCode(...parts.commandLine.bytes)]).toEqual([0x10000, 0x100000, 'quiet\0']);
    expect(parts.initrd!.address + 5000).toBeLessThanOrEqual(63 << 20);
    expect(splitLinux({ kernel, e820 }).initrd).toBeUndefined();
  });

  it('is refused when it or its initrd does not fit', () => {
    expect(codeOf(() => splitLinux({ kernel, e820, initrd: file(new Uint8Array(64 << 20)) }))).toBe('initrd-too-large');
    expect(codeOf(() => splitLinux({ kernel, e820: buildE820({ below4G: 2 << 20, above4G: 0 }) }))).toBe('too-little-memory');
    expect(codeOf(() => splitLinux({ kernel, e820, commandLine: 'x'.repeat(5000) }))).toBe('command-line-too-long');
  });
});
