import type { HeldBlocks } from '@nestvm/state';
import { DeviceError } from '../errors.js';
import { type BlockBackend, inTurn } from '../virtio/block/backend.js';
import { type AtaDrive, type AtaFailure, type AtaTransfer, giving, type SavedDrive, type TaskFile, withoutData } from './drive.js';
import { type DriveGeometry, identifyDisk } from './identify.js';
import { AtaCommand, AtaDevice, AtaError, AtaFeature, MOST_MULTIPLE, SECTOR_BYTES } from './registers.js';

/** How a disk is made. */
export interface AtaDiskOptions {
  readonly name: string;
  readonly disk: BlockBackend;
  /** At most 20 letters. */
  readonly serial?: string;
  /** At most 40 letters. */
  readonly model?: string;
}

const HEADS = 16;
const SECTORS = 63;
const MOST_CYLINDERS = 16383;
const ABORTED: AtaFailure = { error: AtaError.ABRT };
const NOT_FOUND: AtaFailure = { error: AtaError.IDNF };
const TRIM = 1;
const RANGE_BYTES = 8;

/** What a command does, and how it names its sectors. */
interface Action {
  readonly kind: 'read' | 'write' | 'verify' | 'seek';
  readonly wide?: boolean;
  readonly dma?: boolean;
  readonly multiple?: boolean;
  readonly through?: boolean;
  /** NCQ: the count is in the features register. */
  readonly queued?: boolean;
}

/** The commands that name sectors. */
const ACTIONS: ReadonlyMap<number, Action> = new Map<number, Action>([
  [AtaCommand.READ_SECTORS, { kind: 'read' }],
  [AtaCommand.READ_SECTORS_ONCE, { kind: 'read' }],
  [AtaCommand.READ_SECTORS_EXT, { kind: 'read', wide: true }],
  [AtaCommand.READ_MULTIPLE, { kind: 'read', multiple: true }],
  [AtaCommand.READ_MULTIPLE_EXT, { kind: 'read', wide: true, multiple: true }],
  [AtaCommand.READ_DMA, { kind: 'read', dma: true }],
  [AtaCommand.READ_DMA_ONCE, { kind: 'read', dma: true }],
  [AtaCommand.READ_DMA_EXT, { kind: 'read', wide: true, dma: true }],
  [AtaCommand.READ_FPDMA_QUEUED, { kind: 'read', wide: true, dma: true, queued: true }],
  [AtaCommand.WRITE_SECTORS, { kind: 'write' }],
  [AtaCommand.WRITE_SECTORS_ONCE, { kind: 'write' }],
  [AtaCommand.WRITE_SECTORS_EXT, { kind: 'write', wide: true }],
  [AtaCommand.WRITE_MULTIPLE, { kind: 'write', multiple: true }],
  [AtaCommand.WRITE_MULTIPLE_EXT, { kind: 'write', wide: true, multiple: true }],
  [AtaCommand.WRITE_MULTIPLE_FUA_EXT, { kind: 'write', wide: true, multiple: true, through: true }],
  [AtaCommand.WRITE_DMA, { kind: 'write', dma: true }],
  [AtaCommand.WRITE_DMA_ONCE, { kind: 'write', dma: true }],
  [AtaCommand.WRITE_DMA_EXT, { kind: 'write', wide: true, dma: true }],
  [AtaCommand.WRITE_DMA_FUA_EXT, { kind: 'write', wide: true, dma: true, through: true }],
  [AtaCommand.WRITE_FPDMA_QUEUED, { kind: 'write', wide: true, dma: true, queued: true }],
  [AtaCommand.VERIFY, { kind: 'verify' }],
  [AtaCommand.VERIFY_ONCE, { kind: 'verify' }],
  [AtaCommand.VERIFY_EXT, { kind: 'verify', wide: true }],
  [AtaCommand.SEEK, { kind: 'seek' }],
]);

/** Commands that have nothing to do here. */
const NOTHING: ReadonlySet<number> = new Set<number>([
  AtaCommand.RECALIBRATE,
  AtaCommand.STANDBY_IMMEDIATE,
  AtaCommand.IDLE_IMMEDIATE,
  AtaCommand.STANDBY,
  AtaCommand.IDLE,
  AtaCommand.SLEEP,
]);

/** An ATA disk ("AT Attachment 8 - ATA/ATAPI Command Set"): PIO, DMA and queued reads and writes, flush, trim. */
export class AtaDisk implements AtaDrive {
  readonly name: string;
  readonly packet = false;
  readonly failure = AtaError.UNC;
  readonly #disk: BlockBackend;
  readonly #facts: { model: string; serial: string; revision: string };
  readonly #sectors: number;
  #geometry!: DriveGeometry;
  #multiple = MOST_MULTIPLE;
  #writeCache = true;
  #transferMode = 0x45;

  constructor({ name, disk, serial = 'NV00001', model = 'NESTVM HARDDISK' }: AtaDiskOptions) {
    if (disk.sizeBytes < SECTOR_BYTES)
      throw new DeviceError('bad-option', `${name}: a disk of ${disk.sizeBytes} bytes has no sectors; give a larger one`);
    this.name = name;
    this.#disk = disk;
    this.#facts = { model, serial, revision: '1.0' };
    this.#sectors = Math.floor(disk.sizeBytes / SECTOR_BYTES);
    this.reset();
  }

  get held(): HeldBlocks | undefined {
    return this.#disk.held;
  }

  reset(): void {
    this.#geometry = {
      cylinders: Math.max(1, Math.min(MOST_CYLINDERS, Math.floor(this.#sectors / (HEADS * SECTORS)))),
      heads: HEADS,
      sectors: SECTORS,
    };
    this.#multiple = MOST_MULTIPLE;
    this.#writeCache = true;
  }

  start(task: TaskFile): AtaTransfer | AtaFailure {
    const action = ACTIONS.get(task.command);
    if (action) return this.#access(task, action);
    if (NOTHING.has(task.command)) return withoutData();
    switch (task.command) {
      case AtaCommand.IDENTIFY:
        return giving(this.#identify());
      case AtaCommand.FLUSH:
      case AtaCommand.FLUSH_EXT:
        return withoutData(() => this.#disk.flush());
      case AtaCommand.SET_FEATURES:
        return this.#setFeatures(task);
      case AtaCommand.SET_MULTIPLE:
        if (task.count > MOST_MULTIPLE || (task.count & (task.count - 1)) !== 0) return ABORTED;
        this.#multiple = task.count;
        return withoutData();
      case AtaCommand.INITIALIZE_PARAMETERS:
        return this.#initialize(task);
      case AtaCommand.CHECK_POWER:
        task.count = 0xff;
        return withoutData();
      case AtaCommand.READ_NATIVE_MAX:
      case AtaCommand.READ_NATIVE_MAX_EXT:
        return this.#nativeMax(task);
      case AtaCommand.DATA_SET_MANAGEMENT:
        return this.#manage(task);
      default:
        return ABORTED;
    }
  }

  startPacket(): AtaFailure {
    return ABORTED;
  }

  save(): SavedDrive {
    const { cylinders, heads, sectors } = this.#geometry;
    return { cylinders, heads, sectors, multiple: this.#multiple, writeCache: this.#writeCache ? 1 : 0, transferMode: this.#transferMode };
  }

  load({ cylinders = 1, heads = HEADS, sectors = SECTORS, multiple = MOST_MULTIPLE, writeCache = 1, transferMode = 0x45 }: SavedDrive): void {
    this.#geometry = { cylinders: cylinders & 0xffff, heads: Math.min(16, Math.max(1, heads)), sectors: Math.min(255, Math.max(1, sectors)) };
    this.#multiple = Math.min(MOST_MULTIPLE, multiple);
    this.#writeCache = writeCache !== 0;
    this.#transferMode = transferMode & 0xff;
  }

  #identify(): Uint8Array {
    return identifyDisk(this.#facts, {
      sectors: this.#sectors,
      geometry: this.#geometry,
      multiple: this.#multiple,
      writeCache: this.#writeCache,
      transferMode: this.#transferMode,
      trim: this.#disk.discard !== undefined && !this.#disk.readOnly,
    });
  }

  #access(task: TaskFile, action: Action): AtaTransfer | AtaFailure {
    const first = this.#address(task, action.wide === true);
    if (first < 0 || first >= this.#sectors) return NOT_FOUND;
    if (action.kind === 'seek') return withoutData();
    const given = action.queued ? task.features : task.count;
    const count = action.wide ? given & 0xffff || 0x10000 : given & 0xff || 0x100;
    if (first + count > this.#sectors) return NOT_FOUND;
    if (action.kind === 'verify') return withoutData();
    if (action.multiple && this.#multiple === 0) return ABORTED;
    if (action.kind === 'write' && this.#disk.readOnly) return ABORTED;
    const start = first * SECTOR_BYTES;
    const lengthBytes = count * SECTOR_BYTES;
    const blockBytes = SECTOR_BYTES * (action.multiple ? this.#multiple : 1);
    const dma = action.dma === true;
    if (action.kind === 'read')
      return { direction: 'in', lengthBytes, blockBytes, dma, move: (offset, bytes) => this.#disk.read(start + offset, bytes) };
    const flushes = action.through === true || !this.#writeCache || (action.queued === true && (task.device & 0x80) !== 0);
    const move = (offset: number, bytes: Uint8Array) => this.#disk.write(start + offset, bytes);
    return { direction: 'out', lengthBytes, blockBytes, dma, move, ...(flushes ? { finish: () => this.#disk.flush() } : {}) };
  }

  /** First sector of a command, or -1 for cylinder, head and sector that do not exist. */
  #address({ lba, device }: TaskFile, wide: boolean): number {
    if (wide) return lba;
    const low = lba % 0x1000000;
    if (device & AtaDevice.LBA) return (device & 15) * 0x1000000 + low;
    const { heads, sectors } = this.#geometry;
    const sector = low & 0xff;
    return sector === 0 || sector > sectors ? -1 : ((low >> 8) * heads + (device & 15)) * sectors + sector - 1;
  }

  #setFeatures(task: TaskFile): AtaTransfer | AtaFailure {
    switch (task.features & 0xff) {
      case AtaFeature.WRITE_CACHE_ON:
        this.#writeCache = true;
        return withoutData();
      case AtaFeature.WRITE_CACHE_OFF:
        this.#writeCache = false;
        return withoutData(() => this.#disk.flush());
      case AtaFeature.TRANSFER_MODE:
        this.#transferMode = task.count & 0xff;
        return withoutData();
      case AtaFeature.LOOK_AHEAD_ON:
      case AtaFeature.LOOK_AHEAD_OFF:
      case AtaFeature.DEFAULTS_ON:
      case AtaFeature.DEFAULTS_OFF:
        return withoutData();
      default:
        return ABORTED;
    }
  }

  #initialize({ count, device }: TaskFile): AtaTransfer | AtaFailure {
    const sectors = count & 0xff;
    const heads = (device & 15) + 1;
    if (sectors === 0) return ABORTED;
    this.#geometry = { cylinders: Math.min(0xffff, Math.floor(this.#sectors / (heads * sectors))), heads, sectors };
    return withoutData();
  }

  #nativeMax(task: TaskFile): AtaTransfer {
    const last = this.#sectors - 1;
    if (task.command === AtaCommand.READ_NATIVE_MAX_EXT) task.lba = last;
    else {
      const short = Math.min(last, 0xfff_ffff);
      task.lba = short % 0x1000000;
      task.device = (task.device & 0xf0) | Math.floor(short / 0x1000000);
    }
    return withoutData();
  }

  /** Trim: the transfer is a list of ranges, 48 bits of address and 16 of count each. */
  #manage({ features, count }: TaskFile): AtaTransfer | AtaFailure {
    const disk = this.#disk;
    if ((features & 0xff) !== TRIM || disk.discard === undefined || disk.readOnly) return ABORTED;
    const lengthBytes = (count & 0xffff || 0x10000) * SECTOR_BYTES;
    const move = (_offset: number, bytes: Uint8Array) => inTurn(this.#ranges(bytes), ({ offset, length }) => disk.discard?.(offset, length));
    return { direction: 'out', lengthBytes, blockBytes: SECTOR_BYTES, dma: true, move };
  }

  /** Ranges to trim; throws for one beyond the disk, which fails the command. */
  #ranges(bytes: Uint8Array): { offset: number; length: number }[] {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const ranges: { offset: number; length: number }[] = [];
    for (let at = 0; at + RANGE_BYTES <= bytes.length; at += RANGE_BYTES) {
      const first = view.getUint32(at, true) + view.getUint16(at + 4, true) * 2 ** 32;
      const length = view.getUint16(at + 6, true);
      if (first + length > this.#sectors) throw new RangeError(`${this.name}: a range to trim is beyond the disk`);
      if (length > 0) ranges.push({ offset: first * SECTOR_BYTES, length: length * SECTOR_BYTES });
    }
    return ranges;
  }
}
