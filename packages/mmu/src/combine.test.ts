import { createArena, PhysicalMemory } from '@nestvm/memory';
import { describe, expect, it } from 'vitest';
import type { GuestTables, Shadow, ShadowRoots } from './index.js';
import { combine, formatShadow, Paging, SpaceMode, Stage } from './index.js';

/** Everything lies in the first 4 MiB, guest-physical and physical alike. */
const BYTES = 4 << 20;
const LINEAR = 0x5123;
const GUEST_ROOT = 0x1000;
const NESTED_ROOT = 0x10_0000;
const LEAF_PAGE = 7;

function createMemory(): PhysicalMemory {
  const arena = createArena({ bytes: 8 << 20 });
  const memory = new PhysicalMemory({ arena });
  memory.mapRam(0, BYTES, arena.allocate('ram', BYTES, 4096));
  return memory;
}

/** Tables of `levels` levels of 8-byte entries from `root` on, one page each; the last maps 512 pages to themselves. Returns where the last table is. */
function buildTables(memory: PhysicalMemory, root: number, levels: number, table: number, leaf: number, leafLevel = 1): number {
  let at = root;
  for (let level = levels; level > leafLevel; level--, at += 4096) memory.write32(at, (at + 4096) | table);
  const large = leafLevel > 1 ? 0x80 : 0;
  for (let i = 0; i < 512; i++) memory.write32(at + i * 8, (i * 4096 * 512 ** (leafLevel - 1)) | leaf | large);
  return at;
}

/** A guest whose tables map linear page 5 to page 7, all flags set. */
function buildGuest(memory: PhysicalMemory, paging: number, leafBits = 0x67): GuestTables {
  if (paging === Paging.LEGACY32) {
    memory.write32(GUEST_ROOT, 0x2067);
    memory.write32(0x2000 + 5 * 4, (LEAF_PAGE << 12) | leafBits);
    return { paging, cr3: GUEST_ROOT };
  }
  const levels = paging === Paging.LEVEL5 ? 5 : paging === Paging.LEVEL4 ? 4 : 2;
  const last = buildTables(memory, GUEST_ROOT, levels, 0x67, 0);
  memory.write32(last + 5 * 8, (LEAF_PAGE << 12) | leafBits);
  return { paging, cr3: GUEST_ROOT, pdptes: [GUEST_ROOT | 1, 0, 0, 0, 0, 0, 0, 0], noExecute: true };
}

const ept = (modes = 0, paging: number = Paging.LEVEL4): NonNullable<ShadowRoots['nested']> => ({
  stage: Stage.EPT,
  root: NESTED_ROOT,
  paging,
  modes,
});
const npt = (paging: number, modes = 0): NonNullable<ShadowRoots['nested']> => ({ stage: Stage.NPT, root: NESTED_ROOT, paging, modes });
const rights = (shadow: Shadow): string =>
  [shadow.entry?.user, shadow.entry?.supervisor].map((r) => `${r?.read ? 'r' : '-'}${r?.write ? 'w' : '-'}${r?.execute ? 'x' : '-'}`).join(' ');

const EPT_ALL = 0x337;

describe('the merged translation under EPT', () => {
  it.each([
    ['4 levels under 4', Paging.LEVEL4, Paging.LEVEL4, 4 + 5 * 4],
    ['5 levels under 4', Paging.LEVEL5, Paging.LEVEL4, 5 + 6 * 4],
    ['4 levels under 5', Paging.LEVEL4, Paging.LEVEL5, 4 + 5 * 5],
    ['5 levels under 5', Paging.LEVEL5, Paging.LEVEL5, 5 + 6 * 5],
    ['PAE under 4 (its PDPTEs are registers)', Paging.PAE, Paging.LEVEL4, 2 + 3 * 4],
    ['32-bit under 4', Paging.LEGACY32, Paging.LEVEL4, 2 + 3 * 4],
    ['no paging under 4', Paging.NONE, Paging.LEVEL4, 4],
  ])('%s: every entry is a step', (_name, guest, nested, steps) => {
    const memory = createMemory();
    buildTables(memory, NESTED_ROOT, nested === Paging.LEVEL5 ? 5 : 4, 0x107, EPT_ALL);
    const shadow = combine({ memory, guest: buildGuest(memory, guest), nested: ept(SpaceMode.ACCESSED_DIRTY, nested) }, LINEAR, 0);
    const page = guest === Paging.NONE ? 5 : LEAF_PAGE;
    expect([shadow.outcome, shadow.entry?.physical, shadow.steps.length]).toEqual(['mapped', page * 4096 + 0x123, steps]);
    expect(shadow.duties).toEqual([]);
    expect(shadow.steps.filter(({ stage }) => stage === 'nested')[0]?.level).toBe(nested === Paging.LEVEL5 ? 5 : 4);
  });

  it.each([
    ['execute-only, where it is offered', 0x4, SpaceMode.EXECUTE_ONLY, 'mapped', '--x --x'],
    ['execute-only, where it is not', 0x4, 0, 'nested-misconfigured', '--- ---'],
    ['writable but not readable', 0x2, SpaceMode.EXECUTE_ONLY, 'nested-misconfigured', '--- ---'],
    ['read-only', 0x1, 0, 'mapped', 'r-- r--'],
    ['nothing granted', 0x0, 0, 'nested-not-present', '--- ---'],
    ['mode-based: for supervisors only', 0x5, SpaceMode.MODE_BASED_EXECUTE, 'mapped', 'r-- r--'],
    ['mode-based: for users', 0x401, SpaceMode.MODE_BASED_EXECUTE, 'mapped', 'r-x r-x'],
  ])('%s', (_name, bits, modes, outcome, granted) => {
    const memory = createMemory();
    const last = buildTables(memory, NESTED_ROOT, 4, 0x407, 0x30 | 0x407);
    memory.write32(last + LEAF_PAGE * 8, (LEAF_PAGE << 12) | 0x30 | bits);
    const shadow = combine({ memory, guest: buildGuest(memory, Paging.LEVEL4), nested: ept(modes) }, LINEAR, 0);
    expect([shadow.outcome, rights(shadow)]).toEqual([outcome, granted]);
  });

  it('mode-based execute control tells supervisor pages from user pages', () => {
    const memory = createMemory();
    const last = buildTables(memory, NESTED_ROOT, 4, 0x407, 0x30 | 0x407);
    memory.write32(last + LEAF_PAGE * 8, (LEAF_PAGE << 12) | 0x30 | 5);
    const guest = buildGuest(memory, Paging.LEVEL4, 0x63);
    expect(rights(combine({ memory, guest, nested: ept(SpaceMode.MODE_BASED_EXECUTE) }, LINEAR, 0))).toBe('--- r-x');
  });

  it.each([
    ['2 MiB EPT under 4 KiB', 2, false, 12, 12],
    ['2 MiB EPT under 2 MiB', 2, true, 21, 21],
    ['1 GiB EPT under 2 MiB', 3, true, 21, 21],
    ['4 KiB EPT under 2 MiB', 1, true, 12, 21],
  ])('%s: the merged entry has the smaller size', (_name, leafLevel, large, sizeShift, guestSizeShift) => {
    const memory = createMemory();
    buildTables(memory, NESTED_ROOT, 4, 0x107, EPT_ALL, leafLevel);
    const guest = buildGuest(memory, Paging.LEVEL4);
    if (large) memory.write32(GUEST_ROOT + 2 * 4096, 0xe7);
    const { entry } = combine({ memory, guest, nested: ept(SpaceMode.PAGES_2M | SpaceMode.PAGES_1G) }, LINEAR, 0);
    expect(entry).toMatchObject({ sizeShift, guestSizeShift, physical: (large ? 5 : LEAF_PAGE) * 4096 + 0x123 });
  });

  it('names the flags that are still to be set, and for which accesses', () => {
    const memory = createMemory();
    const last = buildTables(memory, NESTED_ROOT, 4, 0x107, EPT_ALL);
    memory.write32(last + LEAF_PAGE * 8, (LEAF_PAGE << 12) | 0x37);
    const guest = buildGuest(memory, Paging.LEVEL4, 0x07);
    const { duties } = combine({ memory, guest, nested: ept(SpaceMode.ACCESSED_DIRTY) }, LINEAR, 0);
    const found = duties.map(({ step, flag, when }) => `${step.stage} ${step.level} ${flag} ${when}`);
    expect(found.sort()).toEqual(['guest 1 accessed always', 'guest 1 dirty write', 'nested 1 accessed always', 'nested 1 dirty write']);
    const without = combine({ memory, guest, nested: ept(0) }, LINEAR, 0).duties;
    expect(without.every(({ step }) => step.stage === 'guest')).toBe(true);
  });

  it('a guest table counts as written: its EPT entry must be dirty for reads too', () => {
    const memory = createMemory();
    const last = buildTables(memory, NESTED_ROOT, 4, 0x107, EPT_ALL);
    memory.write32(last + 8, 0x1000 | 0x137);
    const { duties } = combine({ memory, guest: buildGuest(memory, Paging.LEVEL4), nested: ept(SpaceMode.ACCESSED_DIRTY) }, LINEAR, 0);
    expect(duties).toMatchObject([{ flag: 'dirty', when: 'always', step: { stage: 'nested', guestPhysical: GUEST_ROOT } }]);
  });
});

describe('the merged translation under nested page tables', () => {
  it.each([
    ['32-bit, 4 KiB', Paging.LEGACY32, 2, 12],
    ['32-bit, 4 MiB', Paging.LEGACY32, 1, 12],
    ['PAE', Paging.PAE, 3, 12],
    ['4-level', Paging.LEVEL4, 4, 12],
    ['5-level', Paging.LEVEL5, 5, 12],
  ])('%s tables of the host', (name, paging, perWalk, sizeShift) => {
    const memory = createMemory();
    let modes: number = SpaceMode.NX;
    if (name.endsWith('4 MiB')) {
      modes |= SpaceMode.PSE;
      memory.write32(NESTED_ROOT, 0xe7);
    } else if (paging === Paging.LEGACY32) {
      memory.write32(NESTED_ROOT, (NESTED_ROOT + 4096) | 0x67);
      for (let i = 0; i < 1024; i++) memory.write32(NESTED_ROOT + 4096 + i * 4, (i << 12) | 0x67);
    } else {
      buildTables(memory, NESTED_ROOT, paging === Paging.PAE ? 3 : paging === Paging.LEVEL4 ? 4 : 5, 0x67, 0x67);
      if (paging === Paging.PAE) memory.write32(NESTED_ROOT, (NESTED_ROOT + 4096) | 1);
    }
    const shadow = combine({ memory, guest: buildGuest(memory, Paging.LEVEL4), nested: npt(paging, modes) }, LINEAR, 0);
    expect([shadow.outcome, shadow.entry?.physical, shadow.steps.length]).toEqual(['mapped', LEAF_PAGE * 4096 + 0x123, 4 + 5 * perWalk]);
    expect(shadow.entry?.sizeShift).toBe(sizeShift);
    expect([rights(shadow), shadow.duties.length]).toEqual(['rwx rwx', 0]);
  });

  it.each([
    ['no execution', 0x67, 0x8000_0000, SpaceMode.NX, 'mapped', 'rw- rw-'],
    ['bit 63 without NX', 0x67, 0x8000_0000, 0, 'nested-misconfigured', '--- ---'],
    ['read-only', 0x65, 0, 0, 'mapped', 'r-x r-x'],
    ['of a supervisor, which the nested walk is not', 0x63, 0, 0, 'mapped', '--- ---'],
    ['not present', 0x66, 0, 0, 'nested-not-present', '--- ---'],
  ])('a page: %s', (_name, low, high, modes, outcome, granted) => {
    const memory = createMemory();
    const last = buildTables(memory, NESTED_ROOT, 4, 0x67, 0x67);
    memory.write32(last + LEAF_PAGE * 8, (LEAF_PAGE << 12) | low);
    memory.write32(last + LEAF_PAGE * 8 + 4, high | 0);
    const shadow = combine({ memory, guest: buildGuest(memory, Paging.LEVEL4), nested: npt(Paging.LEVEL4, modes) }, LINEAR, 0);
    expect([shadow.outcome, rights(shadow)]).toEqual([outcome, granted]);
  });
});

describe('what comes with it', () => {
  it('why nothing is mapped: the last step tells', () => {
    const memory = createMemory();
    buildTables(memory, NESTED_ROOT, 4, 0x107, EPT_ALL);
    const guest = buildGuest(memory, Paging.LEVEL4, 0x66);
    const shadow = combine({ memory, guest, nested: ept() }, LINEAR, 0);
    expect([shadow.outcome, shadow.entry, shadow.steps.at(-1)?.stage]).toEqual(['guest-not-present', undefined, 'guest']);
    expect(formatShadow(shadow).at(-1)).toBe('guest-not-present');
  });

  it('what must drop it', () => {
    const memory = createMemory();
    buildTables(memory, NESTED_ROOT, 4, 0x67, 0x67);
    const guest = buildGuest(memory, Paging.LEVEL4);
    const dropped = (nested: ShadowRoots['nested']): readonly string[][] => {
      const { droppedBy } = combine({ memory, guest, ...(nested === undefined ? {} : { nested }) }, LINEAR, 0);
      return [[...droppedBy.guest], [...droppedBy.nested]];
    };
    expect(dropped(undefined)[1]).toEqual([]);
    expect(dropped(ept())).toEqual([expect.arrayContaining(['INVLPG', 'INVVPID']), ['INVEPT of the root', 'an EPT violation at the address']]);
    expect(dropped(npt(Paging.LEVEL4))).toEqual([expect.arrayContaining(['INVLPG', 'INVLPGA']), expect.arrayContaining(['TLB_CONTROL of the ASID'])]);
  });

  it('tables that lead to themselves end after their levels', () => {
    const memory = createMemory();
    memory.write32(NESTED_ROOT, NESTED_ROOT | 0x37);
    const shadow = combine({ memory, guest: { paging: Paging.NONE, cr3: 0 }, nested: ept() }, 0, 0);
    expect(shadow.steps.length).toBeLessThanOrEqual(4);
  });
});
