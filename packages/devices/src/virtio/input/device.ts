import type { Width } from '@nestvm/bus';
import { count, list, record } from '../../saved-state.js';
import { VirtioDevice } from '../device.js';
import type { Virtqueue } from '../queue.js';
import { VirtioType } from '../registers.js';
import { type InputKind, type InputProfile, inputProfiles } from './profiles.js';
import {
  Axis,
  BUS_VIRTUAL,
  type ButtonName,
  buttons,
  EVENT_BYTES,
  EventType,
  InputConfig,
  InputQueue,
  InputSelect,
  keyNumbers,
  MOST_POSITION,
} from './registers.js';

/** Something that a person does. */
export type InputEvent =
  /** A key, under its `KeyboardEvent.code` name. */
  | { readonly kind: 'key'; readonly key: string; readonly down: boolean }
  | { readonly kind: 'button'; readonly button: ButtonName; readonly down: boolean }
  /** The mouse moves to the right and down. */
  | { readonly kind: 'move'; readonly dx: number; readonly dy: number }
  /** Away from the person: positive. */
  | { readonly kind: 'wheel'; readonly steps: number }
  /** A place on the screen, from 0 to 32767 on both axes. */
  | { readonly kind: 'place'; readonly x?: number; readonly y?: number };

/** What an input device is. */
export interface VirtioInputOptions {
  readonly kind: InputKind;
  /** Unit name (default by the kind, as `virtio-keyboard`). */
  readonly name?: string;
  /** What the guest is told as its serial number (default none). */
  readonly serial?: string;
  readonly packed?: boolean;
  /** The guest switches a light: 0 is Num Lock, 1 Caps Lock, 2 Scroll Lock. */
  readonly onLight?: (light: number, on: boolean) => void;
}

/** Events that wait for a guest; whole reports beyond are lost. */
const MOST_WAITING = 512;

type Triple = readonly [type: number, code: number, value: number];

const ownSchema = record({ waiting: list(list(count, { length: 3 }), { max: MOST_WAITING }) });

/** virtio-input ("VIRTIO", Input Device): a keyboard, a mouse or a tablet. */
export class VirtioInput extends VirtioDevice {
  private readonly profile: InputProfile;
  private readonly serial: string;
  private readonly onLight: VirtioInputOptions['onLight'];
  private waiting: Triple[] = [];

  constructor({ kind, name = `virtio-${kind}`, serial = '', packed = false, onLight }: VirtioInputOptions) {
    super({ name, type: VirtioType.INPUT, queues: [64, 64], features: [], configBytes: InputConfig.BYTES, packed });
    this.profile = inputProfiles[kind];
    this.serial = serial;
    this.onLight = onLight;
  }

  /** Reports what happens at the same time; false when nothing of it is for a device of this kind. */
  report(events: readonly InputEvent[]): boolean {
    const triples = events.flatMap((event) => this.triplesOf(event)).filter(([type, code]) => this.profile.codes[type]?.includes(code));
    if (triples.length === 0) return false;
    if (!this.running || this.waiting.length + triples.length >= MOST_WAITING) return true;
    this.waiting.push(...triples, [EventType.SYN, 0, 0]);
    this.deliver();
    return true;
  }

  protected override stopped(): void {
    this.config.fill(0);
    this.waiting = [];
  }

  protected override notified(queue: Virtqueue): void {
    if (queue.index === InputQueue.EVENTS) this.deliver();
    else this.takeStatus(queue);
  }

  /** What is asked, and with it the answer. */
  protected override configWritten(offset: number, width: Width, value: number): void {
    for (let i = 0; i < width; i++) if (offset + i <= InputConfig.SUBSEL) this.config[offset + i] = (value >>> (8 * i)) & 0xff;
    const answer = this.answer(this.config[InputConfig.SELECT]!, this.config[InputConfig.SUBSEL]!);
    this.config[InputConfig.SIZE] = answer.length;
    this.config.fill(0, InputConfig.DATA);
    this.config.set(answer, InputConfig.DATA);
  }

  protected override saveOwn(): unknown {
    // Values may be negative: they are saved as they travel.
    return { waiting: this.waiting.map(([type, code, value]) => [type, code, value >>> 0]) };
  }

  protected override loadOwn(saved: unknown): void {
    this.waiting = ownSchema.check(saved, this.name).waiting.map(([type, code, value]): Triple => [type! & 0xffff, code! & 0xffff, value! | 0]);
  }

  protected override started(): void {
    this.deliver();
  }

  private answer(select: number, subsel: number): Uint8Array {
    const { profile } = this;
    switch (select) {
      case InputSelect.ID_NAME:
        return text(profile.title);
      case InputSelect.ID_SERIAL:
        return text(this.serial);
      case InputSelect.ID_DEVIDS:
        return new Uint8Array(Uint16Array.of(BUS_VIRTUAL, 0x1af4, profile.product, 1).buffer);
      case InputSelect.PROP_BITS:
        return subsel === 0 ? bitmap(profile.properties) : new Uint8Array(0);
      case InputSelect.EV_BITS:
        return bitmap(profile.codes[subsel] ?? []);
      case InputSelect.ABS_INFO: {
        const most = profile.positions[subsel];
        return most === undefined ? new Uint8Array(0) : new Uint8Array(Uint32Array.of(0, most, 0, 0, 0).buffer);
      }
      default:
        return new Uint8Array(0);
    }
  }

  private triplesOf(event: InputEvent): Triple[] {
    switch (event.kind) {
      case 'key': {
        const number = keyNumbers.get(event.key);
        return number === undefined ? [] : [[EventType.KEY, number, event.down ? 1 : 0]];
      }
      case 'button':
        return [[EventType.KEY, buttons[event.button], event.down ? 1 : 0]];
      case 'move':
        return [moved(Axis.X, event.dx), moved(Axis.Y, event.dy)].filter(([, , value]) => value !== 0);
      case 'wheel':
        return [moved(Axis.WHEEL, event.steps)];
      default:
        return [...placed(Axis.X, event.x), ...placed(Axis.Y, event.y)];
    }
  }

  private deliver(): void {
    const queue = this.queues[InputQueue.EVENTS]!;
    const bytes = new Uint8Array(EVENT_BYTES);
    const view = new DataView(bytes.buffer);
    let sent = false;
    while (this.waiting.length > 0) {
      const chain = queue.pop();
      if (chain === undefined) break;
      if (chain.writableBytes < EVENT_BYTES) {
        this.violated('device-request', queue.index, `${chain.writableBytes} bytes for an event of ${EVENT_BYTES}`);
        return;
      }
      const [type, code, value] = this.waiting.shift()!;
      view.setUint16(0, type, true);
      view.setUint16(2, code, true);
      view.setInt32(4, value, true);
      queue.push(chain, chain.write(0, bytes));
      sent = true;
    }
    if (sent) queue.publish();
  }

  private takeStatus(queue: Virtqueue): void {
    const bytes = new Uint8Array(EVENT_BYTES);
    const view = new DataView(bytes.buffer);
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      if (chain.read(0, bytes) === EVENT_BYTES && view.getUint16(0, true) === EventType.LED)
        this.onLight?.(view.getUint16(2, true), view.getUint32(4, true) !== 0);
      queue.push(chain, 0);
    }
    queue.publish();
  }
}

const moved = (axis: number, by: number): Triple => [EventType.REL, axis, Math.trunc(by) | 0];
const placed = (axis: number, at: number | undefined): Triple[] =>
  at === undefined ? [] : [[EventType.ABS, axis, Math.min(MOST_POSITION, Math.max(0, Math.trunc(at)))]];
const text = (value: string): Uint8Array => new TextEncoder().encode(value).subarray(0, InputConfig.DATA_BYTES);

/** Bits by number, without zero bytes at the end. */
function bitmap(numbers: readonly number[]): Uint8Array {
  const bits = new Uint8Array(numbers.length === 0 ? 0 : (Math.max(...numbers) >> 3) + 1);
  for (const number of numbers) bits[number >> 3]! |= 1 << (number & 7);
  return bits;
}
