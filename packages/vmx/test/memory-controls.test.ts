import { describe, expect, it } from 'vitest';
import { arrangeControl } from '../src/checks/arrange.js';
import { F } from '../src/fields/layout.js';
import { ExitReason as R } from '../src/transitions/reasons.js';
import { arrangeGates, HANDLER } from './guest-code.js';
import { createLevel, type Level, Place } from './level.js';

const EPT_ROOT = 0x1_0000;
const EPT_PDPT = 0x1_5000;
const EPT_PD = 0x1_6000;
const EPT_PT = 0x1_7000;
/** Tables of a second kind: SPP, HLAT. */
const TABLES = [0x1_8000, 0x1_9000, 0x1_a000] as const;
const PML = 0x9000;
const SPP = 0xa000;
const VE = 0xb000;
const HLAT = 0xe000;
/** First page that the EPT maps with 4-KiB entries. */
const SMALL = 0x20_0000;
/** A core that has all of these controls. */
const RECENT = 'SapphireRapids,vmx=on';
const ACCESSED_DIRTY = 1 << 6;
/** All rights, in user mode too where that counts. */
const ALL = 0x407;
const VE_VECTOR = 20;
/** Bits of the high half of an EPT entry. */
const High = { VERIFY: 1 << 25, PAGING_WRITE: 1 << 26, SUB_PAGE: 1 << 29, SUPPRESS_VE: 1 << 31 } as const;

/** Guest-physical memory one to one: a large page with bits `low`, then 4-KiB pages of all rights. */
function arrangeEpt({ memory, c }: Level, low = 0xb7, lowHigh = 0): void {
  memory.write32(EPT_ROOT, EPT_PDPT | ALL);
  memory.write32(EPT_PDPT, EPT_PD | ALL);
  memory.write32(EPT_PD, low);
  memory.write32(EPT_PD + 4, lowHigh);
  memory.write32(EPT_PD + 8, EPT_PT | ALL);
  for (let page = 0; page < 512; page++) memory.write32(EPT_PT + 8 * page, (SMALL + 4096 * page) | 0x37);
  arrangeControl(c, 'proc2', 'ENABLE_EPT', true);
}

/** Bits of the entry of a page in the second 2 MiB. */
function setPage({ memory }: Level, address: number, bits: number, high = 0): void {
  memory.write32(EPT_PT + 8 * ((address - SMALL) >>> 12), address | 0x30 | bits);
  memory.write32(EPT_PT + 8 * ((address - SMALL) >>> 12) + 4, high);
}

/** Runs L2 code that ends with VMCALL; the exit reason. TLBs forget, since tests edit tables. */
function run(level: Level, code: string): number {
  level.cpu.mmu.flushAll();
  level.vmx.mmu.invalidateAllRoots();
  level.c.set(F.GUEST_RIP, Place.L2);
  level.guest((a) => a.text(`${code}\nvmcall`));
  return level.enter();
}

const qualification = ({ c }: Level): number => c.lo(F.EXIT_QUALIFICATION);
const address = ({ c }: Level): number => c.lo(F.GUEST_PHYSICAL_ADDRESS);

describe('page-modification logging', () => {
  it('logs each page when it becomes dirty, and exits when the log is full', () => {
    const level = createLevel();
    const { c, memory } = level;
    arrangeEpt(level);
    arrangeControl(c, 'proc2', 'ENABLE_PML', true);
    c.set(F.EPT_POINTER, EPT_ROOT | 0x1e | ACCESSED_DIRTY);
    c.set(F.PML_INDEX, 511);
    expect(run(level, `mov [${SMALL + 0x3018}], eax\nmov [${SMALL + 0x3020}], eax\nmov [${SMALL + 0x5000}], eax\nmov ebx, [${SMALL + 0x7000}]`)).toBe(
      R.VMCALL,
    );
    const logged = Array.from({ length: 511 - c.lo(F.PML_INDEX) }, (_, i) => memory.read32(PML + 8 * (511 - i)));
    expect(logged.filter((page) => page >= SMALL)).toEqual([SMALL + 0x3000, SMALL + 0x5000]);
    // Guest tables are written too, in the eyes of EPT with accessed and dirty flags.
    expect(logged.filter((page) => page < SMALL).length).toBeGreaterThan(0);
    expect(memory.read32(EPT_PT + 8 * 3) & 0x300).toBe(0x300);
    expect(memory.read32(EPT_PT + 8 * 7) & 0x300).toBe(0x100);
    c.set(F.PML_INDEX, 0xffff);
    expect(run(level, `mov [${SMALL + 0x3018}], eax`)).toBe(R.VMCALL);
    expect(run(level, `mov [${SMALL + 0x9000}], eax`)).toBe(R.PAGE_LOG_FULL);
    expect(memory.read32(EPT_PT + 8 * 9) & 0x200).toBe(0);
  });
});

describe('virtualization exceptions', () => {
  it('take the place of convertible EPT violations, once until the guest says that it is done', () => {
    const level = createLevel();
    const { c, memory } = level;
    arrangeEpt(level);
    arrangeControl(c, 'proc2', 'EPT_VIOLATION_VE', true);
    arrangeGates(level, [VE_VECTOR]);
    c.set(F.GUEST_IDTR_LIMIT, 0xfff);
    c.set(F.GUEST_GDTR_LIMIT, 0xff);
    c.set(F.EPTP_INDEX, 3);
    setPage(level, SMALL + 0x5000, 0);
    expect(run(level, `mov eax, [${SMALL + 0x5128}]`)).toBe(R.VMCALL);
    expect(c.lo(F.GUEST_RIP)).toBe(HANDLER);
    const area = [0, 4, 8, 16, 24, 32].map((offset) => memory.read32(VE + offset));
    expect([area[0], area[1], area[3], area[4], area[5]! & 0xffff]).toEqual([48, 0xffff_ffff, SMALL + 0x5128, SMALL + 0x5128, 3]);
    expect(area[2]! & 0x1bf).toBe(0x181);
    expect(run(level, `mov eax, [${SMALL + 0x5128}]`)).toBe(R.EPT_VIOLATION);
    memory.write32(VE + 4, 0);
    setPage(level, SMALL + 0x5000, 0, High.SUPPRESS_VE);
    expect(run(level, `mov eax, [${SMALL + 0x5128}]`)).toBe(R.EPT_VIOLATION);
    expect([address(level), memory.read32(VE + 4)]).toEqual([SMALL + 0x5128, 0]);
  });
});

describe('sub-page write permissions', () => {
  it('let single pieces of a read-only page be written; a missing or bad table is an exit of its own', () => {
    const level = createLevel(RECENT);
    const { c, memory } = level;
    arrangeEpt(level);
    arrangeControl(c, 'proc2', 'SUB_PAGE_WRITE_PERMISSIONS', true);
    const page = SMALL + 0x5000;
    setPage(level, page, 5, High.SUB_PAGE);
    const write = (offset: number): number => run(level, `mov eax, 0x${offset.toString(16)}\nmov [${page + offset}], eax`);
    expect(write(0x180)).toBe(R.SPP);
    expect(qualification(level)).toBe(1 << 11);
    const tables = [SPP, ...TABLES];
    for (let i = 0; i < 3; i++) memory.write32(tables[i]! + (i === 2 ? 8 : 0), tables[i + 1]! | 1);
    // Piece 3 may be written, and the last one.
    memory.write32(TABLES[2] + 8 * 5, 1 << 6);
    memory.write32(TABLES[2] + 8 * 5 + 4, 1 << 30);
    expect([write(0x180), memory.read32(page + 0x180)]).toEqual([R.VMCALL, 0x180]);
    expect([write(0xffc), memory.read32(page + 0xffc)]).toEqual([R.VMCALL, 0xffc]);
    expect(write(0x200)).toBe(R.EPT_VIOLATION);
    expect(memory.read32(page + 0x200)).toBe(0);
    memory.write32(TABLES[2] + 8 * 5, (1 << 6) | 2);
    expect(write(0x180)).toBe(R.SPP);
    expect(qualification(level)).toBe(0);
  });
});

describe('mode-based execute control', () => {
  it('asks bit 10 for user-mode linear addresses, bit 2 for others', () => {
    const level = createLevel();
    // The tables of L2 map user pages.
    arrangeEpt(level, 0xb7 | (1 << 10));
    const code = SMALL + 0x6000;
    level.memory.write(code, Uint8Array.of(0x0f, 0x01, 0xc1));
    const jump = `mov eax, ${code}\njmp rax`;
    const userOnly = 1 | (1 << 10);
    setPage(level, code, userOnly);
    expect(run(level, jump)).toBe(R.EPT_VIOLATION);
    arrangeControl(level.c, 'proc2', 'MODE_BASED_EXECUTE_CONTROL', true);
    expect([run(level, jump), level.c.lo(F.GUEST_RIP)]).toEqual([R.VMCALL, code]);
    setPage(level, code, 5);
    expect(run(level, jump)).toBe(R.EPT_VIOLATION);
    // Fetch; readable, executable in supervisor mode, not in user mode.
    expect(qualification(level) & 0x7f).toBe(4 | (1 << 3) | (1 << 5));
  });
});

describe('tertiary controls of paging', () => {
  it('translate protected linear addresses through HLAT, and others after a restart', () => {
    const level = createLevel(RECENT);
    const { c, memory } = level;
    arrangeEpt(level);
    memory.write32(Place.DATA + 0x40, 0x1234_5678);
    memory.write32(SMALL + Place.DATA + 0x40, 0x8765_4321 | 0);
    const read = `mov eax, [${SMALL + Place.DATA + 0x40}]`;
    expect([run(level, read), level.w[0]]).toEqual([R.VMCALL, 0x8765_4321 | 0]);
    arrangeControl(c, 'proc3', 'ENABLE_HLAT', true);
    memory.write32(HLAT, TABLES[0] | 7);
    memory.write32(TABLES[0], TABLES[1] | 7);
    // The first 2 MiB restart with ordinary paging; the second ones lead to the first.
    memory.write32(TABLES[1], (1 << 11) | 1);
    memory.write32(TABLES[1] + 8, 0x87);
    expect([run(level, read), level.w[0]]).toEqual([R.VMCALL, 0x1234_5678]);
    // With a prefix, only addresses that begin with ones are protected.
    c.set(F.HLAT_PREFIX_SIZE, 1);
    expect([run(level, read), level.w[0]]).toEqual([R.VMCALL, 0x8765_4321 | 0]);
  });

  it('let flags of guest tables be set in pages that are only paging-writable', () => {
    const level = createLevel(RECENT);
    const { c, memory } = level;
    arrangeEpt(level);
    const root = SMALL + 0xa000;
    memory.write32(root, Place.PDPT | 7);
    c.set(F.GUEST_CR3, root);
    c.set(F.EPT_POINTER, EPT_ROOT | 0x1e | ACCESSED_DIRTY);
    setPage(level, root, 5);
    expect(run(level, 'nop')).toBe(R.EPT_VIOLATION);
    expect(address(level)).toBe(root);
    setPage(level, root, 5, High.PAGING_WRITE);
    expect(run(level, 'nop')).toBe(R.EPT_VIOLATION);
    arrangeControl(c, 'proc3', 'EPT_PAGING_WRITE_CONTROL', true);
    expect(run(level, 'nop')).toBe(R.VMCALL);
    expect(run(level, `mov [${root + 0x800}], eax`)).toBe(R.EPT_VIOLATION);
  });

  it('verify that the tables of a page are paging-writable', () => {
    const level = createLevel(RECENT);
    arrangeEpt(level);
    arrangeControl(level.c, 'proc3', 'GUEST_PAGING_VERIFICATION', true);
    const page = SMALL + 0xb000;
    setPage(level, page, 7, High.VERIFY);
    expect(run(level, `mov eax, [${page}]`)).toBe(R.EPT_VIOLATION);
    expect(address(level)).toBe(page);
    expect(run(level, `mov eax, [${page + 0x1000}]`)).toBe(R.VMCALL);
    arrangeEpt(level, 0xb7, High.PAGING_WRITE);
    setPage(level, page, 7, High.VERIFY);
    expect(run(level, `mov eax, [${page}]`)).toBe(R.VMCALL);
  });
});
