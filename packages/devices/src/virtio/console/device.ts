import type { Width } from '@nestvm/bus';
import { DeviceError } from '../../errors.js';
import { count, flag, list, record, type Schema, unsigned } from '../../saved-state.js';
import { ByteQueue } from '../byte-queue.js';
import { VirtioDevice } from '../device.js';
import type { Virtqueue } from '../queue.js';
import { VirtioType } from '../registers.js';
import { CONTROL_BYTES, ConsoleConfig, ConsoleEvent, ConsoleFeature, ControlQueue } from './registers.js';

/** A port of a console device. */
export interface ConsolePort {
  /** Is a terminal (hvc0 …), not a plain channel. */
  readonly console?: boolean;
  /** Name that the guest sees (/dev/virtio-ports/NAME). */
  readonly name?: string;
  /**
   * Takes bytes from the guest, all of them; they are valid during the call. False: no more for now, until the device's `resumePort` is called.
   */
  readonly write: (bytes: Uint8Array) => boolean | void;
  /** The guest opened or closed the port. */
  readonly onOpen?: (open: boolean) => void;
}

/** A console device's ports and size. */
export interface VirtioConsoleOptions {
  /** Unit name (default `virtio-serial`). */
  readonly name?: string;
  /** At most 31; a port's place is its number, null leaves one out. */
  readonly ports: readonly (ConsolePort | null)[];
  readonly columns?: number;
  readonly rows?: number;
  readonly packed?: boolean;
}

/** Ports of a device. */
const MOST_PORTS = 31;

/** Bytes that wait for a guest that does not read; what comes beyond is refused. */
const WAITING_BYTES = 0x1_0000;

/** Most bytes of one buffer from the guest, whose descriptors may all name the same memory. */
const LONGEST_WRITE = 0x10_0000;

interface PortState {
  port: ConsolePort | null;
  /** The guest has it open; without MULTIPORT it always is. */
  open: boolean;
  /** The host takes no bytes for now. */
  blocked: boolean;
  readonly waiting: ByteQueue;
}

const ownSchema: Schema<{ ready: boolean; control: number[][]; ports: { open: boolean; waiting: number[] }[] }> = record({
  ready: flag,
  control: list(list(unsigned(8), { max: 1024 }), { max: 1024 }),
  ports: list(record({ open: flag, waiting: list(count, { max: WAITING_BYTES }) }), { max: MOST_PORTS }),
});

/** Receive and transmit queue of a port: ports after the first come behind the control queues. */
const receiveQueue = (port: number): number => (port === 0 ? 0 : 2 + 2 * port);

/** virtio-console ("VIRTIO", Console Device): several ports, size, emergency write. */
export class VirtioConsole extends VirtioDevice {
  private readonly ports: PortState[];
  private readonly size: { columns: number; rows: number };
  private control: number[][] = [];
  private ready = false;

  constructor(options: VirtioConsoleOptions) {
    const { ports, name = 'virtio-serial', packed = false } = options;
    if (ports.length < 1 || ports.length > MOST_PORTS)
      throw new DeviceError('bad-option', `${name}: ${ports.length} ports; a console device has 1 to ${MOST_PORTS}`);
    const features = [ConsoleFeature.SIZE, ConsoleFeature.MULTIPORT, ConsoleFeature.EMERG_WRITE];
    const queues = Array.from({ length: 2 * ports.length + 2 }, () => 64);
    super({ name, type: VirtioType.CONSOLE, queues, features, configBytes: ConsoleConfig.BYTES, packed });
    this.ports = ports.map((port) => ({ port, open: false, blocked: false, waiting: new ByteQueue(WAITING_BYTES) }));
    this.size = { columns: options.columns ?? 80, rows: options.rows ?? 24 };
    this.stopped();
  }

  /** Puts a port into a free place while the guest runs, and tells it; throws `DeviceError`. */
  plug(number: number, port: ConsolePort): void {
    const state = this.ports[number];
    if (!state) throw new DeviceError('bad-option', `${this.name}: there is no place ${number} for a port; there are ${this.ports.length}`);
    if (state.port) throw new DeviceError('duplicate', `${this.name}: two ports at place ${number}; give one another number`);
    state.port = port;
    if (this.ready) this.tell(number, ConsoleEvent.DEVICE_ADD, 0);
  }

  /** Takes a port out. */
  unplug(number: number): void {
    const state = this.ports[number];
    if (!state?.port) return;
    this.setOpen(number, false);
    this.resumePort(number);
    state.port = null;
    if (this.ready) this.tell(number, ConsoleEvent.DEVICE_REMOVE, 0);
  }

  /** Bytes for the guest; returns how many were taken. */
  receive(port: number, bytes: Uint8Array): number {
    const state = this.ports[port];
    if (!state?.port) return 0;
    const taken = state.waiting.push(bytes);
    this.deliver(port);
    return taken;
  }

  /** The host takes bytes of a port again, after `write` has returned false. */
  resumePort(port: number): void {
    const state = this.ports[port];
    if (!state?.blocked) return;
    state.blocked = false;
    const queue = this.queues[receiveQueue(port) + 1]!;
    if (this.running && queue.enabled) this.notified(queue);
  }

  /** The terminal has another size now. */
  resize(columns: number, rows: number): void {
    this.size.columns = columns & 0xffff;
    this.size.rows = rows & 0xffff;
    this.showSize();
    this.configChanged();
    if (this.ready) this.ports.forEach(({ port }, index) => port?.console && this.tellSize(index));
  }

  protected override stopped(): void {
    this.showSize();
    new DataView(this.config.buffer).setUint32(ConsoleConfig.MAX_PORTS, this.ports.length, true);
    this.control = [];
    this.ready = false;
    this.ports.forEach((state, index) => this.setOpen(index, false, state));
  }

  protected override configWritten(offset: number, _width: Width, value: number): void {
    if (offset === ConsoleConfig.EMERGENCY) this.ports[0]!.port?.write(Uint8Array.of(value & 0xff));
  }

  protected override started(): void {
    if (!this.negotiated(ConsoleFeature.MULTIPORT)) this.ports[0]!.open = true;
  }

  protected override notified(queue: Virtqueue): void {
    const { index } = queue;
    const multiport = this.negotiated(ConsoleFeature.MULTIPORT);
    if (multiport && index === ControlQueue.RECEIVE) this.sendControl();
    else if (multiport && index === ControlQueue.TRANSMIT) this.takeControl(queue);
    else if (index < 2 || multiport) {
      const port = index < 2 ? 0 : (index - 2) >> 1;
      if (index % 2 === 0) this.deliver(port);
      else this.transmit(queue, port);
    }
  }

  protected override saveOwn(): unknown {
    const { ready, control, ports } = this;
    return {
      ready,
      control: control.map((message) => [...message]),
      ports: ports.map(({ open, waiting }) => ({ open, waiting: waiting.contents() })),
    };
  }

  protected override loadOwn(saved: unknown): void {
    const state = ownSchema.check(saved, this.name);
    if (state.ports.length !== this.ports.length)
      throw new DeviceError('bad-state', `${this.name}: the snapshot has other ports; restore with the same options`);
    this.ready = state.ready;
    this.control = state.control;
    state.ports.forEach(({ open, waiting }, i) => {
      this.ports[i]!.open = open;
      this.ports[i]!.waiting.clear();
      this.ports[i]!.waiting.push(Uint8Array.from(waiting));
    });
  }

  private showSize(): void {
    const view = new DataView(this.config.buffer);
    view.setUint16(ConsoleConfig.COLUMNS, this.size.columns, true);
    view.setUint16(ConsoleConfig.ROWS, this.size.rows, true);
  }

  private setOpen(index: number, open: boolean, state: PortState | undefined = this.ports[index]): void {
    if (state === undefined || state.open === open) return;
    state.open = open;
    state.port?.onOpen?.(open);
    if (!open) state.waiting.clear();
  }

  private transmit(queue: Virtqueue, port: number): void {
    const state = this.ports[port];
    const write = (bytes: Uint8Array): void => {
      if (state?.port?.write(bytes) === false) state.blocked = true;
    };
    while (!state?.blocked) {
      const chain = queue.pop();
      if (chain === undefined) break;
      chain.visitReadable(0, Math.min(chain.readableBytes, LONGEST_WRITE), write);
      queue.push(chain, 0);
    }
    queue.publish();
  }

  /** Gives waiting bytes to the buffers that the guest has put up. */
  private deliver(port: number): void {
    const state = this.ports[port]!;
    const queue = this.queues[receiveQueue(port)]!;
    let delivered = false;
    while (state.waiting.length > 0 && state.open) {
      const chain = queue.pop();
      if (chain === undefined) break;
      queue.push(
        chain,
        state.waiting.take(chain.writableBytes, (bytes, done) => void chain.write(done, bytes)),
      );
      delivered = true;
    }
    if (delivered) queue.publish();
  }

  private tell(port: number, event: number, value: number, more: readonly number[] = []): void {
    const message = [port & 0xff, port >> 8, 0, 0, event, 0, value & 0xff, value >> 8, ...more];
    if (this.control.length < 1024) this.control.push(message);
    this.sendControl();
  }

  /** Columns before rows, as "VIRTIO", Console Device, has it; Linux read them the other way round before 6.15. */
  private tellSize(port: number): void {
    const { rows, columns } = this.size;
    this.tell(port, ConsoleEvent.RESIZE, 0, [columns & 0xff, columns >> 8, rows & 0xff, rows >> 8]);
  }

  private sendControl(): void {
    const queue = this.queues[ControlQueue.RECEIVE]!;
    let sent = false;
    while (this.control.length > 0) {
      const chain = queue.pop();
      if (chain === undefined) break;
      queue.push(chain, chain.write(0, Uint8Array.from(this.control.shift()!)));
      sent = true;
    }
    if (sent) queue.publish();
  }

  private takeControl(queue: Virtqueue): void {
    const bytes = new Uint8Array(CONTROL_BYTES);
    const view = new DataView(bytes.buffer);
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const whole = chain.read(0, bytes) === CONTROL_BYTES;
      queue.push(chain, 0);
      if (whole) this.controlled(view.getUint32(0, true), view.getUint16(4, true), view.getUint16(6, true));
    }
    queue.publish();
  }

  private controlled(port: number, event: number, value: number): void {
    const state = this.ports[port];
    if (event === ConsoleEvent.DEVICE_READY && value === 1) {
      this.ready = true;
      this.ports.forEach(({ port: present }, index) => present && this.tell(index, ConsoleEvent.DEVICE_ADD, 0));
    } else if (!state?.port) return;
    else if (event === ConsoleEvent.PORT_READY && value === 1) this.introduce(port, state.port);
    else if (event === ConsoleEvent.PORT_OPEN) {
      this.setOpen(port, value === 1);
      this.deliver(port);
    }
  }

  /** What the guest must know of a port that it has made ready. */
  private introduce(index: number, port: ConsolePort): void {
    if (port.console) {
      this.tell(index, ConsoleEvent.CONSOLE_PORT, 1);
      this.tellSize(index);
    }
    if (port.name !== undefined) this.tell(index, ConsoleEvent.PORT_NAME, 1, [...new TextEncoder().encode(port.name), 0]);
    this.tell(index, ConsoleEvent.PORT_OPEN, 1);
  }
}
