import type { Width } from '@nestvm/bus';
import { QueuePart, type Virtqueue } from '../../queue.js';
import { DESCRIPTOR_BYTES } from '../../registers.js';
import { grantVector, type PciRegisters } from './configuration.js';
import { LegacyConfig as L, LEGACY_PAGE } from './registers.js';

/** What the legacy interface asks of its transport. */
export interface LegacyRegisters extends PciRegisters {
  readonly messagesEnabled: boolean;
  /** Reads the interrupt status, which clears it. */
  readIsr(): number;
}

const isConfig = ({ messagesEnabled }: LegacyRegisters, offset: number): number => offset - (messagesEnabled ? L.DEVICE_WITH_MSIX : L.DEVICE);

/** Reads from the legacy interface ("VIRTIO", Legacy Interfaces: A Note on PCI Device Layout). */
export function readLegacy(registers: LegacyRegisters, offset: number, width: Width): number {
  const { device, select, vectors } = registers;
  const config = isConfig(registers, offset);
  if (config >= 0) return device.readConfig(config, width);
  const queue = device.queues[select[2]!];
  switch (offset) {
    case L.DEVICE_FEATURES:
      return device.readFeatures(0);
    case L.DRIVER_FEATURES:
      return device.accepted[0]!;
    case L.QUEUE_PAGE:
      return queue?.enabled ? Math.floor(queue.address(QueuePart.DESCRIPTORS) / LEGACY_PAGE) : 0;
    case L.QUEUE_SIZE:
      return queue?.maxSize ?? 0;
    case L.QUEUE_SELECT:
      return select[2]!;
    case L.STATUS:
      return width === 1 ? device.status : device.status | (registers.readIsr() << 8);
    case L.ISR:
      return registers.readIsr();
    case L.CONFIG_VECTOR:
      return vectors.at(-1)!;
    case L.QUEUE_VECTOR:
      return queue ? vectors[queue.index]! : 0xffff;
    default:
      return 0;
  }
}

/** Writes to the legacy interface. */
export function writeLegacy(registers: LegacyRegisters, offset: number, width: Width, value: number): void {
  const { device, select, vectors } = registers;
  const config = isConfig(registers, offset);
  if (config >= 0) {
    device.writeConfig(config, width, value);
    return;
  }
  const queue = device.queues[select[2]!];
  if (offset === L.DRIVER_FEATURES) device.writeFeatures(0, value);
  else if (offset === L.QUEUE_SELECT) select[2] = value & 0xffff;
  else if (offset === L.QUEUE_NOTIFY) device.notify(value & 0xffff);
  else if (offset === L.STATUS) registers.setStatus(value & 0xff, true);
  else if (offset === L.CONFIG_VECTOR) vectors[vectors.length - 1] = grantVector(registers, value & 0xffff);
  else if (queue === undefined) return;
  else if (offset === L.QUEUE_VECTOR) vectors[queue.index] = grantVector(registers, value & 0xffff);
  else if (offset === L.QUEUE_PAGE) placeQueue(queue, value);
}

/** Lays a split queue out from one page number: descriptors, available ring, and from the next page on the used ring. */
function placeQueue(queue: Virtqueue, page: number): void {
  queue.reset();
  if (page === 0) return;
  const descriptors = page * LEGACY_PAGE;
  const driver = descriptors + queue.size * DESCRIPTOR_BYTES;
  const device = Math.ceil((driver + 6 + 2 * queue.size) / LEGACY_PAGE) * LEGACY_PAGE;
  [descriptors, driver, device].forEach((address, part) => {
    queue.setWord(2 * part, address % 2 ** 32);
    queue.setWord(2 * part + 1, Math.floor(address / 2 ** 32));
  });
  queue.enable();
}
