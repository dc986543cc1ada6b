import { Cr0, Cr4, Efer } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { createGuestSpace, StageFaultKind, TranslationFault } from '../src/index.js';
import { Random } from './random.js';
import { createGuest, RAM_BYTES, World } from './world.js';

const CASES = 1_000_000;
/** A device whose every read gives something else. */
const DEVICE = 0x10_0000;
const DEVICE_BYTES = 0x10_0000;
/** No walk of two stages reads more entries: 5 guest levels and the final address with 5 levels each, 5 of HLAT, 4 of sub-pages; and each may be tried again. */
const MOST_READS = (5 * 6 + 5 + 5 * 6 + 4) * 2 * 10 * 10;

/** Where a hostile hypervisor may point: tables that refer to each other, a device, nothing, anything. */
function anyAddress(random: Random): number {
  switch (random.below(6)) {
    case 0:
      return DEVICE + random.below(DEVICE_BYTES / 4096) * 4096;
    case 1:
      return random.below(2 ** 20) * 4096;
    case 2:
      return Math.floor(((random.bits() >>> 0) * 2 ** 20) / 4096) * 4096;
    default:
      return random.below(RAM_BYTES / 4096) * 4096;
  }
}

function anyEntry(random: Random): [number, number] {
  if (random.chance(20)) return [random.bits(), random.bits()];
  const address = anyAddress(random);
  const low = (address & ~0xfff) | (random.bits() & (random.chance(70) ? 0x367 : 0xfff)) | (random.chance(90) ? 7 : 0);
  return [low | 0, (Math.floor(address / 2 ** 32) & 0xf_ffff) | (random.chance(20) ? random.bits() & 0xfff0_0000 : 0)];
}

function randomize(world: World, random: Random, space: ReturnType<typeof createGuestSpace>): void {
  const { registers: r } = world;
  r.cr0 = Cr0.PE | (random.chance(90) ? Cr0.PG : 0) | (random.bits() & Cr0.WP);
  r.efer = random.bits() & (Efer.NXE | Efer.LMA | Efer.LME);
  r.cr4 = random.bits() & (Cr4.PAE | Cr4.PSE | Cr4.PGE | Cr4.PCIDE | Cr4.SMEP | Cr4.SMAP | Cr4.LA57 | Cr4.PKE | Cr4.PKS);
  r.cr3 = BigInt(anyAddress(random));
  r.cpl = random.pick([0, 3]);
  Object.assign(space, {
    tag: random.below(4),
    stage: random.below(3),
    root: anyAddress(random),
    paging: 1 + random.below(4),
    modes: random.bits() & 0x1fff,
    apicAccessPage: random.pick([-1, 3, 0x100]),
    apicGuestPage: random.pick([-1, 5]),
    sppTable: anyAddress(random),
    pmlAddress: anyAddress(random),
    pmlIndex: random.below(600),
    hlatRoot: anyAddress(random),
    hlatPrefix: random.below(64),
  });
  world.load();
  for (let i = 0; i < 4; i++) world.mmu.setPdpte(i, ...anyEntry(random));
  if (random.chance(85)) world.mmu.enterGuest(space);
  else world.mmu.leaveGuest();
}

describe('hostile tables', () => {
  it(`answer ${CASES.toLocaleString('en')} accesses, always within a bounded number of reads`, { timeout: 600_000 }, () => {
    const random = new Random(2_718_281);
    const { arena, memory } = createGuest();
    let reads = 0;
    const read = (): number => {
      reads++;
      return random.bits() >>> 0;
    };
    memory.mmio.claim({ name: 'noise', base: DEVICE, size: DEVICE_BYTES, read, write: () => undefined });
    const world = new World(arena, memory, { maxPhysicalAddress: 52, pages1g: true, banks: 4 });
    const { mmu } = world;
    const space = createGuestSpace();
    const seen = { ok: 0, pageFault: 0, stage: 0, device: 0, apic: 0 };
    let most = 0;
    for (let i = 0; i < CASES; i++) {
      const [low, high] = anyEntry(random);
      const at = random.below(RAM_BYTES / 8) * 8;
      memory.write32(at, low);
      memory.write32(at + 4, high);
      if (i % 8 === 0) randomize(world, random, space);
      if (random.chance(3)) mmu.invalidateRoot(space.root);
      reads = 0;
      const page = random.chance(50) ? random.below(64) << 12 : random.bits();
      const ok = mmu.translate(page, random.chance(60) ? 0 : random.bits() >> 16, random.below(3), random.chance(50));
      most = Math.max(most, reads);
      if (ok) {
        seen.ok++;
        if (mmu.apicAccess) seen.apic++;
        if (mmu.arenaOffset < 0) seen.device++;
        else if (mmu.arenaOffset !== memory.arenaOffsetOf(mmu.physical)) throw new Error(`case ${i}: ${mmu.physical} is not at ${mmu.arenaOffset}`);
      } else if (mmu.fault === TranslationFault.PAGE_FAULT) seen.pageFault++;
      else {
        seen.stage++;
        const { kind, guestPhysical } = mmu.stageFault;
        if (mmu.fault !== TranslationFault.SECOND_STAGE || kind > StageFaultKind.SPP_MISCONFIGURATION)
          throw new Error(`case ${i}: fault ${mmu.fault}`);
        if (!(guestPhysical >= 0 && guestPhysical < 2 ** 52)) throw new Error(`case ${i}: guest-physical ${guestPhysical}`);
      }
      if (random.chance(1)) mmu.shadow(page, 0);
      if (random.chance(1)) mmu.peek(page, 0);
      if (random.chance(1)) mmu.loadPdptes(random.bits());
    }
    console.log(`hostile tables: ${JSON.stringify(seen)}, at most ${most} reads of a device for an access`);
    expect(Math.min(seen.ok, seen.pageFault, seen.stage, seen.device)).toBeGreaterThan(CASES / 100);
    expect(most).toBeLessThan(MOST_READS);
  });
});
