import type { Width } from '@nestvm/bus';
import type { Display, Picture } from '../../display/display.js';
import { DeviceError } from '../../errors.js';
import { VirtioDevice } from '../device.js';
import type { Virtqueue } from '../queue.js';
import { VirtioType } from '../registers.js';
import type { Chain } from '../ring/chain.js';
import { createEdid } from './edid.js';
import {
  COMMAND_BYTES,
  DISPLAY_EVENT,
  EDID_ROOM,
  ENTRY_BYTES,
  FENCE_FLAG,
  GpuAnswer,
  GpuCommand,
  GpuConfig,
  GpuFeature,
  HEADER_BYTES,
  MOST_SCANOUTS,
  pixelFormats,
  SCANOUT_BYTES,
} from './registers.js';
import { type Rectangle, Resource } from './resource.js';
import { gpuSchema, MOST_ENTRIES, MOST_SIDE } from './state.js';

/** What a graphics card is. */
export interface VirtioGraphicsOptions {
  /** Unit name (default `virtio-gpu`). */
  readonly name?: string;
  /** Size of the display in pixels (default 1280 × 800). */
  readonly width?: number;
  readonly height?: number;
  /** Bytes of all pictures that the guest may make (default 256 MiB). */
  readonly mostBytes?: number;
  readonly packed?: boolean;
}

/** Most pictures. */
const MOST_RESOURCES = 65_536;
const NOTHING: Rectangle = { x: 0, y: 0, width: 0, height: 0 };

/** virtio-gpu without acceleration ("VIRTIO", GPU Device: Device Operation: controlq), with one display. */
export class VirtioGraphics extends VirtioDevice implements Display {
  /** Where the guest has its pointer, and the picture of it (0: none). */
  readonly cursor = { resource: 0, x: 0, y: 0 };
  private readonly resources = new Map<number, Resource>();
  private readonly command = new Uint8Array(COMMAND_BYTES);
  private readonly view = new DataView(this.command.buffer);
  private readonly mostBytes: number;
  private usedBytes = 0;
  private scanout: { readonly resource: number; readonly part: Rectangle } = { resource: 0, part: NOTHING };
  private size: { readonly width: number; readonly height: number };

  constructor({ name = 'virtio-gpu', width = 1280, height = 800, mostBytes = 2 ** 28, packed = false }: VirtioGraphicsOptions = {}) {
    super({ name, type: VirtioType.GPU, queues: [256, 16], features: [GpuFeature.EDID], configBytes: GpuConfig.BYTES, packed });
    this.size = checkedSize(name, width, height);
    this.mostBytes = mostBytes;
    this.stopped();
  }

  /** The display has another size now. */
  resize(width: number, height: number): void {
    this.size = checkedSize(this.name, width, height);
    this.config[GpuConfig.EVENTS_READ]! |= DISPLAY_EVENT;
    this.configChanged();
  }

  picture(): Picture | undefined {
    const { resource: id, part } = this.scanout;
    const resource = this.resources.get(id);
    if (resource === undefined) return undefined;
    this.refresh(resource);
    return { width: part.width, height: part.height, pixels: resource.show(part) };
  }

  protected override stopped(): void {
    this.config.fill(0);
    this.config[GpuConfig.NUM_SCANOUTS] = 1;
    this.resources.clear();
    this.usedBytes = 0;
    this.scanout = { resource: 0, part: NOTHING };
    Object.assign(this.cursor, { resource: 0, x: 0, y: 0 });
  }

  protected override configWritten(offset: number, _width: Width, value: number): void {
    if (offset === GpuConfig.EVENTS_CLEAR) this.config[GpuConfig.EVENTS_READ]! &= ~value;
  }

  protected override notified(queue: Virtqueue): void {
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      if (chain.readableBytes < HEADER_BYTES || (chain.writableBytes < HEADER_BYTES && queue.index === 0)) {
        this.violated('device-request', queue.index, `a command of ${chain.readableBytes} bytes with room for ${chain.writableBytes}`);
        return;
      }
      this.command.fill(0);
      chain.read(0, this.command);
      const answer = this.answer(this.carryOut(chain));
      queue.push(chain, chain.writableBytes < HEADER_BYTES ? 0 : chain.write(0, answer));
    }
    queue.publish();
  }

  protected override saveOwn(): unknown {
    const { size, scanout, cursor } = this;
    const resources = [...this.resources].map(([id, { format, width, height, backing }]) => ({
      id,
      format,
      width,
      height,
      hasBacking: backing ? 1 : 0,
      addresses: (backing ?? []).map(({ address }) => address),
      lengths: (backing ?? []).map(({ length }) => length),
    }));
    return { ...size, resources, scanout: { resource: scanout.resource, ...scanout.part }, cursor: { ...cursor } };
  }

  protected override loadOwn(saved: unknown): void {
    const { width, height, resources, scanout, cursor } = gpuSchema.check(saved, this.name);
    this.size = { width, height };
    for (const { id, hasBacking, addresses, lengths, ...kind } of resources) {
      if (this.create(id, kind.format, kind.width, kind.height) !== GpuAnswer.OK_NODATA)
        throw new DeviceError('bad-state', `${this.name}: the snapshot has a picture ${id} that cannot be; it is damaged`);
      const resource = this.resources.get(id)!;
      if (hasBacking === 1) resource.backing = addresses.map((address, i) => ({ address, length: lengths[i] ?? 0 }));
      resource.stale = true;
    }
    const { resource, ...part } = scanout;
    if (resource !== 0) this.show(0, resource, part);
    Object.assign(this.cursor, cursor);
  }

  /** Carries out the command; returns the type of the answer, or the answer's bytes behind the header with their type. */
  private carryOut(chain: Chain): number | { readonly type: number; readonly bytes: Uint8Array } {
    const word = (offset: number): number => this.view.getUint32(offset, true);
    switch (word(0)) {
      case GpuCommand.GET_DISPLAY_INFO:
        return { type: GpuAnswer.OK_DISPLAY_INFO, bytes: this.displayInfo() };
      case GpuCommand.GET_EDID:
        return word(24) === 0 ? { type: GpuAnswer.OK_EDID, bytes: this.edid() } : GpuAnswer.ERR_INVALID_SCANOUT_ID;
      case GpuCommand.RESOURCE_CREATE_2D:
        return this.create(word(24), word(28), word(32), word(36));
      case GpuCommand.RESOURCE_UNREF:
        return this.forget(word(24));
      case GpuCommand.SET_SCANOUT:
        return this.show(word(40), word(44), this.rectangle());
      case GpuCommand.RESOURCE_FLUSH:
        return this.withResource(word(40), (resource) => (resource.holds(this.rectangle()) ? GpuAnswer.OK_NODATA : GpuAnswer.ERR_INVALID_PARAMETER));
      case GpuCommand.TRANSFER_TO_HOST_2D:
        return this.withResource(word(48), (resource) => this.transfer(resource));
      case GpuCommand.RESOURCE_ATTACH_BACKING:
        return this.withResource(word(24), (resource) => this.attach(resource, chain, word(28)));
      case GpuCommand.RESOURCE_DETACH_BACKING:
        return this.withResource(word(24), detach);
      case GpuCommand.UPDATE_CURSOR:
        this.cursor.resource = word(40);
        return this.moveCursor();
      case GpuCommand.MOVE_CURSOR:
        return this.moveCursor();
      default:
        return GpuAnswer.ERR_UNSPEC;
    }
  }

  /** The answer with its header, which has the fence of the command. */
  private answer(result: number | { readonly type: number; readonly bytes: Uint8Array }): Uint8Array {
    const { type, bytes } = typeof result === 'number' ? { type: result, bytes: undefined } : result;
    const answer = new Uint8Array(HEADER_BYTES + (bytes?.length ?? 0));
    const view = new DataView(answer.buffer);
    view.setUint32(0, type, true);
    if (this.view.getUint32(4, true) & FENCE_FLAG) {
      view.setUint32(4, FENCE_FLAG, true);
      answer.set(this.command.subarray(8, 20), 8);
    }
    if (bytes) answer.set(bytes, HEADER_BYTES);
    return answer;
  }

  private displayInfo(): Uint8Array {
    const bytes = new Uint8Array(MOST_SCANOUTS * SCANOUT_BYTES);
    const view = new DataView(bytes.buffer);
    view.setUint32(8, this.size.width, true);
    view.setUint32(12, this.size.height, true);
    view.setUint32(16, 1, true);
    return bytes;
  }

  private edid(): Uint8Array {
    const edid = createEdid(this.size.width, this.size.height);
    const bytes = new Uint8Array(8 + EDID_ROOM);
    new DataView(bytes.buffer).setUint32(0, edid.length, true);
    bytes.set(edid, 8);
    return bytes;
  }

  private create(id: number, format: number, width: number, height: number): number {
    if (id === 0 || this.resources.has(id)) return GpuAnswer.ERR_INVALID_RESOURCE_ID;
    if (!(format in pixelFormats) || width < 1 || height < 1 || width > MOST_SIDE || height > MOST_SIDE) return GpuAnswer.ERR_INVALID_PARAMETER;
    const bytes = Resource.bytesOf(width, height);
    if (this.usedBytes + bytes > this.mostBytes || this.resources.size >= MOST_RESOURCES) return GpuAnswer.ERR_OUT_OF_MEMORY;
    this.usedBytes += bytes;
    this.resources.set(id, new Resource(format, width, height));
    return GpuAnswer.OK_NODATA;
  }

  private forget(id: number): number {
    return this.withResource(id, (resource) => {
      this.resources.delete(id);
      this.usedBytes -= resource.pixels.length;
      if (this.scanout.resource === id) this.scanout = { resource: 0, part: NOTHING };
      return GpuAnswer.OK_NODATA;
    });
  }

  /** Shows a part of a picture; picture 0 is none. */
  private show(scanout: number, id: number, part: Rectangle): number {
    if (scanout !== 0) return GpuAnswer.ERR_INVALID_SCANOUT_ID;
    if (id === 0) {
      this.scanout = { resource: 0, part: NOTHING };
      return GpuAnswer.OK_NODATA;
    }
    return this.withResource(id, (resource) => {
      if (part.width < 1 || part.height < 1 || !resource.holds(part)) return GpuAnswer.ERR_INVALID_PARAMETER;
      this.scanout = { resource: id, part };
      return GpuAnswer.OK_NODATA;
    });
  }

  private transfer(resource: Resource): number {
    const part = this.rectangle();
    const offset = this.view.getUint32(44, true) * 2 ** 32 + this.view.getUint32(40, true);
    if (!resource.holds(part) || !Number.isSafeInteger(offset)) return GpuAnswer.ERR_INVALID_PARAMETER;
    if (resource.backing === undefined) return GpuAnswer.ERR_UNSPEC;
    this.refresh(resource);
    resource.transfer(this.memory, part, offset);
    return GpuAnswer.OK_NODATA;
  }

  private attach(resource: Resource, chain: Chain, count: number): number {
    if (resource.backing !== undefined) return GpuAnswer.ERR_UNSPEC;
    if (count > MOST_ENTRIES || 32 + count * ENTRY_BYTES > chain.readableBytes) return GpuAnswer.ERR_INVALID_PARAMETER;
    const bytes = new Uint8Array(count * ENTRY_BYTES);
    chain.read(32, bytes);
    const view = new DataView(bytes.buffer);
    resource.backing = Array.from({ length: count }, (_, i) => ({
      address: (view.getUint32(16 * i + 4, true) % 2 ** 20) * 2 ** 32 + view.getUint32(16 * i, true),
      length: view.getUint32(16 * i + 8, true),
    }));
    return GpuAnswer.OK_NODATA;
  }

  private moveCursor(): number {
    this.cursor.x = this.view.getInt32(28, true);
    this.cursor.y = this.view.getInt32(32, true);
    return GpuAnswer.OK_NODATA;
  }

  /** Reads what a loaded state lacks. */
  private refresh(resource: Resource): void {
    if (!resource.stale) return;
    resource.stale = false;
    resource.transfer(this.memory, { x: 0, y: 0, width: resource.width, height: resource.height }, 0);
  }

  private withResource(id: number, use: (resource: Resource) => number): number {
    const resource = this.resources.get(id);
    return resource === undefined ? GpuAnswer.ERR_INVALID_RESOURCE_ID : use(resource);
  }

  /** The rectangle behind the header. */
  private rectangle(): Rectangle {
    const [x, y, width, height] = [24, 28, 32, 36].map((offset) => this.view.getUint32(offset, true)) as [number, number, number, number];
    return { x, y, width, height };
  }
}

function detach(resource: Resource): number {
  if (resource.backing === undefined) return GpuAnswer.ERR_UNSPEC;
  resource.backing = undefined;
  return GpuAnswer.OK_NODATA;
}

function checkedSize(name: string, width: number, height: number): { width: number; height: number } {
  const good = (side: number): boolean => Number.isInteger(side) && side >= 1 && side <= 4095;
  if (!good(width) || !good(height))
    throw new DeviceError('bad-option', `${name}: a display of ${width} × ${height} cannot be; use 1 to 4095 pixels`);
  return { width, height };
}
