import { type Code, defineFunction, type FunctionRef, type Val } from '@nestvm/emit';
import { vcpuState } from '@nestvm/isa';
import { PageFlag, WRITE_TRAP } from '@nestvm/memory';
import {
  Context,
  Entry,
  JOURNAL_FILLS,
  JOURNAL_REGION_WORDS,
  Journal,
  Paging,
  PlainStage,
  plainWalk,
  RegionHash,
  SECOND_TLB_ENTRIES,
  secondTlbOffset,
  TLB_ENTRIES,
  TlbEntry,
  TlbTable,
} from '@nestvm/mmu';
import { finalFrame, StageGrant, tableFrame } from './stage-walk.js';

const I = 'i32' as const;
const L = 'i64' as const;
const at = vcpuState.offset;
const info = plainWalk.offset;
const TABLES = { READ: at.tlbRead, WRITE: at.tlbWrite, EXEC: at.tlbExec } as const;
type Table = keyof typeof TABLES;

/** Address bits 51:12 of an entry. */
const FRAME = 0x000f_ffff_ffff_f000n;
/** Reserved bits of the low half of 1 GiB and 2 MiB leaves (SDM Vol. 3, "4-Level Paging and 5-Level Paging"). */
const RESERVED_1G = 0x3fff_e000;
const RESERVED_2M = 0x001f_e000;
/** Protection key, in the high half of a leaf. */
const KEY = 0xf << 27;
export const NO_EXECUTE = 1 << 31;

/** Entry of an address in the second level of the table at `first`. */
export function secondEntry(table: number, first: Val<32>, low: Val<32>): Val<32> {
  const index = low
    .shrU(12)
    .xor(low.shrU(22))
    .and(SECOND_TLB_ENTRIES - 1);
  return first.add(secondTlbOffset(table)).add(index.shl(4));
}

/** Gives up: TypeScript does the walk. */
const giveUpIf = (c: Code, condition: Val<32>): void => c.if(condition, () => c.return(c.constant(32, 0)));

/** Arena offset of the table in an entry, which gives up unless it is RAM. */
function frameOf(c: Code, walk: Val<32>, entry: Val<64>): Val<32> {
  const page = entry.and(FRAME).shrU(12);
  giveUpIf(c, page.shrU(32).isNonzero());
  const found = c.call(tableFrame, 32, walk, page.trunc(32));
  giveUpIf(c, found.isZero());
  return found;
}

/** 11 bits of the number of the region of 2^shift bytes that an address is in: see `LargePages`. */
export const regionHash = (linear: Val<64>, shift: number): Val<32> =>
  linear
    .trunc(32)
    .shrU(shift)
    .xor(
      linear
        .shrU(32)
        .trunc(32)
        .mul(RegionHash.HIGH | 0),
    )
    .mul(RegionHash.ALL | 0)
    .shrU(RegionHash.SHIFT);

/** Notes in the journal that an entry was cut from a large page: see `LargePages`. */
const noteLarge = defineFunction('noteLarge', { params: [I, L, I], results: [] }, (c) => {
  const [journal, linear, shift] = [c.param(0, 32), c.param(1, 64), c.param(2, 32)];
  const set = (address: Val<32>, bit: Val<32>): void =>
    c.store('i32.store', address, c.load('i32.load', 32, address, 0).or(c.constant(32, 1).shl(bit)), 0);
  c.store('i32.store', journal, c.constant(32, 1), Journal.LARGE);
  c.if(shift.eq(30), () => {
    set(journal.add(Journal.HUGE), regionHash(linear, 30).and(31));
    c.return();
  });
  const number = regionHash(linear, 22);
  set(journal.add(Journal.REGIONS).add(number.and(JOURNAL_REGION_WORDS - 1).shl(2)), number.shrU(6));
});

/** Puts a translation into both levels of the table at `first`, and into the journal: (plain walk, first, linear, addend and page). */
const fillFor = (table: Table): FunctionRef =>
  defineFunction(`fill${table}`, { params: [I, I, L, L], results: [] }, (c) => {
    const [walk, first, linear, rest] = [c.param(0, 32), c.param(1, 32), c.param(2, 64), c.param(3, 64)];
    const low = linear.trunc(32);
    const entry = first.add(low.shrU(8).and((TLB_ENTRIES - 1) << 4));
    const second = secondEntry(TlbTable[table], first, low);
    for (const place of [entry, second]) {
      c.store('i64.store', place, linear.and(~0xfffn), TlbEntry.TAG);
      c.store('i64.store', place, rest, TlbEntry.ADDEND);
    }
    const journal = c.load('i32.load', 32, walk, info.journal);
    const fills = c.load('i32.load', 32, journal, Journal.FILLS);
    c.if(fills.leU(JOURNAL_FILLS), () => c.store('i32.store', journal, fills.add(1), Journal.FILLS));
    c.if(fills.ltU(JOURNAL_FILLS), () => {
      const line = journal.add(fills.shl(3));
      c.store('i32.store', line, entry.shrU(2), Journal.LOG);
      c.store('i32.store', line, second.shrU(2), Journal.LOG + 4);
    });
  });
const fills = { READ: fillFor('READ'), WRITE: fillFor('WRITE'), EXEC: fillFor('EXEC') } as const;

/** What a walk found. */
export interface Leaf {
  readonly low: Val<32>;
  readonly high: Val<32>;
  /** Writable and user bits of all entries together, and whether one forbids execution. */
  readonly rights: Val<32>;
  readonly noExecute: Val<32>;
}

/** 1 where the rights of a leaf deny the access: see `denies` in @nestvm/mmu. Keys say nothing here. */
export function isDenied(context: Val<32>, leaf: Leaf, table: Table): Val<32> {
  const isUser = leaf.rights.and(Entry.US).isNonzero();
  const asUser = context.and(Context.USER).isNonzero();
  const wrongClass = asUser.and(isUser.isZero());
  const supervisorOnUser = asUser.isZero().and(isUser);
  if (table === 'EXEC') return leaf.noExecute.or(wrongClass).or(supervisorOnUser.and(context.and(Context.SMEP).isNonzero()));
  const isLocked = context.and(Context.SMAP | Context.AC).eq(Context.SMAP);
  const denied = wrongClass.or(supervisorOnUser.and(isLocked));
  if (table === 'READ') return denied;
  const isEnforced = asUser.or(context.and(Context.WP).isNonzero());
  return denied.or(isEnforced.and(leaf.rights.and(Entry.RW).isZero()));
}

/** Puts a page that a walk has found into the tables that the access and its flags allow, and `mark`s its leaf; gives up where a write owes something first. */
function fillFrom(c: Code, table: Table, walk: Val<32>, leaf: Leaf, found: Val<64>, mark: () => void): void {
  const [cpu, linear] = [c.param(0, 32), c.param(1, 64)];
  const context = c.load('i32.load', 32, walk, info.context);
  const frame = found.trunc(32).and(~0xfff);
  const addend = frame.sub(linear.trunc(32).and(~0xfff));
  const rest = found.and(~0xffff_ffffn).or(addend.zext(64));
  const fill = (into: Table): void => c.run(fills[into], walk, c.load('i32.load', 32, cpu, TABLES[into]), linear, rest);
  if (table === 'EXEC') {
    mark();
    return fill('EXEC');
  }
  const flagsAt = c.load('i32.load', 32, walk, info.pageFlags).add(frame.shrU(12));
  const flags = c.load('i32.load8_u', 32, flagsAt, 0);
  const isTrapped = flags.and(WRITE_TRAP).isNonzero();
  if (table === 'WRITE') giveUpIf(c, isTrapped);
  mark();
  fill('READ');
  const mayWrite = (): void => {
    c.store('i32.store8', flagsAt, flags.or(PageFlag.WRITE_CACHED), 0);
    fill('WRITE');
  };
  if (table === 'WRITE') mayWrite();
  else
    c.if(
      isTrapped
        .or(leaf.low.and(Entry.D).isZero())
        .or(isDenied(context, leaf, 'WRITE'))
        .or(found.trunc(32).and(StageGrant.WRITE).isZero())
        .isZero(),
      mayWrite,
    );
}

/** Where a walk has come to. */
interface Walked {
  readonly entry: Val<64>;
  /** Writable and user bits of all entries together; and the high halves, of which NO_EXECUTE counts. */
  readonly rights: Val<32>;
  readonly noExecute: Val<32>;
  readonly shift: Val<32>;
  readonly base: Val<32>;
}

/**
 * Goes down four or five levels of tables to a leaf; gives up where anything is out of the ordinary. `used`: also where there is no mapping, or an accessed flag to set above the leaf;
 * `absent`: ends at an entry that is not present.
 */
export function walkDown(c: Code, cpu: Val<32>, walk: Val<32>, linear: Val<64>, kind: 'used' | 'absent'): Walked {
  const isFive = c.load('i32.load', 32, walk, info.context).and(Context.PAGING).eq(Paging.LEVEL5);
  const shift = c.variable(c.select(isFive, c.constant(32, 48), c.constant(32, 39)));
  // Canonical addresses: the bits from the highest that is translated upward are all alike.
  giveUpIf(c, linear.shrS(shift.get().add(8)).add(1).gtU(1));
  const reserved = c.load('i32.load', 32, walk, info.reserved);
  const base = c.variable(frameOf(c, walk, c.load('i64.load', 64, cpu, at.cr3)));
  const rights = c.variable(c.constant(32, Entry.RW | Entry.US));
  const noExecute = c.variable(c.constant(32, 0));
  const entry = c.variable(c.constant(64, 0));
  c.loop((again) => {
    const index = linear.shrU(shift.get()).trunc(32).and(0x1ff).shl(3);
    entry.set(c.load('i64.load', 64, base.get().add(index), 0));
    const low = entry.get().trunc(32);
    const high = entry.get().shrU(32).trunc(32);
    const isPresent = low.and(Entry.P);
    const isReserved = high.and(reserved).isNonzero();
    giveUpIf(c, kind === 'used' ? isPresent.isZero().or(isReserved) : isPresent.and(isReserved));
    rights.set(rights.get().and(low));
    noExecute.set(noExecute.get().or(high));
    const isTable = low.and(Entry.PS).isZero().and(shift.get().ne(12));
    c.if(kind === 'used' ? isTable : isTable.and(isPresent), () => {
      if (kind === 'used') giveUpIf(c, low.and(Entry.A).isZero());
      base.set(frameOf(c, walk, entry.get()));
      shift.set(shift.get().sub(9));
      again();
    });
  });
  return { entry: entry.get(), rights: rights.get(), noExecute: noExecute.get(), shift: shift.get(), base: base.get() };
}

/**
 * Walks four or five levels of tables and fills the TLB: (cpu, linear) → host address; 0 where anything is out of the ordinary, with nothing changed: no mapping, no right, an accessed flag
 * to set above the leaf, a table or page outside of RAM, a protection key, a write that somebody wants to hear of. Accesses lie inside one page.
 */
const walkFor = (table: Table): FunctionRef =>
  defineFunction(`walk${table}`, { params: [I, L], results: [I] }, (c) => {
    const [cpu, linear] = [c.param(0, 32), c.param(1, 64)];
    const walk = c.load('i32.load', 32, cpu, at.walk);
    giveUpIf(c, walk.isZero());
    const { entry, rights, noExecute, shift, base } = walkDown(c, cpu, walk, linear, 'used');
    const leaf: Leaf = {
      low: entry.trunc(32),
      high: entry.shrU(32).trunc(32),
      rights,
      noExecute: noExecute.and(NO_EXECUTE).isNonzero(),
    };
    refuseLeaf(c, table, walk, leaf, shift);
    const inside = c.constant(32, 1).shl(shift.sub(12)).sub(1);
    const frame4k = entry.and(FRAME).shrU(12);
    giveUpIf(c, frame4k.shrU(32).isNonzero());
    const page = frame4k.trunc(32).and(inside.not()).or(linear.shrU(12).trunc(32).and(inside));
    const found = c.call(finalFrame, 64, walk, page, c.constant(32, table === 'WRITE' ? 1 : 0));
    const grants = found.trunc(32);
    giveUpIf(c, grants.and(table === 'EXEC' ? StageGrant.EXECUTE : StageGrant.READ).isZero());
    const frame = grants.and(~0xfff);
    const place = base.add(linear.shrU(shift).trunc(32).and(0x1ff).shl(3));
    fillFrom(c, table, walk, leaf, found, () => markUsed(c, table, walk, leaf, place));
    c.if(shift.ne(12), () => c.run(noteLarge, c.load('i32.load', 32, walk, info.journal), linear, shift));
    c.return(frame.or(linear.trunc(32).and(0xfff)));
  });

/** Gives up where a leaf has reserved bits, a key, or does not allow the access. */
function refuseLeaf(c: Code, table: Table, walk: Val<32>, leaf: Leaf, shift: Val<32>): void {
  refuseOddLeaf(c, walk, leaf, shift);
  giveUpIf(c, isDenied(c.load('i32.load', 32, walk, info.context), leaf, table));
}

/** Gives up where a leaf has reserved bits or a key. */
export function refuseOddLeaf(c: Code, walk: Val<32>, leaf: Leaf, shift: Val<32>): void {
  const reserved = c.select(shift.eq(30), c.constant(32, RESERVED_1G), c.select(shift.eq(21), c.constant(32, RESERVED_2M), c.constant(32, 0)));
  giveUpIf(c, leaf.low.and(reserved).isNonzero().or(shift.gtU(30)));
  const context = c.load('i32.load', 32, walk, info.context);
  const hasKey = context
    .and(Context.PKE | Context.PKS)
    .isNonzero()
    .and(leaf.high.and(KEY).isNonzero());
  giveUpIf(c, hasKey);
}

/** Sets the flags that an allowed access owes its leaf, and gives up where somebody wants to hear of writes to the table, or a second stage has not been asked for them. */
function markUsed(c: Code, table: Table, walk: Val<32>, leaf: Leaf, place: Val<32>): void {
  const owed = table === 'WRITE' ? Entry.A | Entry.D : Entry.A;
  c.if(leaf.low.and(owed).ne(owed), () => {
    const flagsAt = c.load('i32.load', 32, walk, info.pageFlags).add(place.shrU(12));
    const isUnasked = c.load('i32.load', 32, walk, info.stage).eq(PlainStage.EPT);
    giveUpIf(c, c.load('i32.load8_u', 32, flagsAt, 0).and(WRITE_TRAP).or(isUnasked));
    c.store('i32.store', place, leaf.low.or(owed), 0);
  });
}

/** The walks, by the table that the access wants. */
export const walks = { READ: walkFor('READ'), WRITE: walkFor('WRITE'), EXEC: walkFor('EXEC') } as const;
