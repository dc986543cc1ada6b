import { MouseCommand, Ps2Command, Ps2Reply } from './registers.js';
import type { SavedMouse } from './state.js';

const QUEUE_BYTES = 64;
/** Three sample rates in a row turn on the wheel (id 3) and then the side buttons (id 4): the IntelliMouse convention. */
const KNOCKS: readonly [rates: readonly number[], id: 3 | 4][] = [
  [[200, 100, 80], 3],
  [[200, 200, 80], 4],
];

/** A PS/2 mouse with the IntelliMouse extensions ("IBM PS/2 Technical Reference", "Mouse"; "Microsoft IntelliMouse"). */
export class Ps2Mouse {
  /** Bytes on their way to the controller. */
  queue: number[] = [];
  #id = 0;
  #enabled = false;
  #remote = false;
  #wrap = false;
  #scaling2 = false;
  #resolution = 2;
  #rate = 100;
  #rates: number[] = [];
  #expecting = 0;
  #buttons = 0;
  #dx = 0;
  #dy = 0;
  #dz = 0;

  /** `changed` is called when bytes have been queued. */
  constructor(readonly changed: () => void) {}

  reset(): void {
    this.queue = [];
    this.#id = 0;
    this.#expecting = 0;
    this.#rates = [];
    this.#wrap = false;
    this.#defaults();
  }

  /** Movement since the last event in counts (x right, y down, wheel down), and the buttons: 1 left, 2 right, 4 middle, 8 and 16 side. */
  move(dx: number, dy: number, wheel: number, buttons: number): void {
    const limit = (value: number) => Math.max(-100_000, Math.min(100_000, Math.trunc(value) || 0));
    this.#dx = limit(this.#dx + dx);
    this.#dy = limit(this.#dy - dy);
    this.#dz = limit(this.#dz + wheel);
    const clicked = (buttons & 31) !== this.#buttons;
    this.#buttons = buttons & 31;
    if (!this.#enabled || this.#remote) return;
    let first = clicked;
    while ((first || this.#dx !== 0 || this.#dy !== 0 || this.#dz !== 0) && this.queue.length + 4 <= QUEUE_BYTES) {
      this.#packet();
      first = false;
    }
    this.changed();
  }

  /** The next byte for the controller, or -1. */
  take(): number {
    return this.queue.shift() ?? -1;
  }

  /** A byte from the controller. */
  write(byte: number): void {
    if (this.#wrap && byte !== MouseCommand.RESET_WRAP && byte !== Ps2Command.RESET) this.#reply(byte);
    else if (this.#expecting !== 0) this.#argument(byte);
    else this.#command(byte);
    this.changed();
  }

  save(): SavedMouse {
    return {
      queue: [...this.queue],
      id: this.#id,
      enabled: this.#enabled,
      remote: this.#remote,
      wrap: this.#wrap,
      scaling2: this.#scaling2,
      resolution: this.#resolution,
      rate: this.#rate,
      rates: [...this.#rates],
      expecting: this.#expecting,
      buttons: this.#buttons,
      moved: [this.#dx, this.#dy, this.#dz],
    };
  }

  load(saved: SavedMouse): void {
    this.queue = saved.queue;
    this.#id = saved.id;
    this.#enabled = saved.enabled;
    this.#remote = saved.remote;
    this.#wrap = saved.wrap;
    this.#scaling2 = saved.scaling2;
    this.#resolution = saved.resolution;
    this.#rate = saved.rate;
    this.#rates = saved.rates;
    this.#expecting = saved.expecting;
    this.#buttons = saved.buttons;
    [this.#dx, this.#dy, this.#dz] = saved.moved as [number, number, number];
  }

  #reply(...bytes: number[]): void {
    if (this.queue.length < 4 * QUEUE_BYTES) this.queue.push(...bytes);
  }

  #defaults(): void {
    this.#rate = 100;
    this.#resolution = 2;
    this.#scaling2 = this.#remote = this.#enabled = false;
    this.#dx = this.#dy = this.#dz = 0;
  }

  #packet(): void {
    const step = (value: number, least: number, most: number) => Math.max(least, Math.min(most, value));
    const dx = step(this.#dx, -255, 255);
    const dy = step(this.#dy, -255, 255);
    this.#dx -= dx;
    this.#dy -= dy;
    const bytes = [0x08 | (this.#buttons & 7) | (dx < 0 ? 0x10 : 0) | (dy < 0 ? 0x20 : 0), dx & 0xff, dy & 0xff];
    const dz = step(this.#dz, this.#id === 3 ? -127 : -7, this.#id === 3 ? 127 : 7);
    this.#dz -= this.#id === 0 ? this.#dz : dz;
    if (this.#id === 3) bytes.push(dz & 0xff);
    else if (this.#id === 4) bytes.push((dz & 0x0f) | ((this.#buttons & 0x18) << 1));
    this.queue.push(...bytes);
  }

  #command(byte: number): void {
    if (byte === MouseCommand.SET_RESOLUTION || byte === Ps2Command.SET_RATE) this.#expecting = byte;
    if (!this.#simple(byte)) return this.#reply(Ps2Reply.RESEND);
    if (byte === Ps2Command.RESET || byte === Ps2Command.SET_DEFAULTS || byte === Ps2Command.DISABLE) this.queue = [];
    this.#reply(Ps2Reply.ACK);
    if (byte === Ps2Command.RESET) this.#reply(Ps2Reply.SELF_TEST_PASSED, 0);
    else if (byte === Ps2Command.IDENTIFY) this.#reply(this.#id);
    else if (byte === MouseCommand.STATUS) this.#reply(this.#status(), this.#resolution, this.#rate);
    else if (byte === MouseCommand.READ_DATA) this.#packet();
  }

  /** What a command changes; false for a command that is none. */
  #simple(byte: number): boolean {
    switch (byte) {
      case MouseCommand.SCALING_1:
      case MouseCommand.SCALING_2:
        this.#scaling2 = byte === MouseCommand.SCALING_2;
        return true;
      case MouseCommand.STREAM:
      case MouseCommand.REMOTE:
        this.#remote = byte === MouseCommand.REMOTE;
        return true;
      case MouseCommand.SET_WRAP:
      case MouseCommand.RESET_WRAP:
        this.#wrap = byte === MouseCommand.SET_WRAP;
        return true;
      case Ps2Command.ENABLE:
      case Ps2Command.DISABLE:
        this.#enabled = byte === Ps2Command.ENABLE;
        return true;
      case Ps2Command.SET_DEFAULTS:
        this.#defaults();
        return true;
      case Ps2Command.RESET:
        this.reset();
        return true;
      default:
        return [MouseCommand.SET_RESOLUTION, Ps2Command.SET_RATE, Ps2Command.IDENTIFY, MouseCommand.STATUS, MouseCommand.READ_DATA].includes(
          byte as never,
        );
    }
  }

  #status(): number {
    const buttons = (this.#buttons & 1 ? 4 : 0) | (this.#buttons & 4 ? 2 : 0) | (this.#buttons & 2 ? 1 : 0);
    return buttons | (this.#scaling2 ? 0x10 : 0) | (this.#enabled ? 0x20 : 0) | (this.#remote ? 0x40 : 0);
  }

  #argument(byte: number): void {
    const command = this.#expecting;
    this.#expecting = 0;
    if (command === MouseCommand.SET_RESOLUTION) this.#resolution = byte & 3;
    else this.#setRate(byte);
    this.#reply(Ps2Reply.ACK);
  }

  #setRate(rate: number): void {
    this.#rate = rate;
    this.#rates = [...this.#rates, rate].slice(-3);
    for (const [rates, id] of KNOCKS) if (rates.every((value, index) => value === this.#rates[index])) this.#id = id;
  }
}
