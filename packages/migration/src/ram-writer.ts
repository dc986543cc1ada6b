import { clearPages, PAGE_BYTES } from './clear-pages.js';
import type { PlaceOf, Section } from './container.js';
import type { MigratableMachine, RamBlock } from './machine-port.js';
import { decodeRun, expandRun, type PageRun, RUN_HEADER_BYTES } from './ram-codec.js';

/** The run in a section; throws `corrupt`. */
export const runOf = ({ payload, offset, placedBytes }: Section, listed: readonly RamBlock[]): PageRun =>
  decodeRun(payload, listed, offset, placedBytes ?? payload.length - RUN_HEADER_BYTES);

/** Writes the memory of a machine, which is told of it. `listed` are its blocks in the order of the snapshot. */
export class RamWriter {
  private readonly blocks: readonly RamBlock[];
  private readonly touched: readonly Uint32Array[] | undefined;

  constructor(
    private readonly machine: MigratableMachine,
    private readonly listed: readonly RamBlock[],
  ) {
    this.blocks = machine.ram();
    this.touched = machine.touched?.();
  }

  /** Plain pages are read to where they belong; what is not in order comes as it is, and is refused by who reads it. */
  get place(): PlaceOf {
    return {
      headerBytes: RUN_HEADER_BYTES,
      find: (header, dataBytes) => {
        try {
          const run = decodeRun(header, this.listed, 0, dataBytes);
          return run.encoding === 'raw' ? this.pages(run) : undefined;
        } catch {
          return undefined;
        }
      },
    };
  }

  /** Puts the run in a section where it belongs. */
  async put(section: Section): Promise<PageRun> {
    const run = runOf(section, this.listed);
    if (section.placedBytes !== undefined) return run;
    if (run.encoding === 'zero') this.pages(run).fill(0);
    else {
      const bytes = await expandRun(run);
      this.pages(run).set(bytes);
    }
    return run;
  }

  /** Clears what may hold something and is to be clear. What was never written is not even read, so that the host needs no memory for it. */
  clear(isWanted: (block: RamBlock, page: number) => boolean): void {
    for (const [index, block] of this.blocks.entries()) clearPages(block.bytes, (page) => isWanted(block, page), this.touched?.[index]);
  }

  /** The place of a run, which is about to be written. */
  private pages({ block, firstPage, pages }: PageRun): Uint8Array {
    const { name, bytes } = this.listed[block]!;
    const own = this.blocks.findIndex((one) => one.name === name);
    this.machine.noteWrites?.(own, firstPage, pages);
    return bytes.subarray(firstPage * PAGE_BYTES, (firstPage + pages) * PAGE_BYTES);
  }
}
