import type { Width } from '@nestvm/bus';
import { DeviceError } from '../../errors.js';
import { flag, list, record, type Schema, unsigned } from '../../saved-state.js';
import { Opcode, SENSE } from '../../scsi/codes.js';
import { answerWith, type ScsiAnswer } from '../../scsi/command.js';
import { inquiry } from '../../scsi/inquiry.js';
import type { ScsiUnit } from '../../scsi/unit.js';
import { type HeldDisk, VirtioDevice } from '../device.js';
import type { Virtqueue } from '../queue.js';
import { VirtioType } from '../registers.js';
import type { Chain } from '../ring/chain.js';
import { lunBytes, readLun, reportLuns, type UnitAddress } from './lun.js';
import {
  ControlType,
  DEFAULT_CDB_BYTES,
  DEFAULT_SENSE_BYTES,
  MOST_CDB_BYTES,
  MOST_SENSE_BYTES,
  MOST_TARGETS,
  MOST_UNITS,
  REQUEST_BYTES,
  RESPONSE_BYTES,
  ScsiConfig,
  ScsiEvent,
  ScsiFeature,
  ScsiQueue,
  ScsiResponse,
  TaskFunction,
  TaskResponse,
  TransportReset,
} from './registers.js';
import { ScsiRequest } from './request.js';

/** A logical unit and where it is. */
export interface ScsiPlace extends UnitAddress {
  readonly device: ScsiUnit;
}

/** A SCSI host's units. */
export interface VirtioScsiOptions {
  /** Unit name (default `virtio-scsi`). */
  readonly name?: string;
  readonly units: readonly ScsiPlace[];
  /** Request queues (default 1). */
  readonly queues?: number;
  readonly packed?: boolean;
}

/** Events that wait for a buffer; then the guest is told that it has missed some. */
const MOST_EVENTS = 64;
const CONTROL_BYTES = 24;

interface Running {
  readonly request: ScsiRequest;
  readonly queue: Virtqueue;
  readonly place: ScsiPlace;
}

const ownSchema: Schema<{ units: { attention: number; ejected: boolean; locked: boolean }[]; events: number[][]; missed: boolean }> = record({
  units: list(record({ attention: unsigned(32), ejected: flag, locked: flag }), { max: MOST_TARGETS * MOST_UNITS }),
  events: list(list(unsigned(8), { length: ScsiEvent.BYTES }), { max: MOST_EVENTS }),
  missed: flag,
});

/** virtio-scsi ("VIRTIO", SCSI Host Device): disks and CDs as targets, task management, events of changed media and sizes. */
export class VirtioScsi extends VirtioDevice {
  private readonly there: ScsiPlace[];
  private readonly tasks = new Set<Running>();
  private events: number[][] = [];
  private missed = false;
  private readonly view: DataView;

  constructor({ name = 'virtio-scsi', units, queues = 1, packed = false }: VirtioScsiOptions) {
    super({
      name,
      type: VirtioType.SCSI,
      queues: [64, 64, ...Array.from({ length: queues }, () => 256)],
      features: [ScsiFeature.HOTPLUG, ScsiFeature.CHANGE],
      configBytes: ScsiConfig.BYTES,
      packed,
    });
    this.there = [];
    for (const place of units) this.add(place);
    this.view = new DataView(this.config.buffer);
    this.stopped();
  }

  /** The units and where they are. */
  get places(): readonly ScsiPlace[] {
    return this.there;
  }

  /** Puts a unit in while the guest runs, and tells it; throws `DeviceError`. */
  plug(place: ScsiPlace): void {
    this.add(place);
    place.device.reset(SENSE.POWER_ON);
    this.tellTransport(place, TransportReset.RESCAN);
  }

  /** Takes a unit out, at once; what it was doing is aborted. Throws `DeviceError` where there is none. */
  unplug(address: UnitAddress): void {
    const place = this.find(address);
    if (!place) throw new DeviceError('bad-option', `${this.name}: there is no unit ${address.unit} at target ${address.target}`);
    this.abort(
      [...this.tasks].filter((task) => task.place === place),
      ScsiResponse.ABORTED,
    );
    this.there.splice(this.there.indexOf(place), 1);
    this.tellTransport(place, TransportReset.REMOVED);
  }

  /** A disk has another size now. */
  resized(place: UnitAddress): void {
    const found = this.find(place);
    if (!found) return;
    found.device.attention = SENSE.CAPACITY_CHANGED;
    const { code, qualifier } = SENSE.CAPACITY_CHANGED;
    if (this.negotiated(ScsiFeature.CHANGE)) this.report([...word(ScsiEvent.PARAMETER_CHANGE), ...lunBytes(place), ...word(code | (qualifier << 8))]);
  }

  override heldDisks(): readonly HeldDisk[] {
    return this.places.flatMap(({ target, unit, device: { held } }) => (held ? [{ name: `${this.name}/${target}:${unit}`, blocks: held }] : []));
  }

  protected override stopped(): void {
    const { view } = this;
    view.setUint32(ScsiConfig.QUEUES, this.queues.length - ScsiQueue.REQUEST, true);
    view.setUint32(ScsiConfig.SEG_MAX, 254, true);
    view.setUint32(ScsiConfig.MAX_SECTORS, 0xffff, true);
    view.setUint32(ScsiConfig.COMMANDS_PER_LUN, 128, true);
    view.setUint32(ScsiConfig.EVENT_BYTES, ScsiEvent.BYTES, true);
    view.setUint32(ScsiConfig.SENSE_BYTES, DEFAULT_SENSE_BYTES, true);
    view.setUint32(ScsiConfig.CDB_BYTES, DEFAULT_CDB_BYTES, true);
    view.setUint16(ScsiConfig.MAX_TARGET, MOST_TARGETS - 1, true);
    view.setUint32(ScsiConfig.MAX_LUN, MOST_UNITS - 1, true);
    this.tasks.clear();
    this.events = [];
    this.missed = false;
    for (const { device } of this.places) device.reset(SENSE.POWER_ON);
  }

  /** The driver may choose how long commands and sense data are. */
  protected override configWritten(offset: number, width: Width, value: number): void {
    if (width !== 4) return;
    if (offset === ScsiConfig.SENSE_BYTES && value <= MOST_SENSE_BYTES) this.view.setUint32(offset, value, true);
    if (offset === ScsiConfig.CDB_BYTES && value <= MOST_CDB_BYTES) this.view.setUint32(offset, value, true);
  }

  protected override notified(queue: Virtqueue): void {
    if (queue.index === ScsiQueue.EVENT) {
      this.sendEvents();
      return;
    }
    for (let chain = queue.pop(); chain && this.running; chain = queue.pop()) {
      if (queue.index === ScsiQueue.CONTROL) this.control(queue, chain);
      else this.begin(queue, chain);
    }
    queue.publish();
  }

  /** What a disk had not answered when the state was saved is asked again. */
  protected override resume(queue: Virtqueue, chains: readonly Chain[]): void {
    for (const chain of chains) if (chain.written < 0 && queue.index >= ScsiQueue.REQUEST) this.begin(queue, chain);
    queue.publish();
  }

  protected override saveOwn(): unknown {
    const units = this.places.map(({ device: { attention, ejected, locked } }) => ({
      attention: attention ? (attention.key << 16) | (attention.code << 8) | attention.qualifier : 0,
      ejected,
      locked,
    }));
    return { units, events: this.events.map((event) => [...event]), missed: this.missed };
  }

  protected override loadOwn(saved: unknown): void {
    const { units, events, missed } = ownSchema.check(saved, this.name);
    if (units.length !== this.places.length)
      throw new DeviceError('bad-state', `${this.name}: the snapshot has other units; restore with the same options`);
    units.forEach(({ attention, ejected, locked }, i) => {
      const { device } = this.places[i]!;
      device.attention = attention === 0 ? undefined : { key: (attention >> 16) & 15, code: (attention >> 8) & 255, qualifier: attention & 255 };
      device.ejected = ejected;
      device.locked = locked;
    });
    this.events = events;
    this.missed = missed;
  }

  private add(place: ScsiPlace): void {
    const { target, unit } = place;
    if (target >= MOST_TARGETS || unit >= MOST_UNITS)
      throw new DeviceError('bad-option', `${this.name}: target ${target}, unit ${unit}: there are targets and units 0 to 255`);
    if (this.find(place))
      throw new DeviceError('duplicate', `${this.name}: two units at target ${target}, unit ${unit}; give one another scsi-id or lun`);
    this.there.push(place);
  }

  /** A unit has come or gone. */
  private tellTransport(place: UnitAddress, reason: number): void {
    if (this.negotiated(ScsiFeature.HOTPLUG)) this.report([...word(ScsiEvent.TRANSPORT_RESET), ...lunBytes(place), ...word(reason)]);
  }

  private find(address: UnitAddress | undefined): ScsiPlace | undefined {
    return address && this.places.find(({ target, unit }) => target === address.target && unit === address.unit);
  }

  private begin(queue: Virtqueue, chain: Chain): void {
    const cdbBytes = this.view.getUint32(ScsiConfig.CDB_BYTES, true);
    const senseBytes = this.view.getUint32(ScsiConfig.SENSE_BYTES, true);
    if (chain.readableBytes < REQUEST_BYTES + cdbBytes || chain.writableBytes < RESPONSE_BYTES + senseBytes) {
      this.violated('device-request', queue.index, `a request with ${chain.readableBytes} bytes to read and ${chain.writableBytes} to write`);
      return;
    }
    const request = new ScsiRequest(chain, cdbBytes, senseBytes);
    const address = readLun(request.header, 0);
    if (address === undefined || !this.places.some(({ target }) => target === address.target)) {
      queue.push(chain, request.respond(ScsiResponse.BAD_TARGET));
    } else if (request.outBytes > 0 && request.inBytes > 0) queue.push(chain, request.respond(ScsiResponse.FAILURE));
    else this.execute(queue, request, address);
  }

  private execute(queue: Virtqueue, request: ScsiRequest, address: UnitAddress): void {
    const { chain, cdb } = request;
    const code = cdb.getUint8(0);
    const place = this.find(address);
    let answer: ScsiAnswer | Promise<ScsiAnswer>;
    if (code === Opcode.REPORT_LUNS) answer = this.reportLuns(request, address.target);
    else if (place) answer = place.device.execute(request);
    else if (code === Opcode.INQUIRY) answer = inquiry(request, undefined);
    else answer = { kind: 'failed', sense: SENSE.LOGICAL_UNIT_NOT_SUPPORTED };
    if (!(answer instanceof Promise)) {
      queue.push(chain, request.answer(answer));
      return;
    }
    const running: Running = { request, queue, place: place! };
    this.tasks.add(running);
    void answer.then((later) =>
      this.gate.pass(() => {
        // Aborted in the meantime, or the device was reset.
        if (this.tasks.delete(running)) queue.complete(chain, request.answer(later));
      }),
    );
  }

  private reportLuns(request: ScsiRequest, wanted: number): ScsiAnswer {
    const found = this.places.filter(({ target }) => target === wanted).map(({ unit }) => unit);
    return answerWith(request, reportLuns(found.includes(0) ? found : [0, ...found]), request.cdb.getUint32(6));
  }

  private control(queue: Virtqueue, chain: Chain): void {
    const bytes = new Uint8Array(CONTROL_BYTES);
    const length = chain.read(0, bytes);
    const view = new DataView(bytes.buffer);
    const type = view.getUint32(0, true);
    const isTask = type === ControlType.TASK;
    if (length < 4 || (isTask && length < CONTROL_BYTES) || chain.writableBytes < (isTask ? 1 : 5)) {
      this.violated('device-request', queue.index, `a control request with ${length} bytes to read and ${chain.writableBytes} to write`);
      return;
    }
    if (isTask) {
      queue.push(chain, chain.write(0, Uint8Array.of(this.task(view.getUint32(4, true), readLun(bytes, 8), bytes.subarray(16, 24)))));
    } else {
      // No asynchronous notifications are known: none is subscribed.
      const response = type === ControlType.QUERY || type === ControlType.SUBSCRIBE ? ScsiResponse.OK : ScsiResponse.FAILURE;
      queue.push(chain, chain.write(0, Uint8Array.of(0, 0, 0, 0, response)));
    }
  }

  /** A task management function; its response. */
  private task(what: number, address: UnitAddress | undefined, id: Uint8Array): number {
    const wholeTarget = what === TaskFunction.NEXUS_RESET;
    const places = this.places.filter(({ target, unit }) => target === address?.target && (wholeTarget || unit === address.unit));
    if (places.length === 0) return TaskResponse.INCORRECT_LUN;
    const ofPlaces = [...this.tasks].filter(({ place }) => places.includes(place));
    const same = ofPlaces.filter(({ request }) => id.every((byte, i) => request.header[8 + i] === byte));
    switch (what) {
      case TaskFunction.ABORT_TASK:
        return this.abort(same, ScsiResponse.ABORTED);
      case TaskFunction.ABORT_TASK_SET:
      case TaskFunction.CLEAR_TASK_SET:
        return this.abort(ofPlaces, ScsiResponse.ABORTED);
      case TaskFunction.NEXUS_RESET:
      case TaskFunction.UNIT_RESET:
        for (const { device } of places) device.reset(SENSE.BUS_RESET);
        return this.abort(ofPlaces, ScsiResponse.RESET);
      case TaskFunction.QUERY_TASK:
        return same.length > 0 ? TaskResponse.SUCCEEDED : TaskResponse.COMPLETE;
      case TaskFunction.QUERY_TASK_SET:
        return ofPlaces.length > 0 ? TaskResponse.SUCCEEDED : TaskResponse.COMPLETE;
      default:
        return TaskResponse.REJECTED;
    }
  }

  private abort(tasks: readonly Running[], response: number): number {
    for (const task of tasks) {
      this.tasks.delete(task);
      task.queue.complete(task.request.chain, task.request.respond(response));
    }
    return TaskResponse.COMPLETE;
  }

  private report(event: number[]): void {
    if (this.events.length < MOST_EVENTS) this.events.push(event);
    else this.missed = true;
    this.sendEvents();
  }

  private sendEvents(): void {
    const queue = this.queues[ScsiQueue.EVENT]!;
    while (this.events.length > 0 && this.running && queue.enabled) {
      const chain = queue.pop();
      if (chain === undefined) break;
      if (chain.writableBytes < ScsiEvent.BYTES) {
        this.violated('device-request', queue.index, `a buffer of ${chain.writableBytes} bytes is too small for an event`);
        return;
      }
      const event = Uint8Array.from(this.events.shift()!);
      if (this.missed) event[3]! |= ScsiEvent.MISSED >>> 24;
      this.missed = false;
      queue.push(chain, chain.write(0, event));
    }
    queue.publish();
  }
}

const word = (value: number): number[] => [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24];
