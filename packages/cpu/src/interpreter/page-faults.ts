import { type Code, defineFunction, type FunctionRef, type Val } from '@nestvm/emit';
import { GuestMode, Mode, Vector, vcpuState } from '@nestvm/isa';
import {
  Context,
  Entry,
  GROUP_PCIDS,
  JOURNAL_REGION_WORDS,
  Journal,
  PageFault,
  plainWalk,
  TLB_BANK_STRUCT_BYTES,
  TLB_ENTRIES,
  TLB_TABLE_BYTES,
  TlbEntry,
  TlbTable,
  tlbBank,
} from '@nestvm/mmu';
import { isDenied, type Leaf, NO_EXECUTE, refuseOddLeaf, regionHash, secondEntry, walkDown } from './page-walk.js';
import { ExitReason } from './record.js';

const I = 'i32' as const;
const L = 'i64' as const;
const at = vcpuState.offset;
const info = plainWalk.offset;
const bankAt = tlbBank.offset;
const ALL_TABLES = [TlbTable.READ, TlbTable.WRITE, TlbTable.EXEC] as const;

/** Whether a hypervisor wants to hear of the page faults of its guest. */
export const isHeard = (c: Code, cpu: Val<32>): Val<32> =>
  c
    .load('i32.load', 32, cpu, at.guestMode)
    .and(GuestMode.ON | GuestMode.PLAIN_PF)
    .eq(GuestMode.ON);

/** Whether a bank may hold pieces of a large page that maps an address: see `LargePages`. */
function mayHoldLarge(c: Code, journal: Val<32>, linear: Val<64>): Val<32> {
  const bit = (word: Val<32>, number: Val<32>): Val<32> => word.shrU(number).and(1);
  const number = regionHash(linear, 22);
  const region = c.load('i32.load', 32, journal.add(Journal.REGIONS).add(number.and(JOURNAL_REGION_WORDS - 1).shl(2)), 0);
  const huge = c.load('i32.load', 32, journal, Journal.HUGE);
  return c.load('i32.load', 32, journal, Journal.LARGE).and(bit(region, number.shrU(6)).or(bit(huge, regionHash(linear, 30).and(31))));
}

/** Drops an entry of this page. */
function dropIf(c: Code, place: Val<32>, page: Val<64>): void {
  c.if(c.load('i64.load', 64, place, TlbEntry.TAG).eq(page), () => c.store('i64.store', place, c.constant(64, -1), TlbEntry.TAG));
}

/** Forgets a page in a bank: (bank, linear) → 1, or 0 where pieces of a large page may have to go with it, which TypeScript finds. */
const forgetIn = defineFunction('forgetIn', { params: [I, L], results: [I] }, (c) => {
  const [bank, linear] = [c.param(0, 32), c.param(1, 64)];
  const journal = c.load('i32.load', 32, bank, bankAt.journal);
  const isEmpty = c.load('i32.load', 32, bank, bankAt.stale).or(c.load('i32.load', 32, journal, Journal.FILLS).isZero());
  c.if(isEmpty, () => c.return(c.constant(32, 1)));
  c.if(mayHoldLarge(c, journal, linear), () => c.return(c.constant(32, 0)));
  const low = linear.trunc(32);
  const page = linear.and(~0xfffn);
  const tables = c.load('i32.load', 32, bank, bankAt.tables);
  for (const table of ALL_TABLES) {
    const first = tables.add(table * TLB_TABLE_BYTES);
    dropIf(c, first.add(low.shrU(8).and((TLB_ENTRIES - 1) << 4)), page);
    dropIf(c, secondEntry(table, first, low), page);
  }
  c.return(c.constant(32, 1));
});

/** Forgets a page in all banks of the tag in force, of its PCID or of any: (cpu, walk, linear, bits of `group` that count) → 1, or 0 where TypeScript must do it. */
const forgetPage = defineFunction('forgetPage', { params: [I, I, L, I], results: [I] }, (c) => {
  const [cpu, walk, linear, mask] = [c.param(0, 32), c.param(1, 32), c.param(2, 64), c.param(3, 32)];
  const group = c.load('i32.load', 32, c.load('i32.load', 32, cpu, at.bank), bankAt.group);
  const bank = c.variable(c.load('i32.load', 32, walk, info.banks));
  const end = c.load('i32.load', 32, walk, info.banksEnd);
  const result = c.variable(c.constant(32, 1));
  c.while(
    () => bank.get().ltU(end),
    () => {
      c.if(c.load('i32.load', 32, bank.get(), bankAt.group).xor(group).and(mask).isZero(), () => {
        c.if(c.call(forgetIn, 32, bank.get(), linear).isZero(), () => result.set(c.constant(32, 0)));
      });
      bank.set(bank.get().add(TLB_BANK_STRUCT_BYTES));
    },
  );
  // Where tables were is forgotten, too: TypeScript, which remembers that, does so before it looks.
  c.store('i32.store', walk, c.constant(32, 1), info.structuresStale);
  c.return(result.get());
});

/** INVLPG: forgets the page of an address in every PCID: (cpu, linear) → 1, or 0 where TypeScript must do it. */
export const invalidatePage = defineFunction('invalidatePage', { params: [I, L], results: [I] }, (c) => {
  const [cpu, linear] = [c.param(0, 32), c.param(1, 64)];
  const walk = c.load('i32.load', 32, cpu, at.walk);
  c.if(walk.isZero(), () => c.return(c.constant(32, 0)));
  c.tailCall(forgetPage, cpu, walk, linear, c.constant(32, -GROUP_PCIDS));
});

/** Records that a load or store of a record's instruction, inside of one page, faults for want of a mapping or a right: (record, cpu, linear, writes) → 1, or 0 where TypeScript must say what happens. */
const pageFaultFor = (table: 'READ' | 'WRITE'): FunctionRef =>
  defineFunction(`pageFault${table}`, { params: [I, I, L], results: [I] }, (c) => {
    const [record, cpu, linear] = [c.param(0, 32), c.param(1, 32), c.param(2, 64)];
    const giveUpIf = (condition: Val<32>): void => c.if(condition, () => c.return(c.constant(32, 0)));
    const walk = c.load('i32.load', 32, cpu, at.walk);
    giveUpIf(
      walk
        .isZero()
        .or(isHeard(c, cpu))
        .or(
          c
            .load('i32.load', 32, cpu, at.mode)
            .and(Mode.LONG | Mode.ALIGN)
            .ne(Mode.LONG),
        ),
    );
    const { entry, rights, noExecute, shift } = walkDown(c, cpu, walk, linear, 'absent');
    const low = entry.trunc(32);
    const high = entry.shrU(32).trunc(32);
    const isPresent = low.and(Entry.P);
    const context = c.load('i32.load', 32, walk, info.context);
    c.if(isPresent, () => {
      const leaf: Leaf = { low, high, rights, noExecute: noExecute.and(NO_EXECUTE).isNonzero() };
      refuseOddLeaf(c, walk, leaf, shift);
      giveUpIf(isDenied(context, leaf, table).isZero());
    });
    giveUpIf(c.call(forgetPage, 32, cpu, walk, linear, c.constant(32, -1)).isZero());
    const user = c.select(context.and(Context.USER), c.constant(32, PageFault.U), c.constant(32, 0));
    const code = user.or(isPresent).or(table === 'WRITE' ? PageFault.W : 0);
    c.store('i64.store', cpu, linear, at.slowAddress);
    c.store('i32.store', cpu, c.constant(32, Vector.PF), at.faultVector);
    c.store('i32.store', cpu, code, at.faultError);
    c.store('i32.store', cpu, c.constant(32, 1), at.faultHasError);
    c.store('i32.store', cpu, record, at.exitRecord);
    c.store('i32.store', cpu, c.constant(32, ExitReason.FAULT), at.exitReason);
    c.return(c.constant(32, 1));
  });

/** By what the access wants. */
export const pageFaults = { READ: pageFaultFor('READ'), WRITE: pageFaultFor('WRITE') } as const;
