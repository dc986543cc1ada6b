import type { Device, Line, Width, Wiring } from '@nestvm/bus';
import type { SavableDevice } from '../../../saved-state.js';
import type { VirtioDevice } from '../../device.js';
import { InterruptStatus } from '../../registers.js';
import { type SavedVirtioMmio, virtioMmioSchema } from '../../state.js';
import { MMIO_BYTES, MMIO_MAGIC, MMIO_VENDOR, MmioRegister as R } from './registers.js';

/** Where a device is. */
export interface VirtioMmioOptions {
  readonly device: VirtioDevice;
  /** Guest-physical address of its registers. */
  readonly base: number;
  /** Interrupt input, as `Wiring.line` names it: `gsi:12`. */
  readonly line: string;
}

const NO_SHARED_MEMORY = 0xffff_ffff;

/** A virtio device behind memory-mapped registers, version 2 ("VIRTIO", Virtio Over MMIO). */
export class VirtioMmio implements Device, SavableDevice<SavedVirtioMmio> {
  readonly name: string;
  readonly device: VirtioDevice;
  /** Device feature word, driver feature word, queue. */
  private readonly select = new Uint32Array(3);
  private interruptStatus = 0;
  private line: Line | undefined;

  constructor(private readonly options: VirtioMmioOptions) {
    this.device = options.device;
    this.name = options.device.name;
  }

  attach(wiring: Wiring): void {
    this.line = wiring.line(this.options.line);
    this.device.connect({
      memory: wiring.dma,
      clock: wiring.clock,
      queueInterrupt: () => this.setInterrupts(this.interruptStatus | InterruptStatus.QUEUE),
      configInterrupt: () => this.setInterrupts(this.interruptStatus | InterruptStatus.CONFIG),
    });
    wiring.mmio({
      name: this.name,
      base: this.options.base,
      size: MMIO_BYTES,
      read: (offset, width) => this.read(offset, width),
      write: (offset, width, value) => this.write(offset, width, value),
    });
  }

  reset(): void {
    this.device.reset();
    this.forget();
  }

  save(): SavedVirtioMmio {
    return { device: this.device.save(), select: [...this.select], interruptStatus: this.interruptStatus };
  }

  load(saved: unknown): void {
    const state = virtioMmioSchema.check(saved, this.name);
    this.select.set(state.select);
    this.device.load(state.device);
    this.setInterrupts(state.interruptStatus & 3);
  }

  private forget(): void {
    this.select.fill(0);
    this.setInterrupts(0);
  }

  private setInterrupts(status: number): void {
    this.interruptStatus = status;
    this.line?.set(status === 0 ? 0 : 1);
  }

  private read(offset: number, width: Width): number {
    if (offset >= R.CONFIG) return this.device.readConfig(offset - R.CONFIG, width);
    if (width !== 4 || offset % 4 !== 0) return 0;
    return this.readRegister(offset) >>> 0;
  }

  private readRegister(offset: number): number {
    const { device, select } = this;
    const queue = device.queues[select[2]!];
    switch (offset) {
      case R.MAGIC:
        return MMIO_MAGIC;
      case R.VERSION:
        return 2;
      case R.DEVICE_ID:
        return device.type;
      case R.VENDOR_ID:
        return MMIO_VENDOR;
      case R.DEVICE_FEATURES:
        return device.readFeatures(select[0]!);
      case R.QUEUE_SIZE_MAX:
        return queue?.maxSize ?? 0;
      case R.QUEUE_READY:
        return queue?.enabled ? 1 : 0;
      case R.INTERRUPT_STATUS:
        return this.interruptStatus;
      case R.STATUS:
        return device.status;
      case R.GENERATION:
        return device.generation;
      default:
        return offset >= R.SHARED_LENGTH && offset < R.QUEUE_RESET ? NO_SHARED_MEMORY : 0;
    }
  }

  private write(offset: number, width: Width, value: number): void {
    if (offset >= R.CONFIG) this.device.writeConfig(offset - R.CONFIG, width, value);
    else if (width === 4 && offset % 4 === 0) this.writeRegister(offset, value);
  }

  private writeRegister(offset: number, value: number): void {
    const { device, select } = this;
    const queue = device.queues[select[2]!];
    if (offset >= R.QUEUE_DESCRIPTORS && offset < R.SHARED_LENGTH - 4) {
      if ((offset & 8) === 0) queue?.setWord(2 * ((offset - R.QUEUE_DESCRIPTORS) >> 4) + ((offset >> 2) & 1), value);
    } else if (offset === R.DEVICE_FEATURES_SELECT) select[0] = value;
    else if (offset === R.DRIVER_FEATURES_SELECT) select[1] = value;
    else if (offset === R.DRIVER_FEATURES) device.writeFeatures(select[1]!, value);
    else if (offset === R.QUEUE_SELECT) select[2] = value;
    else if (offset === R.QUEUE_NOTIFY) device.notify(value & 0xffff);
    else if (offset === R.INTERRUPT_ACK) this.setInterrupts(this.interruptStatus & ~value);
    else if (offset === R.STATUS) this.setStatus(value & 0xff);
    else if (queue === undefined) return;
    else if (offset === R.QUEUE_SIZE) queue.setSize(value & 0xffff);
    else if (offset === R.QUEUE_READY) this.setReady(queue.index, value);
    else if (offset === R.QUEUE_RESET && value === 1) device.resetQueue(queue.index);
  }

  private setReady(index: number, value: number): void {
    if (value & 1) this.device.queues[index]!.enable();
    else this.device.resetQueue(index);
  }

  private setStatus(value: number): void {
    this.device.setStatus(value);
    if (value === 0) this.forget();
  }
}
