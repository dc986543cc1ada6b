import type { Vcpu } from '../vcpu.js';

/** Who is told of hot blocks, and may put something faster in their place: the JIT. */
export interface HotCode {
  /** Bits of `Mode` that compiled code knows of: blocks of modes with others are not counted, and never reported. */
  readonly modes: number;
  /** Whether the turns of all blocks are counted, wherever they are reached from; else only those of functions' first blocks and of loops' heads. */
  readonly countsAll: boolean;
  /** Turns after which a block that is decoded now, from an arena page, is reported. */
  turns(arenaPage: number): number;
  /**
   * The block with the head record `head` has run often, and is about to run again; `blockRip` of the vCPU is its address. Afterwards the record is run again, so either it
   * has got another handler or its countdown another value.
   */
  hot(cpu: Vcpu, head: number): void;
  /** The decoded code of an arena page has gone, or (-1) all of it. */
  dropped(arenaPage: number): void;
}
