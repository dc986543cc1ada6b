import { type Code, defineFunction, type FunctionDefinition, type FunctionRef, importedFunction, type Val } from '@nestvm/emit';
import { Mode, vcpuState } from '@nestvm/isa';
import { TLB_ENTRIES, TlbEntry, TlbTable, TRAPPING } from '@nestvm/mmu';
import { codeWrite } from './code-write.js';
import { pageFaults } from './page-faults.js';
import { secondEntry, walks } from './page-walk.js';

const I = 'i32' as const;
const L = 'i64' as const;
const at = vcpuState.offset;
const PAGE = 4096;

/** What TypeScript supplies: slow accesses, with the linear address in `slowAddress`; all take (record, cpu, bytes). */
const hostRead: FunctionRef = importedFunction('hostRead', { params: [I, I, I], results: [I] });
/** The value is in `scratch`; gives 0 after a fault, 1 when it is stored, else where to store it. */
const hostWrite: FunctionRef = importedFunction('hostWrite', { params: [I, I, I], results: [I] });
const hostModify: FunctionRef = importedFunction('hostModify', { params: [I, I, I], results: [I] });
/** Writes back what `hostModify` lent in `scratch`. */
export const hostCommit: FunctionRef = importedFunction('hostCommit', { params: [I, I], results: [] });
const hostProbe: FunctionRef = importedFunction('hostProbe', { params: [I, I, I], results: [I] });

/** Copies a second-level entry into the first level. */
export function promote(c: Code, first: Val<32>, low: Val<32>, second: Val<32>): void {
  c.store('v128.store', first.add(low.shrU(8).and((TLB_ENTRIES - 1) << 4)), c.load('v128.load', 128, second, 0));
}

/** From an address whose page a first level of the TLB has: bytes up to the end of the last page that follows in the host's memory as well, or no less than wanted: (table, linear, wanted). */
export const reachOf = defineFunction('reachOf', { params: [I, L, I], results: [I] }, (c) => {
  const [table, linear, wanted] = [c.param(0, 32), c.param(1, 64), c.param(2, 32)];
  const entryOf = (low: Val<32>): Val<32> => table.add(low.shrU(8).and((TLB_ENTRIES - 1) << 4));
  const addend = c.load('i32.load', 32, entryOf(linear.trunc(32)), TlbEntry.ADDEND);
  const bytes = c.variable(c.constant(32, PAGE).sub(linear.trunc(32).and(PAGE - 1)));
  c.block((leave) =>
    c.loop((again) => {
      leave(bytes.get().geU(wanted));
      const next = linear.add(bytes.get().zext(64));
      const entry = entryOf(next.trunc(32));
      const isNext = c
        .load('i64.load', 64, entry, TlbEntry.TAG)
        .eq(next)
        .and(c.load('i32.load', 32, entry, TlbEntry.ADDEND).eq(addend));
      leave(isNext.isZero());
      bytes.set(bytes.get().add(PAGE));
      again();
    }),
  );
  c.return(bytes.get());
});

/** Host address of one byte by the first level of a TLB table, the second or a walk, each of which fills those before it; 0 where TypeScript must say what is there: (cpu, linear). */
const findFor = (table: 'READ' | 'WRITE'): FunctionDefinition =>
  defineFunction(`find${table}`, { params: [I, L], results: [I] }, (c) => {
    const [cpu, linear] = [c.param(0, 32), c.param(1, 64)];
    const low = linear.trunc(32);
    const page = linear.and(~0xfffn);
    const tables = c.load('i32.load', 32, cpu, table === 'READ' ? at.tlbRead : at.tlbWrite);
    const first = tables.add(low.shrU(8).and((TLB_ENTRIES - 1) << 4));
    c.if(c.load('i64.load', 64, first, TlbEntry.TAG).eq(page), () => c.return(low.add(c.load('i32.load', 32, first, TlbEntry.ADDEND))));
    const second = secondEntry(TlbTable[table], tables, low);
    const addend = c.load('i32.load', 32, second, TlbEntry.ADDEND);
    const isThere = c.load('i64.load', 64, second, TlbEntry.TAG).eq(page);
    c.if(isThere, () => {
      // A walk would find the same.
      if (table === 'WRITE') c.if(addend.and(TRAPPING), () => c.return(c.constant(32, 0)));
      promote(c, tables, low, second);
      c.return(low.add(addend));
    });
    c.return(c.call(walks[table], 32, cpu, linear));
  });
export const finds = { READ: findFor('READ'), WRITE: findFor('WRITE') } as const;

/**
 * An access that missed the first level of its TLB table, or lies on two pages: `found` gets the host address of its first byte, when all of it lies together in the host's memory; `crosses`
 * those of both parts and the length of the first. Not while alignment is checked, since an access may be here for that alone.
 */
function askTlb(
  c: Code,
  table: 'READ' | 'WRITE',
  found: (host: Val<32>) => void,
  crosses: ((first: Val<32>, second: Val<32>, bytes: Val<32>) => void) | null,
): void {
  const [cpu, linear, bytes] = [c.param(1, 32), c.param(2, 64), c.param(3, 32)];
  c.if(c.load('i32.load', 32, cpu, at.mode).and(Mode.ALIGN).isZero(), () => {
    const inFirst = c.constant(32, PAGE).sub(linear.trunc(32).and(PAGE - 1));
    const first = c.call(finds[table], 32, cpu, linear);
    c.if(first, () => {
      c.if(bytes.leU(inFirst), () => found(first));
      const second = c.call(finds[table], 32, cpu, linear.add(inFirst.zext(64)));
      c.if(second, () => {
        c.if(second.eq(first.add(inFirst)), () => found(first));
        crosses?.(first, second, inFirst);
      });
    });
  });
}

/** Whether an access is to the page that was a device's last: walks would find nothing there, TypeScript knows it. */
const isAtDevice = (c: Code): Val<32> => c.load('i64.load', 64, c.param(1, 32), at.devicePage).eq(c.param(2, 64).and(~0xfffn));

/** A write to a page of code, which the TLB proper does not know; only where it `tells` of them to decoded bytes. */
function askCodeWrite(c: Code, tells: boolean, found: (host: Val<32>) => void): void {
  const host = c.call(codeWrite, 32, c.param(1, 32), c.param(2, 64), c.param(3, 32), c.constant(32, Number(tells)));
  c.if(host, () => found(host));
}

/** Returns with a page fault where the access, in one page, meets one that is plain. */
function refuse(c: Code, table: 'READ' | 'WRITE'): void {
  const [record, cpu, linear, bytes] = [c.param(0, 32), c.param(1, 32), c.param(2, 64), c.param(3, 32)];
  const last = linear
    .trunc(32)
    .and(PAGE - 1)
    .add(bytes);
  c.if(last.leU(PAGE), () => c.if(c.call(pageFaults[table], 32, record, cpu, linear), () => c.return(c.constant(32, 0))));
}

const QUAD = 8;

/** Brings both parts of a load together in the scratch. */
const readAcross =
  (c: Code) =>
  (first: Val<32>, second: Val<32>, length: Val<32>): void => {
    const [cpu, bytes] = [c.param(1, 32), c.param(3, 32)];
    const scratch = cpu.add(at.scratch);
    c.if(bytes.leU(QUAD), () => {
      // The eight bytes at the end of the one page, and those at the beginning of the other.
      const bits = length.shl(3);
      const low = c.load('i64.load', 64, first.add(length).sub(QUAD)).shrU(c.constant(32, 64).sub(bits));
      c.store('i64.store', cpu, low.or(c.load('i64.load', 64, second).shl(bits)), at.scratch);
      c.return(scratch);
    });
    c.copyMemory(scratch, first, length);
    c.copyMemory(scratch.add(length), second, bytes.sub(length));
    c.return(scratch);
  };

/** Copies bytes one by one: for a few that is sooner done than a call of a function of the engine. */
const copyFew = defineFunction('copyFew', { params: [I, I, I], results: [] }, (c) => {
  const [target, source, length] = [c.param(0, 32), c.param(1, 32), c.param(2, 32)];
  const done = c.variable(c.constant(32, 0));
  c.loop((again) => {
    c.store('i32.store8', target.add(done.get()), c.load('i32.load8_u', 8, source.add(done.get())));
    done.set(done.get().add(1));
    again(done.get().ltU(length));
  });
});

const slow = (name: string, host: FunctionRef, table: 'READ' | 'WRITE'): FunctionDefinition =>
  defineFunction(name, { params: [I, I, L, I], results: [I] }, (c) => {
    c.if(isAtDevice(c).isZero(), () => {
      askTlb(c, table, (address) => c.return(address), table === 'READ' ? readAcross(c) : null);
      if (table === 'WRITE') askCodeWrite(c, host === hostModify, (address) => c.return(address));
      refuse(c, table);
    });
    c.store('i64.store', c.param(1, 32), c.param(2, 64), at.slowAddress);
    c.return(c.call(host, 32, c.param(0, 32), c.param(1, 32), c.param(3, 32)));
  });

const refillOf = (name: string, table: 'READ' | 'WRITE'): FunctionDefinition =>
  defineFunction(name, { params: [I, I, L, I], results: [I] }, (c) => {
    c.if(isAtDevice(c), () => c.return(c.constant(32, 0)));
    askTlb(c, table, (address) => c.return(address), table === 'READ' ? readAcross(c) : null);
    if (table === 'WRITE') askCodeWrite(c, false, (address) => c.return(address));
    c.return(c.constant(32, 0));
  });

/** What compiled code asks after a miss: (0, cpu, linear, bytes) → host address, or 0 when the interpreter must do the access. */
export const refill = { tlbRead: refillOf('refillRead', 'READ'), tlbWrite: refillOf('refillWrite', 'WRITE') } as const;

/** Copies the first bytes of the scratch to a host address, and returns that: (cpu, host, bytes). */
const storeScratch = defineFunction('storeScratch', { params: [I, I, I], results: [I] }, (c) => {
  const [cpu, host, bytes] = [c.param(0, 32), c.param(1, 32), c.param(2, 32)];
  const is = (size: number, store: () => void): void =>
    c.if(bytes.eq(size), () => {
      store();
      c.return(host);
    });
  is(8, () => c.store('i64.store', host, c.load('i64.load', 64, cpu, at.scratch)));
  is(4, () => c.store('i32.store', host, c.load('i32.load', 32, cpu, at.scratch)));
  is(1, () => c.store('i32.store8', host, c.load('i32.load8_u', 8, cpu, at.scratch)));
  is(2, () => c.store('i32.store16', host, c.load('i32.load16_u', 16, cpu, at.scratch)));
  c.copyMemory(host, cpu.add(at.scratch), bytes);
  c.return(host);
});

/** Slow accesses: (record, cpu, linear, bytes) → host address, or 0 after a fault. */
export const slowRead = slow('slowRead', hostRead, 'READ');
export const slowWrite = defineFunction('slowWrite', { params: [I, I, L, I], results: [I] }, (c) => {
  const [cpu, bytes] = [c.param(1, 32), c.param(3, 32)];
  const scratch = cpu.add(at.scratch);
  const across = (first: Val<32>, second: Val<32>, length: Val<32>): void => {
    c.run(copyFew, first, scratch, length);
    c.run(copyFew, second, scratch.add(length), bytes.sub(length));
    c.return(c.constant(32, 1));
  };
  c.if(isAtDevice(c).isZero(), () => {
    askTlb(c, 'WRITE', (address) => c.tailCall(storeScratch, cpu, address, bytes), across);
    askCodeWrite(c, true, (address) => c.tailCall(storeScratch, cpu, address, bytes));
    refuse(c, 'WRITE');
  });
  c.store('i64.store', cpu, c.param(2, 64), at.slowAddress);
  const host = c.call(hostWrite, 32, c.param(0, 32), cpu, bytes);
  c.if(host.leU(1), () => c.return(host));
  c.tailCall(storeScratch, cpu, host, bytes);
});
export const slowModify = slow('slowModify', hostModify, 'WRITE');
export const slowProbe = slow('slowProbe', hostProbe, 'WRITE');
