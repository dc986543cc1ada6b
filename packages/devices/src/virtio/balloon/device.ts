import type { Width } from '@nestvm/bus';
import { record, type Schema, unsigned } from '../../saved-state.js';
import { VirtioDevice } from '../device.js';
import type { Virtqueue } from '../queue.js';
import { VirtioType } from '../registers.js';
import type { Chain } from '../ring/chain.js';
import { BALLOON_PAGE_BYTES, BalloonConfig, BalloonFeature, BalloonQueue, HintCommand, STATISTIC_BYTES, STATISTIC_NAMES } from './registers.js';

/** A balloon's manners. */
export interface VirtioBalloonOptions {
  /** Unit name (default `virtio-balloon`). */
  readonly name?: string;
  /** The guest may take pages back by itself when it runs out of memory (default false). */
  readonly deflateOnOom?: boolean;
  /** Whether free pages are hinted (when asked for) and reported (as they become free): default true. */
  readonly freePageHint?: boolean;
  readonly freePageReporting?: boolean;
  readonly packed?: boolean;
}

/** What the guest says of its memory; values are bytes or counts. */
export type BalloonStatistics = Partial<Record<(typeof STATISTIC_NAMES)[number], number>>;

const ownSchema: Schema<{ hint: number; begun: number; round: number }> = record({ hint: unsigned(32), begun: unsigned(32), round: unsigned(32) });

/** Most bytes that one notification clears: beyond, a guest that names the same pages again and again keeps them as they are. */
const CLEARED_BYTES = 2 ** 30;
/** A cleared page, for memories that have no views. */
const NO_PAGE = new Uint8Array(BALLOON_PAGE_BYTES);
/** Most statistics of one answer. */
const STATISTICS = 64;

/** virtio-balloon ("VIRTIO", Traditional Memory Balloon Device). Pages that the guest gives away are cleared, so that snapshots and migrations leave them out. */
export class VirtioBalloon extends VirtioDevice {
  /** What the guest has said last, after `requestStatistics`. */
  statistics: BalloonStatistics | undefined;
  /** The guest has changed the size of the balloon; pages of 4096 bytes. */
  onChange: ((pages: number) => void) | undefined;
  /** Statistics have come. */
  onStatistics: ((statistics: BalloonStatistics) => void) | undefined;
  /** Bytes that were cleared because the guest gave them away, reported or hinted them. */
  clearedBytes = 0;
  private readonly view: DataView;
  /** Command of hinting that the guest has sent last, the round it began last, and the round that was asked for last. */
  private hint: number = HintCommand.STOP;
  private begun = 0;
  private round: number = HintCommand.FIRST - 1;
  private budget = 0;

  constructor(options: VirtioBalloonOptions = {}) {
    const { name = 'virtio-balloon', deflateOnOom = false, freePageHint = true, freePageReporting = true, packed = false } = options;
    const features: number[] = [BalloonFeature.STATS_VQ];
    if (deflateOnOom) features.push(BalloonFeature.DEFLATE_ON_OOM);
    if (freePageHint) features.push(BalloonFeature.FREE_PAGE_HINT);
    if (freePageReporting) features.push(BalloonFeature.PAGE_REPORTING);
    if (freePageHint || freePageReporting) features.push(BalloonFeature.PAGE_POISON);
    const queues = Array.from({ length: BalloonQueue.COUNT }, () => 128);
    super({ name, type: VirtioType.BALLOON, queues, features, configBytes: BalloonConfig.BYTES, packed });
    this.view = new DataView(this.config.buffer);
  }

  /** Pages of 4096 bytes that the guest is asked to give away. */
  get target(): number {
    return this.view.getUint32(BalloonConfig.PAGES, true);
  }

  set target(pages: number) {
    if (pages === this.target) return;
    this.view.setUint32(BalloonConfig.PAGES, pages, true);
    this.configChanged();
  }

  /** Pages that the guest says it has given away. */
  get actual(): number {
    return this.view.getUint32(BalloonConfig.ACTUAL, true);
  }

  /** Asks for fresh statistics; false when the guest has none to give, or has not answered yet. */
  requestStatistics(): boolean {
    const queue = this.queues[BalloonQueue.STATISTICS]!;
    const chain = queue.held[0];
    if (!this.running || chain === undefined) return false;
    queue.complete(chain, 0);
    return true;
  }

  /** Asks the guest to name its free pages, which are cleared; false when it cannot. `endHinting` lets it have them back. */
  startHinting(): boolean {
    if (!this.running || !this.negotiated(BalloonFeature.FREE_PAGE_HINT)) return false;
    this.round = this.round >= 0xffff_ffff ? HintCommand.FIRST : this.round + 1;
    this.command(this.round);
    return true;
  }

  /** The guest has named all its free pages of the round that was asked for last. */
  get hinted(): boolean {
    return this.begun === this.round && this.hint === HintCommand.STOP;
  }

  endHinting(): void {
    this.command(HintCommand.DONE);
  }

  protected override stopped(): void {
    const { target } = this;
    this.config.fill(0);
    this.view.setUint32(BalloonConfig.PAGES, target, true);
    this.statistics = undefined;
    this.hint = HintCommand.STOP;
    this.begun = 0;
  }

  protected override configWritten(offset: number, width: Width, value: number): void {
    const field = offset & ~3;
    const writable = field === BalloonConfig.ACTUAL || (field === BalloonConfig.POISON && this.negotiated(BalloonFeature.PAGE_POISON));
    if (!writable || offset + width > field + 4) return;
    for (let i = 0; i < width; i++) this.config[offset + i] = value >>> (8 * i);
    // The legacy interface writes byte by byte: the last one counts.
    if (field === BalloonConfig.ACTUAL && offset + width === field + 4) this.onChange?.(this.actual);
  }

  protected override notified(queue: Virtqueue): void {
    this.budget = CLEARED_BYTES;
    if (queue.index === BalloonQueue.STATISTICS) {
      this.takeStatistics(queue);
      return;
    }
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      if (!this.take(queue.index, chain)) {
        this.violated('device-request', queue.index, `a request with ${chain.readableBytes} bytes to read and ${chain.writableBytes} to write`);
        return;
      }
      queue.push(chain, 0);
    }
    queue.publish();
  }

  protected override saveOwn(): unknown {
    const { hint, begun, round } = this;
    return { hint, begun, round };
  }

  protected override loadOwn(saved: unknown): void {
    const { hint, begun, round } = ownSchema.check(saved, this.name);
    this.hint = hint;
    this.begun = begun;
    this.round = round;
  }

  /** Does what a buffer asks for; false when it has not the parts that it must have. */
  private take(queue: number, chain: Chain): boolean {
    switch (queue) {
      case BalloonQueue.INFLATE:
      case BalloonQueue.DEFLATE:
        return this.takePages(chain, queue === BalloonQueue.INFLATE);
      case BalloonQueue.HINT:
        // Drivers that skip the numbers of queues they do not use report here.
        return this.negotiated(BalloonFeature.FREE_PAGE_HINT) ? this.takeHint(chain) : this.takeFree(chain);
      default:
        return this.takeFree(chain);
    }
  }

  /** Numbers of pages that go into the balloon, or come out of it. */
  private takePages(chain: Chain, inflating: boolean): boolean {
    if (chain.writableBytes > 0 || chain.readableBytes % 4 !== 0) return false;
    if (!inflating) return true;
    const numbers = new Uint8Array(Math.min(chain.readableBytes, 4 * (CLEARED_BYTES / BALLOON_PAGE_BYTES)));
    chain.read(0, numbers);
    const view = new DataView(numbers.buffer);
    const { memory } = this;
    for (let at = 0; at < numbers.length; at += 4) {
      const address = view.getUint32(at, true) * BALLOON_PAGE_BYTES;
      if (memory.clear) {
        if (this.mayClear(BALLOON_PAGE_BYTES)) memory.clear(address, BALLOON_PAGE_BYTES);
        continue;
      }
      const page = memory.view ? memory.view(address, BALLOON_PAGE_BYTES, true) : NO_PAGE;
      if (page) this.clear(page, 0);
      if (page === NO_PAGE) memory.write(address, NO_PAGE);
    }
    return true;
  }

  /** A command that answers ours, or free pages of the round it began. */
  private takeHint(chain: Chain): boolean {
    if (chain.readableBytes > 0) {
      if (chain.readableBytes !== 4) return false;
      const word = new Uint8Array(4);
      chain.read(0, word);
      this.hint = new DataView(word.buffer).getUint32(0, true);
      if (this.hint >= HintCommand.FIRST) this.begun = this.hint;
      return true;
    }
    return this.hint === this.view.getUint32(BalloonConfig.HINT_COMMAND, true) ? this.takeFree(chain) : true;
  }

  /** Free pages: they are as the guest wants to find fresh ones. */
  private takeFree(chain: Chain): boolean {
    if (chain.readableBytes > 0) return false;
    const poison = this.negotiated(BalloonFeature.PAGE_POISON) ? this.view.getUint32(BalloonConfig.POISON, true) : 0;
    const length = Math.min(chain.writableBytes, this.budget);
    if (poison === 0 && this.mayClear(length)) chain.clearWritable(length);
    else if (poison !== 0) chain.visitWritable(0, length, (bytes) => this.clear(bytes, poison));
    return true;
  }

  /** Takes so much from what one notification may clear; false when it is more. */
  private mayClear(length: number): boolean {
    if (length > this.budget) return false;
    this.budget -= length;
    this.clearedBytes += length;
    return true;
  }

  private clear(bytes: Uint8Array, poison: number): void {
    if (!this.mayClear(bytes.length)) return;
    if (poison === 0) bytes.fill(0);
    else for (let i = 0; i < bytes.length; i++) bytes[i] = poison >>> (8 * (i & 3));
  }

  /** Reads the newest buffer; it is kept until others are asked for. */
  private takeStatistics(queue: Virtqueue): void {
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const bytes = new Uint8Array(Math.min(chain.readableBytes, STATISTICS * STATISTIC_BYTES));
      chain.read(0, bytes);
      this.statistics = statisticsOf(bytes);
      this.onStatistics?.(this.statistics);
      while (queue.held.length > 1) queue.complete(queue.held[0]!, 0);
    }
  }

  private command(value: number): void {
    this.view.setUint32(BalloonConfig.HINT_COMMAND, value, true);
    this.configChanged();
  }
}

function statisticsOf(bytes: Uint8Array): BalloonStatistics {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const statistics: BalloonStatistics = {};
  for (let at = 0; at + STATISTIC_BYTES <= bytes.length; at += STATISTIC_BYTES) {
    const name = STATISTIC_NAMES[view.getUint16(at, true)];
    const [low, high] = [view.getUint32(at + 2, true), view.getUint32(at + 6, true)];
    // All ones: the guest does not know.
    if (name !== undefined && (low & high) !== -1) statistics[name] = high * 2 ** 32 + low;
  }
  return statistics;
}
