import type { Timer } from '@nestvm/bus';
import { DeviceError } from '../../errors.js';
import { integer, list, record, unsigned } from '../../saved-state.js';
import { VirtioDevice } from '../device.js';
import type { Virtqueue } from '../queue.js';
import { VirtioFeature, VirtioType } from '../registers.js';
import type { Chain } from '../ring/chain.js';
import type { FrameOffload, NetworkBackend } from './backend.js';
import { addressAt, filterSchema, ReceiveFilter } from './filter.js';
import { MAX_FRAME_BYTES, NetAck, NetConfig, NetControl, NetFeature, NetFlag, NetGso, NetHeader, NetStatus } from './registers.js';
import { Steering } from './steering.js';

/** A network device's address and network. */
export interface VirtioNetworkOptions {
  /** Unit name (default `virtio-net`). */
  readonly name?: string;
  readonly backend: NetworkBackend;
  /** Six bytes. */
  readonly mac: Uint8Array;
  /** Pairs of queues (default 1). */
  readonly pairs?: number;
  /** Descriptors of each queue (default 256). */
  readonly queueSize?: number;
  /** Largest packet, told to the driver (default: not said). */
  readonly mtu?: number;
  readonly packed?: boolean;
}

/**
 * How late interrupts for sent frames are, in guest time: later than most answers, which make them superfluous, and so late that a host whose timers count
 * milliseconds can sleep until then, though a guest that is behind may see time go many times as fast while it rests. A driver that sends one frame after the
 * other and hears nothing has its buffers back sooner.
 */
const CONFIRM_NS = 10_000_000;
const SEVERAL = 8;
const CONFIRM_SEVERAL_NS = 2_000_000;
/** Frames that wait while the driver gives no buffers. */
const MOST_WAITING = 256;

const ownSchema = record({ filter: filterSchema, activePairs: integer(1, 256), offloads: unsigned(32), mac: list(unsigned(8), { length: 6 }) });

/** virtio-net ("VIRTIO", Network Device): address, status, control queue with filters, merged receive buffers, checksums and segmentation left undone, several queues. */
export class VirtioNetwork extends VirtioDevice {
  readonly #backend: NetworkBackend;
  readonly #mac: Uint8Array;
  readonly #pairs: number;
  readonly #filter = new ReceiveFilter();
  readonly #steering = new Steering();
  readonly #waiting: { readonly frame: Uint8Array; readonly offload: FrameOffload | undefined }[][];
  /** Buffers taken for a frame that needs more than there are, by queue. */
  readonly #gathered: Chain[][];
  readonly #frame = new Uint8Array(MAX_FRAME_BYTES + NetHeader.BYTES);
  readonly #header = new Uint8Array(NetHeader.BYTES);
  readonly #view = new DataView(this.#header.buffer);
  readonly #mtu: number;
  #activePairs = 1;
  #offloads = 0;
  #linkUp = true;
  #confirmation: Timer | undefined;
  #unconfirmed = false;
  /** Frames sent since one was delivered: the driver has not been made to look for them. */
  #unheard = 0;

  constructor(options: VirtioNetworkOptions) {
    const { name = 'virtio-net', pairs = 1, queueSize = 256, packed = false, mtu, backend, mac } = options;
    if (mac.length !== 6 || mac[0]! & 1) throw new DeviceError('bad-option', `${name}: a MAC address has six bytes, the first of them even`);
    if (pairs < 1 || pairs > 256) throw new DeviceError('bad-option', `${name}: ${pairs} pairs of queues; there can be 1 to 256`);
    super({
      name,
      type: VirtioType.NET,
      queues: [...Array.from({ length: 2 * pairs }, () => queueSize), 64],
      features: featuresOf(backend, pairs, mtu),
      configBytes: NetConfig.BYTES,
      packed,
    });
    this.#backend = backend;
    this.#mac = mac.slice();
    this.#pairs = pairs;
    this.#mtu = mtu ?? 0;
    this.#gathered = Array.from({ length: 2 * pairs }, () => []);
    this.#waiting = Array.from({ length: pairs }, () => []);
    backend.receiver = (frame, offload) => this.#receive(frame, offload);
    this.stopped();
  }

  /** Plugs the cable in or out. */
  setLink(up: boolean): void {
    this.#linkUp = up;
    this.#setStatus(up ? NetStatus.LINK_UP : 0);
    this.configChanged();
  }

  protected override started(): void {
    // Which interrupts were still owed is not saved: one too many does no harm.
    if (this.#unconfirmed) for (let pair = 0; pair < this.#pairs; pair++) if (this.queues[2 * pair + 1]!.enabled) this.interrupt(2 * pair + 1);
    this.#unconfirmed = false;
    this.#tellOffloads(this.#offloads === 0 ? this.accepted[0]! : this.#offloads);
  }

  protected override stopped(): void {
    const view = new DataView(this.config.buffer);
    this.config.set(this.#mac, NetConfig.MAC);
    this.#setStatus(this.#linkUp ? NetStatus.LINK_UP : 0);
    view.setUint16(NetConfig.MAX_PAIRS, this.#pairs, true);
    view.setUint16(NetConfig.MTU, this.#mtu, true);
    this.#filter.reset();
    this.#steering.reset();
    this.#activePairs = 1;
    this.#offloads = 0;
    this.#confirmation?.cancel();
    this.#unconfirmed = false;
    for (const chains of this.#gathered) chains.length = 0;
    for (const frames of this.#waiting) frames.length = 0;
    this.#backend.guest = { checksum: false, segments: false };
  }

  protected override notified(queue: Virtqueue): void {
    const control = this.negotiated(NetFeature.MQ) ? 2 * this.#pairs : 2;
    if (queue.index === control && this.negotiated(NetFeature.CTRL_VQ)) this.#control(queue);
    else if (queue.index >= 2 * this.#pairs) return;
    else if (queue.index % 2 === 1) this.#transmit(queue);
    else this.#flush(queue);
  }

  protected override resume(queue: Virtqueue, chains: readonly Chain[]): void {
    if (queue.index % 2 === 0 && queue.index < 2 * this.#pairs) this.#gathered[queue.index]!.push(...chains);
  }

  protected override saveOwn(): unknown {
    return { filter: this.#filter.save(), activePairs: this.#activePairs, offloads: this.#offloads, mac: [...this.config.subarray(0, 6)] };
  }

  protected override loadOwn(saved: unknown): void {
    const state = ownSchema.check(saved, `${this.name}.own`);
    this.#filter.load(state.filter);
    this.#activePairs = Math.min(state.activePairs, this.#pairs);
    this.#offloads = state.offloads;
    this.config.set(state.mac, NetConfig.MAC);
    this.#unconfirmed = true;
    // Switches must learn where the guest is now.
    if (this.negotiated(NetFeature.GUEST_ANNOUNCE)) this.#setStatus(NetStatus.LINK_UP | NetStatus.ANNOUNCE);
  }

  get #headerBytes(): number {
    return this.negotiated(VirtioFeature.VERSION_1) || this.negotiated(NetFeature.MRG_RXBUF) ? NetHeader.BYTES : NetHeader.LEGACY_BYTES;
  }

  // From the guest.

  #transmit(queue: Virtqueue): void {
    const headerBytes = this.#headerBytes;
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const length = chain.readableBytes - headerBytes;
      if (length < 0 || chain.writableBytes > 0) {
        this.violated('device-request', queue.index, `a frame of ${chain.readableBytes} bytes to read and ${chain.writableBytes} to write`);
        return;
      }
      if (length >= 14 && length <= MAX_FRAME_BYTES && this.#linkUp) this.#sendChain(queue, chain, headerBytes, length);
      queue.push(chain, 0);
      this.#unheard++;
    }
    this.#backend.flush?.();
    this.#confirm(queue);
  }

  /**
   * Tells of frames that were sent: late, since they are sent before the driver's write is over, and Linux looks for them by itself whenever it receives. An answer
   * that comes meanwhile makes the interrupt superfluous.
   */
  #confirm(queue: Virtqueue): void {
    const { clock } = this.carrier ?? {};
    const late = queue.publishLate();
    if (late > queue.size >> 2 || clock === undefined) queue.interruptLate();
    else if (late > 0) {
      this.#confirmation ??= clock.createTimer(`${this.name}/sent`, () => this.#confirmAll());
      const deadlineNs = clock.nowNs() + (this.#unheard < SEVERAL ? CONFIRM_NS : CONFIRM_SEVERAL_NS);
      if (deadlineNs < this.#confirmation.deadlineNs) this.#confirmation.arm(deadlineNs);
    }
  }

  #confirmAll(): void {
    for (let pair = 0; pair < this.#pairs; pair++) this.queues[2 * pair + 1]!.interruptLate();
  }

  #sendChain(queue: Virtqueue, chain: Chain, headerBytes: number, length: number): void {
    chain.read(0, this.#header.subarray(0, headerBytes));
    const offload = this.#readOffload(length);
    if (offload === null) return;
    let frame: Uint8Array = this.#frame.subarray(0, length);
    // A frame in one piece is not copied.
    chain.visitReadable(headerBytes, length, (bytes, done) => {
      if (bytes.length === length) frame = bytes;
      else frame.set(bytes, done);
    });
    if (this.#activePairs > 1) this.#steering.learn(frame, queue.index >> 1);
    this.#backend.send(frame, offload);
  }

  /** What the header of a frame leaves to do; null for one that the driver may not send. */
  #readOffload(length: number): FrameOffload | undefined | null {
    const flags = this.#header[NetHeader.FLAGS]!;
    const gso = this.#header[NetHeader.GSO_TYPE]!;
    if (!(flags & NetFlag.NEEDS_CSUM)) return gso === NetGso.NONE ? undefined : null;
    if (!this.negotiated(NetFeature.CSUM)) return null;
    const start = this.#view.getUint16(NetHeader.CSUM_START, true);
    const offset = this.#view.getUint16(NetHeader.CSUM_OFFSET, true);
    if (start + offset + 2 > length) return null;
    const checksum = { start, offset };
    if (gso === NetGso.NONE) return { checksum };
    const segmentBytes = this.#view.getUint16(NetHeader.GSO_SIZE, true);
    if ((gso & ~NetGso.ECN) !== NetGso.TCP4 || !this.negotiated(NetFeature.HOST_TSO4) || segmentBytes === 0) return null;
    return { checksum, segmentBytes };
  }

  // To the guest.

  #receive(frame: Uint8Array, offload: FrameOffload | undefined): void {
    if (!this.running || !this.#linkUp || frame.length > MAX_FRAME_BYTES) return;
    if (!this.#filter.accepts(frame, addressAt(this.config, NetConfig.MAC), this.negotiated(NetFeature.CTRL_VLAN))) return;
    const pair = this.#activePairs > 1 ? this.#steering.pairOf(frame) % this.#activePairs : 0;
    const queue = this.queues[2 * pair]!;
    if (!queue.enabled) return;
    const waiting = this.#waiting[pair]!;
    if (!this.frozen && waiting.length === 0 && this.#deliver(queue, frame, offload)) queue.publish();
    else if (waiting.length < MOST_WAITING) waiting.push({ frame: frame.slice(), offload });
  }

  /** New buffers: what waits for them. */
  #flush(queue: Virtqueue): void {
    const pair = queue.index >> 1;
    const waiting = this.#waiting[pair]!;
    let done = 0;
    while (done < waiting.length && this.#deliver(queue, waiting[done]!.frame, waiting[done]!.offload)) done++;
    waiting.splice(0, done);
    queue.publish();
  }

  /** Puts a frame into buffers; false when there are too few. A frame that can never fit is dropped. */
  #deliver(queue: Virtqueue, frame: Uint8Array, offload: FrameOffload | undefined): boolean {
    const chains = this.#gathered[queue.index]!;
    const needed = this.#headerBytes + frame.length;
    const merging = this.negotiated(NetFeature.MRG_RXBUF);
    let room = chains.reduce((sum, chain) => sum + chain.writableBytes, 0);
    while (room < needed && (merging || chains.length === 0)) {
      const chain = queue.pop();
      if (!chain) return !this.running;
      if (chain.writableBytes < this.#headerBytes || chain.readables > 0) {
        this.violated('device-request', queue.index, `a receive buffer of ${chain.writableBytes} bytes`);
        return true;
      }
      chains.push(chain);
      room += chain.writableBytes;
    }
    if (room < needed) return true;
    this.#fill(queue, chains.splice(0), frame, offload);
    this.#unheard = 0;
    return true;
  }

  #fill(queue: Virtqueue, chains: readonly Chain[], frame: Uint8Array, offload: FrameOffload | undefined): void {
    const headerBytes = this.#headerBytes;
    this.#writeHeader(chains.length, offload);
    const first = chains[0]!;
    first.write(0, this.#header.subarray(0, headerBytes));
    let done = first.write(headerBytes, frame);
    queue.push(first, headerBytes + done);
    for (const chain of chains.slice(1)) {
      const bytes = chain.write(0, frame.subarray(done));
      done += bytes;
      queue.push(chain, bytes);
    }
  }

  #writeHeader(buffers: number, offload: FrameOffload | undefined): void {
    this.#header.fill(0);
    this.#view.setUint16(NetHeader.BUFFERS, buffers, true);
    if (!offload?.checksum) return;
    this.#header[NetHeader.FLAGS] = NetFlag.NEEDS_CSUM;
    this.#view.setUint16(NetHeader.CSUM_START, offload.checksum.start, true);
    this.#view.setUint16(NetHeader.CSUM_OFFSET, offload.checksum.offset, true);
    if (!offload.segmentBytes) return;
    this.#header[NetHeader.GSO_TYPE] = NetGso.TCP4;
    this.#view.setUint16(NetHeader.GSO_SIZE, offload.segmentBytes, true);
    this.#view.setUint16(NetHeader.HEADER_LENGTH, offload.checksum.start + 20, true);
  }

  // The control queue.

  #control(queue: Virtqueue): void {
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      if (chain.readableBytes < 2 || chain.readableBytes > 65_536 || chain.writableBytes < 1) {
        this.violated('device-request', queue.index, `a command of ${chain.readableBytes} bytes to read and ${chain.writableBytes} to write`);
        return;
      }
      const command = new Uint8Array(chain.readableBytes);
      chain.read(0, command);
      chain.write(0, Uint8Array.of(this.#command(command[0]!, command[1]!, command.subarray(2))));
      queue.push(chain, 1);
    }
    queue.publish();
  }

  #command(kind: number, command: number, data: Uint8Array): number {
    const has = (bit: number): boolean => this.negotiated(bit);
    if (kind === NetControl.RX && has(command < 2 ? NetFeature.CTRL_RX : NetFeature.CTRL_RX_EXTRA)) return this.#filter.setMode(command, data);
    if (kind === NetControl.MAC && command === 0 && has(NetFeature.CTRL_RX)) return this.#filter.setAddresses(data);
    if (kind === NetControl.MAC && command === 1 && has(NetFeature.CTRL_MAC_ADDR) && data.length >= 6) {
      this.config.set(data.subarray(0, 6), NetConfig.MAC);
      return NetAck.OK;
    }
    if (kind === NetControl.VLAN && has(NetFeature.CTRL_VLAN)) return this.#filter.setVlan(command, data);
    if (kind === NetControl.ANNOUNCE && has(NetFeature.GUEST_ANNOUNCE) && command === 0) {
      this.#setStatus(this.#linkUp ? NetStatus.LINK_UP : 0);
      return NetAck.OK;
    }
    if (kind === NetControl.MQ && has(NetFeature.MQ) && command === 0 && data.length >= 2) return this.#setPairs(data[0]! | (data[1]! << 8));
    if (kind === NetControl.GUEST_OFFLOADS && has(NetFeature.CTRL_GUEST_OFFLOADS) && command === 0 && data.length >= 8)
      return this.#setOffloads(data);
    return NetAck.ERR;
  }

  #setPairs(pairs: number): number {
    if (pairs < 1 || pairs > this.#pairs) return NetAck.ERR;
    this.#activePairs = pairs;
    return NetAck.OK;
  }

  #setOffloads(data: Uint8Array): number {
    const wanted = new DataView(data.buffer, data.byteOffset).getUint32(0, true);
    if ((wanted & ~this.accepted[0]!) !== 0) return NetAck.ERR;
    // Bit 31 is no offload: it keeps "none" apart from "as negotiated".
    this.#offloads = (wanted | 0x8000_0000) >>> 0;
    this.#tellOffloads(wanted);
    return NetAck.OK;
  }

  #tellOffloads(bits: number): void {
    const has = (bit: number): boolean => ((bits >>> bit) & 1) === 1;
    this.#backend.guest = { checksum: has(NetFeature.GUEST_CSUM), segments: has(NetFeature.GUEST_TSO4) };
  }

  #setStatus(value: number): void {
    new DataView(this.config.buffer).setUint16(NetConfig.STATUS, value, true);
  }
}

function featuresOf(backend: NetworkBackend, pairs: number, mtu: number | undefined): number[] {
  const { MAC, STATUS, MRG_RXBUF, CTRL_VQ, CTRL_RX, CTRL_RX_EXTRA, CTRL_VLAN, CTRL_MAC_ADDR, GUEST_ANNOUNCE } = NetFeature;
  const features: number[] = [MAC, STATUS, MRG_RXBUF, CTRL_VQ, CTRL_RX, CTRL_RX_EXTRA, CTRL_VLAN, CTRL_MAC_ADDR, GUEST_ANNOUNCE];
  const { CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4, HOST_ECN, CTRL_GUEST_OFFLOADS } = NetFeature;
  if (backend.offloads) features.push(CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4, HOST_ECN, CTRL_GUEST_OFFLOADS);
  if (pairs > 1) features.push(NetFeature.MQ);
  if (mtu !== undefined) features.push(NetFeature.MTU);
  return features;
}
