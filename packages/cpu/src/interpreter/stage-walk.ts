import { type Code, defineFunction, type FunctionDefinition, type FunctionRef, type Val } from '@nestvm/emit';
import { Entry, PlainStage, plainWalk } from '@nestvm/mmu';

const I = 'i32' as const;
const L = 'i64' as const;
const info = plainWalk.offset;

/** What a walk of the second stage grants; bits of its result, whose high half is the physical page and whose other bits are the page's arena offset. */
export const StageGrant = { READ: 1, WRITE: 2, EXECUTE: 4, ALL: 7 } as const;
const OFFSET = ~0xfff;

/** Address bits 51:12 of an entry. */
const FRAME = 0x000f_ffff_ffff_f000n;
const NO_EXECUTE = 1 << 31;
/** Bits of EPT entries, whose low three are the rights; 6:3 are reserved in entries that refer to a table, and memory types 2, 3 and 7 in leaves. */
const Ept = { ACCESSED: 1 << 8, DIRTY: 1 << 9, TYPE_SHIFT: 3, TABLE_RESERVED: 0x78, RESERVED_TYPES: (1 << 2) | (1 << 3) | (1 << 7) } as const;
const [SHIFT_1G, SHIFT_2M] = [30, 21] as const;
/** Reserved bits of the low half of large leaves; bit 12 is that of a PAT index in nested page tables. */
const PAT_BIT = 1 << 12;
const RESERVED_1G = 0x3fff_f000;
const RESERVED_2M = 0x001f_f000;

/** Arena page of a page in RAM, or 0: (plain walk, page). */
const ramPage = defineFunction('ramPage', { params: [I, I], results: [I] }, (c) => {
  const [walk, page] = [c.param(0, 32), c.param(1, 32)];
  for (const first of [info.lowFirst, info.highFirst]) {
    const inside = page.sub(c.load('i32.load', 32, walk, first));
    c.if(inside.ltU(c.load('i32.load', 32, walk, first + 4)), () => c.return(inside.add(c.load('i32.load', 32, walk, first + 8))));
  }
  c.return(c.constant(32, 0));
});

const refuseIf = (c: Code, condition: Val<32>): void => c.if(condition, () => c.return(c.constant(64, 0)));

/** What EPT and nested page tables have for each other. */
interface Format {
  /** What an entry grants; refuses what is none of generated code's: nothing mapped, an accessed flag to set. */
  grants(c: Code, low: Val<32>, high: Val<32>, hasFlags: Val<32>): Val<32>;
  refuseTable(c: Code, low: Val<32>): void;
  /** Refuses leaves with reserved bits beside those of the address. */
  refuseLeaf(c: Code, low: Val<32>): void;
  readonly dirty: number;
  readonly reservedLow: number;
}

const ept: Format = {
  grants: (c, low, _high, hasFlags) => {
    refuseIf(
      c,
      low
        .and(StageGrant.READ)
        .isZero()
        .or(hasFlags.and(low.and(Ept.ACCESSED).isZero())),
    );
    return low.and(StageGrant.ALL);
  },
  refuseTable: (c, low) => refuseIf(c, low.and(Ept.TABLE_RESERVED)),
  refuseLeaf: (c, low) => refuseIf(c, c.constant(32, Ept.RESERVED_TYPES).shrU(low.shrU(Ept.TYPE_SHIFT).and(7)).and(1)),
  dirty: Ept.DIRTY,
  reservedLow: -1,
};

/** The nested walk judges every access as one by a user. */
const npt: Format = {
  grants: (c, low, high) => {
    const needed = Entry.P | Entry.US | Entry.A;
    refuseIf(c, low.and(needed).ne(needed));
    const execute = c.select(high.and(NO_EXECUTE), c.constant(32, 0), c.constant(32, StageGrant.EXECUTE));
    return low.and(Entry.RW).or(execute).or(StageGrant.READ);
  },
  refuseTable: () => undefined,
  refuseLeaf: () => undefined,
  dirty: Entry.D,
  reservedLow: ~PAT_BIT,
};

/**
 * Walks a second stage: (plain walk, guest-physical page, whether it is to be written) → see {@link StageGrant}; 0 where anything is out of the ordinary, as in the walks of guest tables.
 * Writing is granted only where no dirty flag is left to set.
 */
const stageFor = (name: string, format: Format): FunctionDefinition =>
  defineFunction(name, { params: [I, I, I], results: [L] }, (c) => {
    const [walk, page, writes] = [c.param(0, 32), c.param(1, 32), c.param(2, 32)];
    const hasFlags = c.load('i32.load', 32, walk, info.stage).ne(PlainStage.EPT);
    const reserved = c.load('i32.load', 32, walk, info.stageReserved);
    const address = page.zext(64).shl(12);
    const shift = c.variable(c.load('i32.load', 32, walk, info.stageShift));
    const base = c.variable(c.load('i32.load', 32, walk, info.stageRoot));
    const grants = c.variable(c.constant(32, StageGrant.ALL));
    const entry = c.variable(c.constant(64, 0));
    c.loop((again) => {
      const index = address.shrU(shift.get()).trunc(32).and(0x1ff).shl(3);
      entry.set(c.load('i64.load', 64, base.get().add(index), 0));
      const low = entry.get().trunc(32);
      const high = entry.get().shrU(32).trunc(32);
      refuseIf(c, high.and(reserved));
      grants.set(grants.get().and(format.grants(c, low, high, hasFlags)));
      c.if(low.and(Entry.PS).isZero().and(shift.get().ne(12)), () => {
        format.refuseTable(c, low);
        const next = entry.get().and(FRAME).shrU(12);
        refuseIf(c, next.shrU(32).isNonzero());
        const found = c.call(ramPage, 32, walk, next.trunc(32));
        refuseIf(c, found.isZero());
        base.set(found.shl(12));
        shift.set(shift.get().sub(9));
        again();
      });
    });
    const low = entry.get().trunc(32);
    refuseSize(c, walk, low, shift.get(), format);
    format.refuseLeaf(c, low);
    const isClean = hasFlags.and(low.and(format.dirty).isZero());
    const granted = c.select(isClean, grants.get().and(~StageGrant.WRITE), grants.get());
    refuseIf(c, writes.and(granted.and(StageGrant.WRITE).isZero()));
    const inside = c.constant(32, 1).shl(shift.get().sub(12)).sub(1);
    const frame = entry.get().and(FRAME).shrU(12);
    refuseIf(c, frame.shrU(32).isNonzero());
    const physical = frame.trunc(32).and(inside.not()).or(page.and(inside));
    const arena = c.call(ramPage, 32, walk, physical);
    refuseIf(c, arena.isZero());
    c.return(physical.zext(64).shl(32).or(arena.shl(12).or(granted).zext(64)));
  });

/** Refuses a leaf of a size that there is not, or with address bits below its size. */
function refuseSize(c: Code, walk: Val<32>, low: Val<32>, shift: Val<32>, { reservedLow }: Format): void {
  const check = (size: number, allowed: number, reserved: number): void =>
    c.if(shift.eq(size), () =>
      refuseIf(
        c,
        c
          .load('i32.load', 32, walk, allowed)
          .isZero()
          .or(low.and(reserved & reservedLow).isNonzero()),
      ),
    );
  check(SHIFT_2M, info.stagePages2m, RESERVED_2M);
  check(SHIFT_1G, info.stagePages1g, RESERVED_1G);
  refuseIf(c, shift.gtU(SHIFT_1G));
}

const walkEpt = stageFor('walkEpt', ept);
const walkNpt = stageFor('walkNpt', npt);

const walkStage = (c: Code, walk: Val<32>, stage: Val<32>, page: Val<32>, writes: Val<32>): Val<64> =>
  c.choose(
    stage.eq(PlainStage.NPT),
    64,
    () => c.call(walkNpt, 64, walk, page, writes),
    () => c.call(walkEpt, 64, walk, page, writes),
  );

/** Arena offset of a guest table, or 0: (plain walk, its guest-physical page). With flags in the second stage, reading a table counts as writing it. */
export const tableFrame: FunctionRef = defineFunction('tableFrame', { params: [I, I], results: [I] }, (c) => {
  const [walk, page] = [c.param(0, 32), c.param(1, 32)];
  const stage = c.load('i32.load', 32, walk, info.stage);
  c.if(stage.isZero(), () => c.return(c.call(ramPage, 32, walk, page).shl(12)));
  c.return(walkStage(c, walk, stage, page, stage.ne(PlainStage.EPT)).trunc(32).and(OFFSET));
});

/** Where a page that the guest maps is: (plain walk, guest-physical page, whether it is to be written) → see {@link StageGrant}, or 0. */
export const finalFrame: FunctionRef = defineFunction('finalFrame', { params: [I, I, I], results: [L] }, (c) => {
  const [walk, page, writes] = [c.param(0, 32), c.param(1, 32), c.param(2, 32)];
  const stage = c.load('i32.load', 32, walk, info.stage);
  c.if(stage.isZero(), () => {
    const arena = c.call(ramPage, 32, walk, page);
    refuseIf(c, arena.isZero());
    c.return(page.zext(64).shl(32).or(arena.shl(12).or(StageGrant.ALL).zext(64)));
  });
  refuseIf(c, page.eq(c.load('i32.load', 32, walk, info.apicGuestPage)));
  const found = walkStage(c, walk, stage, page, writes);
  refuseIf(
    c,
    found
      .shrU(32)
      .trunc(32)
      .eq(c.load('i32.load', 32, walk, info.apicPage)),
  );
  c.return(found);
});
