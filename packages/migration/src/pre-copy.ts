import { countPages, PAGE_BYTES } from './clear-pages.js';
import type { ContainerWriter } from './container.js';
import { MigrationError } from './errors.js';
import { changedBytes, heldDisks, writeBlocks } from './held-disks.js';
import type { HeldDisk, LiveMachine, RamBlock } from './machine-port.js';
import type { MigrateOptions } from './migrate-options.js';
import type { Progress } from './progress.js';
import { encodeRun, pageSpans } from './ram-codec.js';
import { saveUnits, writeRun } from './save.js';

const NOTHING = new Uint8Array(0);
/** Sending so many pages more is less work for both sides than another section. */
const BRIDGE_PAGES = 4;
/** A slow line is not waited for without a look at who wants an end of it. */
const LONGEST_PAUSE_MS = 100;

const cancelled = (): MigrationError => new MigrationError('cancelled', 'the migration was cancelled');

/** The memory of a machine, and what its disks hold in memory, on their way: while it runs, and what is left when it has been stopped. */
export class PreCopy {
  private readonly disks: readonly HeldDisk[];

  constructor(
    private readonly machine: LiveMachine,
    private readonly blocks: readonly RamBlock[],
    private readonly out: ContainerWriter,
    private readonly options: MigrateOptions,
    private readonly progress: Progress,
  ) {
    this.disks = heldDisks(machine);
  }

  /** Sends memory until what is left fits the downtime; returns the pages that are left, as bitmaps. */
  async run(): Promise<readonly Uint32Array[]> {
    const { machine, options, progress } = this;
    progress.tell('pre-copy');
    let pending = this.everything();
    for (;;) {
      const startMs = options.clock.nowMs();
      const first = progress.passes === 0;
      await this.sendPages(pending, first);
      await this.sendBlocks(first);
      progress.passes++;
      const passMs = Math.max(1, options.clock.nowMs() - startMs);
      pending = machine.dirty.take();
      const left = countPages(pending) * PAGE_BYTES + changedBytes(this.disks);
      progress.dirtyRate = (left / passMs) * 1000;
      progress.beginPass(left);
      options.onStatus?.(progress.status());
      const { throughput } = progress.status();
      const fits = throughput > 0 && (left / throughput) * 1000 <= (options.downtimeLimitMs ?? 100);
      if (fits || progress.passes >= (options.maxPasses ?? 30)) return pending;
      if (progress.dirtyRate > throughput * 0.8) this.holdBack();
    }
  }

  /** All that may hold something; the rest counts as clear pages, which are not sent. */
  private everything(): readonly Uint32Array[] {
    const all = this.blocks.map(({ bytes }) => new Uint32Array((bytes.length / PAGE_BYTES + 31) >>> 5).fill(0xffff_ffff));
    const touched = this.machine.touched?.();
    if (touched === undefined) return all;
    for (const [block, { bytes }] of this.blocks.entries()) this.progress.clearPages += bytes.length / PAGE_BYTES - countPages([touched[block]!]);
    return touched;
  }

  /** With the machine stopped: `before`, what was written since, and every unit. */
  async sendRest(before: readonly Uint32Array[]): Promise<void> {
    const last = this.machine.dirty.take();
    const all = before.map((bitmap, block) => bitmap.map((word, i) => word | (last[block]![i] ?? 0)));
    await this.sendPages(all, false);
    await this.sendBlocks(false);
    for (const unit of saveUnits(this.machine)) await this.out.value('UNIT', unit);
  }

  /** A guest that dirties about as fast as the line takes gets less of its time, with each pass in which it does. */
  private holdBack(): void {
    const { throttle, throttleSteps: { initial, increment, most } = { initial: 0.2, increment: 0.1, most: 0.99 } } = this.options;
    if (!throttle) return;
    const { progress } = this;
    progress.share = Math.min(most, progress.share === 0 ? initial : progress.share + increment);
    throttle(progress.share);
  }

  /** Sends the pages of bitmaps; on the first pass pages of zeros are left out, since the target starts with zeros. */
  private async sendPages(pending: readonly Uint32Array[], first: boolean): Promise<void> {
    this.progress.beginPass(countPages(pending) * PAGE_BYTES);
    for (const [block, bitmap] of pending.entries()) {
      for (const { firstPage, pages, zero } of pageSpans(this.blocks[block]!.bytes, { wanted: bitmap, bridge: BRIDGE_PAGES })) {
        if (zero) this.progress.clearPages += pages;
        else this.progress.sentPages += pages;
        this.progress.pass(pages * PAGE_BYTES);
        if (!zero) await this.sendRun(block, firstPage, pages);
        else if (!first) await this.out.section('PAGE', ...encodeRun({ block, firstPage, pages, encoding: 'zero', data: NOTHING }));
      }
    }
  }

  /** Sends what disks hold in memory: all of it first, then what has changed. */
  private async sendBlocks(first: boolean): Promise<void> {
    for (const disk of this.disks) {
      const changed = disk.blocks.takeChanged();
      await writeBlocks(this.out, disk, first ? disk.blocks.indices() : changed, () => this.keepPace());
    }
  }

  private async sendRun(block: number, page: number, pages: number): Promise<void> {
    await writeRun(this.out, this.blocks, block, page, pages, this.options.compression === 'deflate' ? 'deflate' : 'copy');
    await this.keepPace();
  }

  /** Keeps to the bandwidth; throws `cancelled` when that is wanted. */
  private async keepPace(): Promise<void> {
    const { bandwidth, clock, signal } = this.options;
    if (signal?.aborted) throw cancelled();
    if (bandwidth === undefined) return;
    for (;;) {
      const aheadMs = (this.out.bytes / bandwidth) * 1000 - (clock.nowMs() - this.progress.startMs);
      if (aheadMs <= 1) return;
      await clock.sleep(Math.min(aheadMs, LONGEST_PAUSE_MS));
      if (signal?.aborted) throw cancelled();
    }
  }
}
