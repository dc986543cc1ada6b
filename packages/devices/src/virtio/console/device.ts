import type { Width } from '@nestvm/bus';
import { DeviceError } from '../../errors.js';
import { count, flag, list, record, type Schema, unsigned } from '../../saved-state.js';
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
  /** Takes bytes from the guest; they are valid during the call. */
  readonly write: (bytes: Uint8Array) => void;
  /** The guest opened or closed the port. */
  readonly onOpen?: (open: boolean) => void;
}

/** A console device's ports and size. */
export interface VirtioConsoleOptions {
  /** Unit name (default `virtio-serial`). */
  readonly name?: string;
  /** At most 31. */
  readonly ports: readonly ConsolePort[];
  readonly columns?: number;
  readonly rows?: number;
  readonly packed?: boolean;
}

/** Bytes that wait for a guest that does not read; what comes beyond is refused. */
const WAITING_BYTES = 0x1_0000;

interface PortState {
  readonly port: ConsolePort;
  /** The guest has it open; without MULTIPORT it always is. */
  open: boolean;
  readonly waiting: number[];
}

const ownSchema: Schema<{ ready: boolean; control: number[][]; ports: { open: boolean; waiting: number[] }[] }> = record({
  ready: flag,
  control: list(list(unsigned(8), { max: 1024 }), { max: 1024 }),
  ports: list(record({ open: flag, waiting: list(count, { max: WAITING_BYTES }) }), { max: 31 }),
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
    if (ports.length < 1 || ports.length > 31) throw new DeviceError('bad-option', `${name}: ${ports.length} ports; a console device has 1 to 31`);
    const features = [ConsoleFeature.SIZE, ConsoleFeature.MULTIPORT, ConsoleFeature.EMERG_WRITE];
    const queues = Array.from({ length: 2 * ports.length + 2 }, () => 64);
    super({ name, type: VirtioType.CONSOLE, queues, features, configBytes: ConsoleConfig.BYTES, packed });
    this.ports = ports.map((port) => ({ port, open: false, waiting: [] }));
    this.size = { columns: options.columns ?? 80, rows: options.rows ?? 24 };
    this.stopped();
  }

  /** Bytes for the guest; returns how many were taken. */
  receive(port: number, bytes: Uint8Array): number {
    const state = this.ports[port];
    if (state === undefined) return 0;
    const taken = Math.min(bytes.length, WAITING_BYTES - state.waiting.length);
    for (let i = 0; i < taken; i++) state.waiting.push(bytes[i]!);
    this.deliver(port);
    return taken;
  }

  /** The terminal has another size now. */
  resize(columns: number, rows: number): void {
    this.size.columns = columns & 0xffff;
    this.size.rows = rows & 0xffff;
    this.showSize();
    this.configChanged();
    if (!this.ready) return;
    const first = this.ports.findIndex(({ port }) => port.console);
    if (first >= 0)
      this.tell(first, ConsoleEvent.RESIZE, 0, [this.size.rows & 0xff, this.size.rows >> 8, this.size.columns & 0xff, this.size.columns >> 8]);
  }

  protected override stopped(): void {
    this.showSize();
    new DataView(this.config.buffer).setUint32(ConsoleConfig.MAX_PORTS, this.ports.length, true);
    this.control = [];
    this.ready = false;
    this.ports.forEach((state, index) => this.setOpen(index, false, state));
  }

  protected override configWritten(offset: number, _width: Width, value: number): void {
    if (offset === ConsoleConfig.EMERGENCY) this.ports[0]!.port.write(Uint8Array.of(value & 0xff));
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
    return { ready, control: control.map((message) => [...message]), ports: ports.map(({ open, waiting }) => ({ open, waiting: [...waiting] })) };
  }

  protected override loadOwn(saved: unknown): void {
    const state = ownSchema.check(saved, this.name);
    if (state.ports.length !== this.ports.length)
      throw new DeviceError('bad-state', `${this.name}: the snapshot has other ports; restore with the same options`);
    this.ready = state.ready;
    this.control = state.control;
    state.ports.forEach(({ open, waiting }, i) => {
      this.ports[i]!.open = open;
      this.ports[i]!.waiting.length = 0;
      for (const byte of waiting) this.ports[i]!.waiting.push(byte & 0xff);
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
    state.port.onOpen?.(open);
    if (!open) state.waiting.length = 0;
  }

  private transmit(queue: Virtqueue, port: number): void {
    const state = this.ports[port];
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      chain.visitReadable(0, Math.min(chain.readableBytes, 0x10_0000), (bytes) => state?.port.write(bytes));
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
      const bytes = Uint8Array.from(state.waiting.splice(0, Math.min(state.waiting.length, chain.writableBytes)));
      queue.push(chain, chain.write(0, bytes));
      delivered = true;
    }
    if (delivered) queue.publish();
  }

  private tell(port: number, event: number, value: number, more: readonly number[] = []): void {
    const message = [port & 0xff, port >> 8, 0, 0, event, 0, value & 0xff, value >> 8, ...more];
    if (this.control.length < 1024) this.control.push(message);
    this.sendControl();
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
      this.ports.forEach((_, index) => this.tell(index, ConsoleEvent.DEVICE_ADD, 0));
    } else if (state === undefined) return;
    else if (event === ConsoleEvent.PORT_READY && value === 1) this.introduce(port, state.port);
    else if (event === ConsoleEvent.PORT_OPEN) {
      this.setOpen(port, value === 1);
      this.deliver(port);
    }
  }

  /** What the guest must know of a port that it has made ready. */
  private introduce(index: number, port: ConsolePort): void {
    if (port.console) this.tell(index, ConsoleEvent.CONSOLE_PORT, 1);
    if (port.name !== undefined) this.tell(index, ConsoleEvent.PORT_NAME, 1, [...new TextEncoder().encode(port.name), 0]);
    this.tell(index, ConsoleEvent.PORT_OPEN, 1);
  }
}
