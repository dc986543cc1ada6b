import { DeviceError } from '../../errors.js';
import { flag, record, type Schema } from '../../saved-state.js';
import { VirtioDevice } from '../device.js';
import type { Virtqueue } from '../queue.js';
import { VirtioType } from '../registers.js';
import type { Chain } from '../ring/chain.js';
import type { VsockBackend, VsockConnection, VsockPeer } from './backend.js';
import { Connection, type VsockOwner } from './connection.js';
import { emptyPacket, readPacket, type VsockPacket, writePacket } from './packet.js';
import { TRANSPORT_RESET, VsockFeature, VsockHeader, VsockOperation, VsockQueue, VsockShutdown } from './registers.js';

/** A socket device's address and host. */
export interface VirtioVsockOptions {
  /** Unit name (default `virtio-vsock`). */
  readonly name?: string;
  /** The guest's identifier: 3 to 0xfffffffe. */
  readonly guestCid: number;
  /** Who answers when the guest connects (default: nobody). */
  readonly backend?: VsockBackend;
  readonly packed?: boolean;
}

/** Connections at a time, and packets without bytes that may wait for the guest: beyond, it is not listened to. */
const MOST_CONNECTIONS = 1024;
const MOST_WORDS = 1024;
/** Ports that the host connects from. */
const FIRST_PORT = 0x4000_0000;

const ownSchema: Schema<{ connected: boolean }> = record({ connected: flag });

/** virtio-vsock ("VIRTIO", Socket Device): stream sockets between guest and host, with credit in both directions. */
export class VirtioVsock extends VirtioDevice implements VsockOwner {
  readonly guestCid: number;
  private readonly backend: VsockBackend | undefined;
  /** Connections by the host's port, then by the guest's. */
  private readonly connections = new Map<number, Map<number, Connection>>();
  private count = 0;
  private nextPort = FIRST_PORT;
  private readonly words: VsockPacket[] = [];
  private readonly talkers = new Set<Connection>();
  private lost = false;
  private pumping = false;
  private readonly header = new Uint8Array(VsockHeader.BYTES);
  private readonly view = new DataView(this.header.buffer);
  /** The packet that has come, and the one that goes: an answer may go out while the other is being looked at. */
  private readonly arrived = emptyPacket();
  private readonly leaving = emptyPacket();

  constructor({ name = 'virtio-vsock', guestCid, backend, packed = false }: VirtioVsockOptions) {
    if (!Number.isInteger(guestCid) || guestCid < 3 || guestCid > 0xffff_fffe)
      throw new DeviceError('bad-option', `${name}: guest-cid ${guestCid} cannot be; use 3 to 4294967294`);
    super({ name, type: VirtioType.VSOCK, queues: [128, 128, 16], features: [VsockFeature.STREAM], configBytes: 8, packed });
    this.guestCid = guestCid;
    this.backend = backend;
    new DataView(this.config.buffer).setUint32(0, guestCid, true);
  }

  /** Asks the guest for a connection to one of its ports; `peer` hears whether it is opened or closed. Nothing: there are too many. */
  dial(guestPort: number, peer: VsockPeer): VsockConnection | undefined {
    if (!this.running || this.count >= MOST_CONNECTIONS) return undefined;
    while (this.find(this.nextPort, guestPort)) this.advancePort();
    const connection = this.add(guestPort, this.nextPort);
    this.advancePort();
    connection.peer = peer;
    this.tell(connection, VsockOperation.REQUEST);
    return connection;
  }

  tell(connection: Connection, operation: number, flags = 0): void {
    const { guestPort, hostPort } = connection;
    const packet = { ...emptyPacket(), guestPort, hostPort, operation, flags };
    connection.mark(packet);
    this.words.push(packet);
    this.pump();
  }

  ready(connection: Connection): void {
    this.talkers.add(connection);
    this.pump();
  }

  drop(connection: Connection): void {
    const { guestPort, hostPort } = connection;
    const ofPort = this.connections.get(hostPort);
    if (ofPort?.get(guestPort) !== connection) return;
    ofPort.delete(guestPort);
    if (ofPort.size === 0) this.connections.delete(hostPort);
    this.talkers.delete(connection);
    this.count--;
  }

  protected override stopped(): void {
    this.words.length = 0;
    for (const ofPort of this.connections.values()) for (const connection of ofPort.values()) connection.discard();
  }

  protected override started(): void {
    if (this.lost) this.announceLoss();
  }

  protected override notified(queue: Virtqueue): void {
    if (queue.index === VsockQueue.TRANSMIT) this.transmit(queue);
    else if (queue.index === VsockQueue.EVENT) this.announceLoss();
    else {
      this.pump();
      this.transmit(this.queues[VsockQueue.TRANSMIT]!);
    }
  }

  /** The host's ends cannot be saved: the guest is told that they are gone ("VIRTIO", Socket Device: Device Events). */
  protected override saveOwn(): unknown {
    return { connected: this.count > 0 || this.lost };
  }

  protected override loadOwn(saved: unknown): void {
    this.lost = ownSchema.check(saved, this.name).connected;
  }

  private announceLoss(): void {
    const queue = this.queues[VsockQueue.EVENT]!;
    const chain = this.lost && queue.enabled ? queue.pop() : undefined;
    if (chain === undefined) return;
    this.lost = false;
    queue.complete(chain, chain.write(0, Uint8Array.of(TRANSPORT_RESET, 0, 0, 0)));
  }

  private find(hostPort: number, guestPort: number): Connection | undefined {
    return this.connections.get(hostPort)?.get(guestPort);
  }

  private add(guestPort: number, hostPort: number): Connection {
    const connection = new Connection(this, guestPort, hostPort);
    let ofPort = this.connections.get(hostPort);
    if (ofPort === undefined) this.connections.set(hostPort, (ofPort = new Map<number, Connection>()));
    ofPort.set(guestPort, connection);
    this.count++;
    return connection;
  }

  private advancePort(): void {
    this.nextPort = this.nextPort >= 0xffff_fffe ? FIRST_PORT : this.nextPort + 1;
  }

  /** Takes packets from the guest, as long as answers to them find room. */
  private transmit(queue: Virtqueue): void {
    if (!queue.enabled) return;
    while (this.words.length < MOST_WORDS) {
      const chain = queue.pop();
      if (chain === undefined) break;
      if (chain.read(0, this.header) < VsockHeader.BYTES || this.view.getUint32(VsockHeader.LENGTH, true) > chain.readableBytes - VsockHeader.BYTES) {
        this.violated('device-request', queue.index, `a packet of ${chain.readableBytes} bytes is shorter than its header says`);
        return;
      }
      this.receive(chain);
      queue.push(chain, 0);
    }
    queue.publish();
  }

  private receive(chain: Chain): void {
    const { arrived: packet } = this;
    const addressing = readPacket(this.view, this.guestCid, packet);
    // Packets under another name are dropped, those for nobody here refused ("VIRTIO", Socket Device: Device Operation).
    if (addressing === 'other-source') return;
    const connection = addressing === 'good' ? this.find(packet.hostPort, packet.guestPort) : undefined;
    if (addressing !== 'good' || (connection === undefined && packet.operation !== VsockOperation.REQUEST)) this.refuse(packet);
    else if (connection === undefined) this.accept(packet);
    else {
      connection.heard(packet);
      this.operate(connection, packet, chain);
    }
  }

  /** RST to a packet that belongs to no connection; never to an RST. */
  private refuse({ operation, guestPort, hostPort }: VsockPacket): void {
    if (operation === VsockOperation.RST) return;
    this.words.push({ ...emptyPacket(), guestPort, hostPort, operation: VsockOperation.RST });
    this.pump();
  }

  private accept(packet: VsockPacket): void {
    if (this.backend === undefined || this.count >= MOST_CONNECTIONS) {
      this.refuse(packet);
      return;
    }
    const connection = this.add(packet.guestPort, packet.hostPort);
    connection.heard(packet);
    const peer = this.backend.connect(packet.hostPort, connection);
    if (peer instanceof Promise) void peer.catch(() => undefined).then((found) => this.gate.pass(() => this.answer(connection, found)));
    else this.answer(connection, peer);
  }

  private answer(connection: Connection, peer: VsockPeer | undefined): void {
    if (connection.state !== 'asking') peer?.close();
    else if (peer === undefined) connection.reset();
    else {
      connection.peer = peer;
      connection.state = 'open';
      this.tell(connection, VsockOperation.RESPONSE);
      if (connection.waiting.length > 0) this.ready(connection);
    }
  }

  private operate(connection: Connection, { operation, flags, length }: VsockPacket, chain: Chain): void {
    const { peer } = connection;
    if (operation === VsockOperation.RST) connection.discard();
    else if (operation === VsockOperation.RESPONSE && connection.state === 'asking' && peer) {
      connection.state = 'open';
      peer.opened?.();
      if (connection.waiting.length > 0) this.ready(connection);
    } else if (connection.state !== 'open') connection.reset();
    else if (operation === VsockOperation.RW) {
      if (connection.take(length)) chain.visitReadable(VsockHeader.BYTES, length, (bytes) => peer?.write(bytes));
      else connection.reset();
    } else if (operation === VsockOperation.SHUTDOWN && (flags & VsockShutdown.BOTH) !== 0) connection.shut(flags);
    else if (operation === VsockOperation.CREDIT_REQUEST) this.tell(connection, VsockOperation.CREDIT_UPDATE);
    else if (operation !== VsockOperation.CREDIT_UPDATE) connection.reset();
  }

  /** Sends what waits, as far as the guest has put up buffers: words first, then bytes, each connection in turn. */
  private pump(): void {
    const queue = this.queues[VsockQueue.RECEIVE]!;
    if (this.pumping || !queue.enabled) return;
    this.pumping = true;
    while (this.running && (this.words.length > 0 || this.talkers.size > 0) && this.sendNext(queue));
    this.pumping = false;
    queue.publish();
  }

  /** Sends one packet; false when the guest has no buffer for it. */
  private sendNext(queue: Virtqueue): boolean {
    const word = this.words[0];
    const talker = word ? undefined : this.nextTalker();
    if (word === undefined && talker === undefined) return false;
    const chain = queue.pop();
    if (chain === undefined) return false;
    const room = chain.writableBytes - VsockHeader.BYTES;
    if (room < 0 || (talker && room === 0)) {
      this.violated('device-request', queue.index, `a buffer of ${chain.writableBytes} bytes is too small for a packet`);
      return false;
    }
    if (word) {
      this.words.shift();
      writePacket(this.view, this.guestCid, word);
      queue.push(chain, chain.write(0, this.header));
    } else this.sendBytes(queue, chain, talker!, room);
    return true;
  }

  private sendBytes(queue: Virtqueue, chain: Chain, talker: Connection, room: number): void {
    const { leaving: packet } = this;
    const { waiting, guestPort, hostPort } = talker;
    packet.guestPort = guestPort;
    packet.hostPort = hostPort;
    packet.operation = VsockOperation.RW;
    packet.flags = 0;
    packet.length = Math.min(room, waiting.length, talker.credit);
    talker.mark(packet);
    writePacket(this.view, this.guestCid, packet);
    chain.write(0, this.header);
    const { length } = packet;
    waiting.take(length, (bytes, done) => void chain.write(VsockHeader.BYTES + done, bytes));
    queue.push(chain, VsockHeader.BYTES + length);
    this.talkers.delete(talker);
    if (waiting.length > 0) this.talkers.add(talker);
    talker.passed(length);
  }

  /** The first connection that may send; those that may not leave the line until the guest says more. */
  private nextTalker(): Connection | undefined {
    for (const talker of this.talkers) {
      if (talker.state === 'open' && talker.waiting.length > 0 && talker.credit > 0) return talker;
      this.talkers.delete(talker);
    }
    return undefined;
  }
}
