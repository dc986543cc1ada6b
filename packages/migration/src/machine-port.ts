import type { HeldBlocks, Migratable, SavedValue } from '@nestvm/state';
import type { NestedActivity } from './nested-activity.js';

/** One piece of guest memory: a view on it, which a load writes through. */
export interface RamBlock {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** A disk of which something is in this process only, since no file has it: the changes above an image (`-snapshot`), or all of it. */
export interface HeldDisk {
  /** The same wherever the machine is made of the same options. */
  readonly name: string;
  readonly blocks: HeldBlocks;
}

/**
 * What a machine offers to be saved and loaded; `machine` implements it structurally. All calls are made with every vCPU stopped at an instruction boundary.
 */
export interface MigratableMachine {
  /** What the machine was made from, as plain data: board, CPU model, memory size, devices. */
  configuration(): SavedValue;
  /** Reasons why a snapshot with this configuration doesn't fit this machine; empty when it does. The data is untrusted. */
  mismatches(configuration: unknown): readonly string[];
  /** Every stateful thing by its path name (`cpu0`, `cpu0/apic`, `com1`), in the order in which they are to be loaded: the clock first. */
  units(): ReadonlyMap<string, Migratable>;
  ram(): readonly RamBlock[];
  /** The pages that may hold something, one bit a page for each block of `ram()` as in {@link DirtyTracking}: all others are clear. Default: all may. */
  touched?(): readonly Uint32Array[];
  /** Pages of a block of `ram()` are about to be written by a load. */
  noteWrites?(block: number, firstPage: number, pages: number): void;
  /** Default: none. */
  heldDisks?(): readonly HeldDisk[];
  readonly nested: NestedActivity;
  /** After a load: caches of memory and translations are worthless. */
  forgetCaches(): void;
}

/** Which pages were written, one bit a page for each RAM block (bit `page & 31` of word `page >>> 5`). */
export interface DirtyTracking {
  /** Begins with every page clean. */
  start(): void;
  stop(): void;
  /** The pages written since `start` or the last `take`, in the order of `ram()`; they count as clean again. */
  take(): readonly Uint32Array[];
}

/** A machine that can be moved while it runs. */
export interface LiveMachine extends MigratableMachine {
  readonly dirty: DirtyTracking;
  /** Stops every vCPU at an instruction boundary, with disks flushed; resolves when nothing runs any more. */
  pause(): Promise<void>;
  /** Goes on after `pause`. */
  resume(): void;
}
