import { enterHead } from '@nestvm/cpu/compiling';
import type { Code, Val } from '@nestvm/emit';
import { vcpuState } from '@nestvm/isa';
import type { LogHome } from './exit-log.js';

/** log2 of the entries; an entry is 16 bytes: RIP, head, mode. */
const BITS = 8;
const HEAD = 8;
const MODE = 12;
const at = vcpuState.offset;

/**
 * Where calls return to, put in when compiled code calls something outside of its region. The few kilobytes stay in the host's first cache, while what the block cache says of a
 * return seldom is there: kernel code goes through some hundred functions between two turns of one.
 */
export class ReturnCache {
  private readonly address: number;

  constructor(private readonly home: LogHome) {
    this.address = home.allocate('returns of compiled code', 16 << BITS, 64);
  }

  private entryOf(rip: Val<64>): Val<32> {
    const low = rip.trunc(32);
    return low
      .shrU(2)
      .xor(low.shrU(2 + BITS))
      .and((1 << BITS) - 1)
      .shl(4);
  }

  /** Writes the code that remembers the head of the block at RIP. */
  writeRemember(code: Code, cpu: Val<32>, rip: Val<64>, head: Val<32>): void {
    const entry = this.entryOf(rip);
    code.store('i64.store', entry, rip, this.address);
    code.store('i32.store', entry, head, this.address + HEAD);
    code.store('i32.store', entry, code.load('i32.load', 32, cpu, at.mode), this.address + MODE);
  }

  /** Writes the code that goes to the block at RIP, whose arena offset is `host`, if it is remembered. */
  writeEnter(code: Code, cpu: Val<32>, rip: Val<64>, host: Val<32>, whenKnown: () => void): void {
    const entry = this.entryOf(rip);
    const head = code.load('i32.load', 32, entry, this.address + HEAD);
    const isSame = code
      .load('i64.load', 64, entry, this.address)
      .eq(rip)
      .and(code.load('i32.load', 32, entry, this.address + MODE).eq(code.load('i32.load', 32, cpu, at.mode)));
    // Heads have gone when all is clear.
    code.if(isSame.and(head.ne(0)), () => enterHead(code, cpu, { head, rip, host }, whenKnown));
  }

  /** Forgets everything: records have gone. */
  clear(): void {
    this.home.i32.fill(0, this.address >>> 2, (this.address + (16 << BITS)) >>> 2);
  }
}
