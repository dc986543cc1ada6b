import { StateError } from './errors.js';

/**
 * What of a disk is kept in this process and nowhere else: the changes above an image, or all of a disk in memory. In blocks, of which only those that were
 * written are there. A snapshot has to carry it, since no file has it.
 */
export class HeldBlocks {
  private readonly blocks = new Map<number, Uint8Array>();
  /** Blocks that were written or forgotten since `takeChanged`; absent while nobody asks. */
  private changed: Set<number> | undefined;

  /** `sizeBytes`: of the disk; `blockBytes`: of a block, of which the last may reach past the end of the disk. */
  constructor(
    readonly sizeBytes: number,
    readonly blockBytes: number,
  ) {}

  /** How many blocks are held. */
  get count(): number {
    return this.blocks.size;
  }

  /** A block to read; undefined when it is not held. */
  get(index: number): Uint8Array | undefined {
    return this.blocks.get(index);
  }

  /** A block to write into. */
  writable(index: number): Uint8Array | undefined {
    const block = this.blocks.get(index);
    if (block) this.changed?.add(index);
    return block;
  }

  /** Holds a block, which is kept as it is given. Throws `StateError` (`bad-state`) for one that cannot be of this disk. */
  set(index: number, block: Uint8Array): void {
    if (!Number.isSafeInteger(index) || index < 0 || index * this.blockBytes >= this.sizeBytes || block.length !== this.blockBytes)
      throw new StateError('bad-state', `held blocks: block ${index} of ${block.length} bytes is not on a disk of ${this.sizeBytes} bytes`);
    this.blocks.set(index, block);
    this.changed?.add(index);
  }

  /** Forgets a block. */
  delete(index: number): void {
    if (this.blocks.delete(index)) this.changed?.add(index);
  }

  /** Forgets blocks from `first` on, of which `count` may be any number: what is not held takes no time. */
  deleteRange(first: number, count: number): void {
    if (count <= this.blocks.size) for (let i = 0; i < count; i++) this.delete(first + i);
    else for (const index of this.blocks.keys()) if (index >= first && index < first + count) this.delete(index);
  }

  /** Forgets all. */
  clear(): void {
    for (const index of this.blocks.keys()) this.delete(index);
  }

  /** The numbers of all blocks that are held, in order. */
  indices(): number[] {
    return [...this.blocks.keys()].sort((a, b) => a - b);
  }

  /** Begins or ends to note what changes. */
  track(on: boolean): void {
    this.changed = on ? new Set() : undefined;
  }

  /** How many blocks have changed since the last `takeChanged`. */
  get changedCount(): number {
    return this.changed?.size ?? 0;
  }

  /** The numbers of blocks that were written or forgotten since `track` or the last call, in order. */
  takeChanged(): number[] {
    const taken = [...(this.changed ?? [])].sort((a, b) => a - b);
    this.changed?.clear();
    return taken;
  }
}
