import type { Code, IntWidth, Val } from '@nestvm/emit';
import type { Context, Engine, Place } from '@nestvm/semantics';
import { NotCompilable } from './errors.js';

type MemoryWidth = IntWidth | 128;
const LOAD = { 8: 'i32.load8_u', 16: 'i32.load16_u', 32: 'i32.load', 64: 'i64.load', 128: 'v128.load' } as const;
const STORE = { 8: 'i32.store8', 16: 'i32.store16', 32: 'i32.store', 64: 'i64.store', 128: 'v128.store' } as const;
const INDEX_MASK = 1023 << 4;

/** What the engine needs from the region that it writes for. */
export interface Exits {
  /** Base of a TLB table. */
  table(name: 'tlbRead' | 'tlbWrite'): Val<32>;
  /** Leaves to the interpreter at the present instruction, which has changed nothing yet. */
  leave(): void;
  jumpDirect(): void;
  fallThrough(): void;
  jumpIndirect(target: Val<64>): void;
  isLast(): boolean;
}

/** The engine of compiled code: memory through the TLB; whatever is not plain leaves to the interpreter, at the same instruction. */
export class RegionEngine implements Engine {
  constructor(private readonly exits: Exits) {}

  /** Host address of an access, or the region is left. */
  private host(x: Context, table: 'tlbRead' | 'tlbWrite', linear: Val<64>, bytes: number): Val<32> {
    const { code } = x;
    const low = linear.trunc(32);
    const entry = this.exits.table(table).add(low.shrU(8).and(INDEX_MASK));
    const misses = code.load('i64.load', 64, entry, 0).ne(linear.add(bytes - 1).and(~0xfffn));
    code.rarely(misses, () => this.exits.leave());
    return low.add(code.load('i32.load', 32, entry, 8));
  }

  load<W extends MemoryWidth>(x: Context, width: W, linear: Val<64>): Val<W> {
    return x.code.load(LOAD[width], width, this.host(x, 'tlbRead', linear, width / 8));
  }

  store<W extends MemoryWidth>(x: Context, width: W, linear: Val<64>, value: Val<W>): void {
    x.code.store(STORE[width], this.host(x, 'tlbWrite', linear, width / 8), value);
  }

  modify<W extends MemoryWidth>(x: Context, width: W, linear: Val<64>): Place<W> {
    const host = this.host(x, 'tlbWrite', linear, width / 8);
    return {
      read: () => x.code.load(LOAD[width], width, host),
      write: (value) => x.code.store(STORE[width], host, value),
    };
  }

  probeWrite(x: Context, bytes: number, linear: Val<64>): void {
    this.host(x, 'tlbWrite', linear, bytes);
  }

  hostAddress(): Val<32> {
    throw new NotCompilable('a run of elements');
  }

  checkSegment(): Val<64> {
    throw new NotCompilable('a checked segment');
  }

  fault(): void {
    this.exits.leave();
  }

  next(): void {
    throw new NotCompilable('an instruction that goes on by itself');
  }

  jumpDirect(): void {
    this.exits.jumpDirect();
  }

  fallThrough(): void {
    this.exits.fallThrough();
  }

  jumpIndirect(_x: Context, target: Val<64>): void {
    this.exits.jumpIndirect(target);
  }

  repeat(): void {
    throw new NotCompilable('a repeated instruction');
  }

  system(): void {
    this.exits.leave();
  }

  isLast(x: Context): Val<32> {
    return (x.code as Code).constant(32, this.exits.isLast() ? 1 : 0);
  }
}
