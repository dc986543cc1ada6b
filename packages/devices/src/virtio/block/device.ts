import type { Width } from '@nestvm/bus';
import { DeviceError } from '../../errors.js';
import { type HeldDisk, VirtioDevice } from '../device.js';
import type { Virtqueue } from '../queue.js';
import { VirtioType } from '../registers.js';
import type { Chain } from '../ring/chain.js';
import { type BlockBackend, inTurn, type Pending } from './backend.js';
import { type BlockSizes, blockSizes } from './block-sizes.js';
import {
  BlockConfig,
  BlockFeature,
  BlockRequest,
  BlockStatus,
  HEADER_BYTES,
  ID_BYTES,
  MAX_SEGMENT_SECTORS,
  MAX_SEGMENTS,
  SECTOR_BYTES,
} from './registers.js';

/** A block device's disk and manners. */
export interface VirtioBlockOptions {
  /** Unit name (default `virtio-blk`). */
  readonly name?: string;
  readonly disk: BlockBackend;
  /** At most 20 bytes (default none). */
  readonly serial?: string;
  /** Number of queues (default 1). */
  readonly queues?: number;
  readonly queueSize?: number;
  /** False: every write reaches stable storage before it completes, unless the driver asks otherwise (default true). */
  readonly writeCache?: boolean;
  readonly packed?: boolean;
  /** Bytes of a block, of which requests are made, and of one of the medium: powers of two from 512 to 2 MiB, the second no smaller (512 each). */
  readonly logicalBlockBytes?: number;
  readonly physicalBlockBytes?: number;
}

const ZEROES = new Uint8Array(0x1_0000);

interface Range {
  readonly offset: number;
  readonly length: number;
  readonly unmap: boolean;
}

/** virtio-blk ("VIRTIO", Block Device): read, write, flush, discard, write zeroes, serial number, configurable write cache, several queues. */
export class VirtioBlock extends VirtioDevice {
  private readonly disk: BlockBackend;
  private readonly serial: Uint8Array;
  private readonly header = new Uint8Array(HEADER_BYTES);
  private readonly view = new DataView(this.header.buffer);
  private readonly answer = new Uint8Array(1);
  private readonly writeCache: boolean;
  private readonly sizes: BlockSizes;

  constructor(options: VirtioBlockOptions) {
    const { disk, name = 'virtio-blk', queues = 1, queueSize = 256, packed = false } = options;
    const features: number[] = [BlockFeature.SEG_MAX, BlockFeature.BLK_SIZE, BlockFeature.FLUSH, BlockFeature.TOPOLOGY, BlockFeature.CONFIG_WCE];
    if (disk.readOnly) features.push(BlockFeature.RO);
    else features.push(BlockFeature.WRITE_ZEROES, ...(disk.discard ? [BlockFeature.DISCARD] : []));
    if (queues > 1) features.push(BlockFeature.MQ);
    super({
      name,
      type: VirtioType.BLOCK,
      queues: Array.from({ length: queues }, () => queueSize),
      features,
      configBytes: BlockConfig.BYTES,
      packed,
    });
    this.disk = disk;
    this.writeCache = options.writeCache ?? true;
    this.sizes = blockSizes(name, options.logicalBlockBytes, options.physicalBlockBytes);
    this.serial = Uint8Array.from(options.serial ?? '', (character) => character.charCodeAt(0));
    if (this.serial.length > ID_BYTES) throw new DeviceError('bad-option', `${name}: a serial number has at most ${ID_BYTES} bytes`);
    this.stopped();
  }

  /** The disk has another size now. */
  resized(): void {
    this.setCapacity();
    this.configChanged();
  }

  override heldDisks(): readonly HeldDisk[] {
    return this.disk.held ? [{ name: this.name, blocks: this.disk.held }] : [];
  }

  protected override stopped(): void {
    const view = new DataView(this.config.buffer);
    this.setCapacity();
    view.setUint32(BlockConfig.SEG_MAX, this.queues[0]!.maxSize - 2, true);
    const { logicalBytes, physicalBytes } = this.sizes;
    view.setUint32(BlockConfig.BLK_SIZE, logicalBytes, true);
    view.setUint8(BlockConfig.TOPOLOGY, Math.log2(physicalBytes / logicalBytes));
    view.setUint16(BlockConfig.TOPOLOGY + 2, 1, true);
    view.setUint8(BlockConfig.WRITEBACK, this.writeCache ? 1 : 0);
    view.setUint16(BlockConfig.NUM_QUEUES, this.queues.length, true);
    view.setUint32(BlockConfig.MAX_DISCARD_SECTORS, MAX_SEGMENT_SECTORS, true);
    view.setUint32(BlockConfig.MAX_DISCARD_SEG, MAX_SEGMENTS, true);
    view.setUint32(BlockConfig.DISCARD_ALIGNMENT, logicalBytes / SECTOR_BYTES, true);
    view.setUint32(BlockConfig.MAX_WRITE_ZEROES_SECTORS, MAX_SEGMENT_SECTORS, true);
    view.setUint32(BlockConfig.MAX_WRITE_ZEROES_SEG, MAX_SEGMENTS, true);
    view.setUint8(BlockConfig.WRITE_ZEROES_MAY_UNMAP, this.disk.discard ? 1 : 0);
  }

  protected override configWritten(offset: number, width: Width, value: number): void {
    if (offset === BlockConfig.WRITEBACK && width === 1 && this.negotiated(BlockFeature.CONFIG_WCE)) this.config[offset] = value & 1;
  }

  protected override notified(queue: Virtqueue): void {
    for (let chain = queue.pop(); chain; chain = queue.pop()) this.request(queue, chain);
    queue.publish();
  }

  protected override resume(queue: Virtqueue, chains: readonly Chain[]): void {
    for (const chain of chains) if (chain.written < 0) this.request(queue, chain);
    queue.publish();
  }

  private setCapacity(): void {
    const sectors = Math.floor(this.disk.sizeBytes / SECTOR_BYTES);
    const view = new DataView(this.config.buffer);
    view.setUint32(BlockConfig.CAPACITY, sectors % 2 ** 32, true);
    view.setUint32(BlockConfig.CAPACITY + 4, Math.floor(sectors / 2 ** 32), true);
  }

  /** Starts a request, and ends it at once unless the disk answers later. */
  private request(queue: Virtqueue, chain: Chain): void {
    if (chain.readableBytes < HEADER_BYTES || chain.writableBytes < 1) {
      this.violated('device-request', queue.index, `a request with ${chain.readableBytes} bytes to read and ${chain.writableBytes} to write`);
      return;
    }
    let pending: number | Promise<number>;
    try {
      pending = this.perform(chain);
    } catch {
      pending = BlockStatus.IOERR;
    }
    if (typeof pending === 'number') this.finish(queue, chain, pending);
    else {
      void pending.catch(() => BlockStatus.IOERR).then((status) => this.gate.pass(() => this.finishLate(queue, chain, status)));
    }
  }

  private finishLate(queue: Virtqueue, chain: Chain, status: number): void {
    if (!queue.held.includes(chain)) return;
    this.finish(queue, chain, status);
    queue.publish();
  }

  private finish(queue: Virtqueue, chain: Chain, status: number): void {
    this.answer[0] = status;
    chain.write(chain.writableBytes - 1, this.answer);
    queue.push(chain, chain.writableBytes);
  }

  private perform(chain: Chain): number | Promise<number> {
    chain.read(0, this.header);
    const type = this.view.getUint32(0, true);
    const sector = this.view.getUint32(12, true) * 2 ** 32 + this.view.getUint32(8, true);
    switch (type) {
      case BlockRequest.IN:
        return this.transfer(chain, sector, chain.writableBytes - 1, false);
      case BlockRequest.OUT:
        return this.transfer(chain, sector, chain.readableBytes - HEADER_BYTES, true);
      case BlockRequest.FLUSH:
        return done(this.disk.flush());
      case BlockRequest.GET_ID:
        return this.identify(chain);
      case BlockRequest.DISCARD:
      case BlockRequest.WRITE_ZEROES:
        return this.ranges(chain, type);
      default:
        return BlockStatus.UNSUPP;
    }
  }

  private transfer(chain: Chain, sector: number, length: number, writing: boolean): number | Promise<number> {
    const offset = sector * SECTOR_BYTES;
    if (!this.inside(offset, length) || (writing && this.disk.readOnly)) return BlockStatus.IOERR;
    const pending = this.move(chain, offset, length, writing);
    const through = writing && !this.cached;
    if (pending === undefined) return through ? done(this.disk.flush()) : BlockStatus.OK;
    return pending.then(() => (through ? this.disk.flush() : undefined)).then(() => BlockStatus.OK);
  }

  /** Moves the bytes of a request: in one step where memory and disk allow that. */
  private move(chain: Chain, offset: number, length: number, writing: boolean): Pending {
    const { disk } = this;
    const able = chain.viewable && (writing ? disk.writeParts !== undefined : disk.readParts !== undefined);
    const parts = able ? partsOf(chain, length, writing) : undefined;
    if (parts && parts.length > 1) {
      const late = writing ? disk.writeParts!(offset, parts) : disk.readParts!(offset, parts);
      return writing ? late : late?.then(() => putLate(chain, parts));
    }
    const pending: Promise<void>[] = [];
    const take = (step: Pending): void => {
      if (step) pending.push(step);
    };
    if (writing) chain.visitReadable(HEADER_BYTES, length, (bytes, at) => take(disk.write(offset + at, bytes)));
    else chain.visitWritable(0, length, (bytes, at) => take(this.readInto(chain, offset, bytes, at)));
    return pending.length === 0 ? undefined : Promise.all(pending).then(() => {});
  }

  /** Reads into guest memory. Bytes that come later are put there then, so that whoever watches memory hears of them. */
  private readInto(chain: Chain, offset: number, bytes: Uint8Array, at: number): Pending {
    const pending = this.disk.read(offset + at, bytes);
    return pending?.then(() => putLate(chain, [bytes], at));
  }

  private identify(chain: Chain): number {
    const id = new Uint8Array(Math.min(ID_BYTES, chain.writableBytes - 1));
    id.set(this.serial.subarray(0, id.length));
    chain.write(0, id);
    return BlockStatus.OK;
  }

  /** Whether writes may stay in the disk's cache until a flush. */
  private get cached(): boolean {
    if (this.negotiated(BlockFeature.CONFIG_WCE)) return this.config[BlockConfig.WRITEBACK] === 1;
    return this.writeCache && this.negotiated(BlockFeature.FLUSH);
  }

  /** Whether this is on the disk, in whole blocks. */
  private inside(offset: number, length: number): boolean {
    if (offset % this.sizes.logicalBytes !== 0 || length % this.sizes.logicalBytes !== 0) return false;
    return Number.isSafeInteger(offset) && offset + length <= Math.floor(this.disk.sizeBytes / SECTOR_BYTES) * SECTOR_BYTES;
  }

  private ranges(chain: Chain, type: number): number | Promise<number> {
    const { disk } = this;
    const discarding = type === BlockRequest.DISCARD;
    if (!this.negotiated(discarding ? BlockFeature.DISCARD : BlockFeature.WRITE_ZEROES) || disk.readOnly) return BlockStatus.UNSUPP;
    const length = chain.readableBytes - HEADER_BYTES;
    if (length === 0 || length % HEADER_BYTES !== 0 || length / HEADER_BYTES > MAX_SEGMENTS) return BlockStatus.IOERR;
    const bytes = new Uint8Array(length);
    chain.read(HEADER_BYTES, bytes);
    const ranges: Range[] = [];
    for (let at = 0; at < length; at += HEADER_BYTES) {
      const view = new DataView(bytes.buffer, at, HEADER_BYTES);
      const flags = view.getUint32(12, true);
      const sectors = view.getUint32(8, true);
      const range = {
        offset: (view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true)) * SECTOR_BYTES,
        length: sectors * SECTOR_BYTES,
        unmap: (flags & 1) !== 0,
      };
      if ((flags & ~(discarding ? 0 : 1)) !== 0) return BlockStatus.UNSUPP;
      if (sectors > MAX_SEGMENT_SECTORS || !this.inside(range.offset, range.length)) return BlockStatus.IOERR;
      ranges.push(range);
    }
    const step = discarding ? (range: Range) => disk.discard?.(range.offset, range.length) : (range: Range) => this.zero(range);
    const pending = inTurn(ranges, step);
    if (pending === undefined && this.cached) return BlockStatus.OK;
    return done(pending ? pending.then(() => (this.cached ? undefined : disk.flush())) : disk.flush());
  }

  private zero({ offset, length, unmap }: Range): Pending {
    const { disk } = this;
    if (disk.writeZeroes) return disk.writeZeroes(offset, length, unmap);
    const starts = Array.from({ length: Math.ceil(length / ZEROES.length) }, (_, i) => i * ZEROES.length);
    return inTurn(starts, (start) => disk.write(offset + start, ZEROES.subarray(0, Math.min(ZEROES.length, length - start))));
  }
}

/** The pieces of memory of a request; undefined when some of it is no memory (any more). */
function partsOf(chain: Chain, length: number, writing: boolean): Uint8Array[] | undefined {
  const parts: Uint8Array[] = [];
  const note = (bytes: Uint8Array): void => void parts.push(bytes);
  if (writing) chain.visitReadable(HEADER_BYTES, length, note);
  else chain.visitWritable(0, length, note);
  return parts.reduce((sum, { length: bytes }) => sum + bytes, 0) === length ? parts : undefined;
}

/** Puts what was read after all into memory once more, from a place in the request on. */
function putLate(chain: Chain, parts: readonly Uint8Array[], from = 0): void {
  let at = from;
  for (const part of parts) {
    chain.visitWritable(at, part.length, (view, done) => view.set(part.subarray(done, done + view.length)));
    at += part.length;
  }
}

const done = (pending: Pending): number | Promise<number> => (pending ? pending.then(() => BlockStatus.OK) : BlockStatus.OK);
