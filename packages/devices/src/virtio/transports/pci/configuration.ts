import type { Width } from '@nestvm/bus';
import type { VirtioDevice } from '../../device.js';
import { NO_VECTOR } from '../../registers.js';
import { CommonConfig as C } from './registers.js';

/** Widths of the registers, by offset. */
const FIELDS: readonly (readonly [offset: number, width: number])[] = [
  [C.DEVICE_FEATURE_SELECT, 4],
  [C.DRIVER_FEATURE_SELECT, 4],
  [C.DRIVER_FEATURE, 4],
  [C.CONFIG_VECTOR, 2],
  [C.STATUS, 1],
  [C.QUEUE_SELECT, 2],
  [C.QUEUE_SIZE, 2],
  [C.QUEUE_VECTOR, 2],
  [C.QUEUE_ENABLE, 2],
  ...[0, 1, 2, 3, 4, 5].map((word) => [C.QUEUE_WORDS + 4 * word, 4] as const),
  [C.QUEUE_RESET, 2],
];

/** Selectors and MSI-X vectors of a transport over PCI: both of its interfaces use them. */
export interface PciRegisters {
  readonly device: VirtioDevice;
  /** Device feature word, driver feature word, queue. */
  readonly select: Uint32Array;
  /** Vector of each queue; that of configuration changes comes last. */
  readonly vectors: Uint16Array;
  /** Number of MSI-X vectors. */
  readonly vectorCount: number;
  setStatus(value: number, legacy: boolean): void;
}

/** The vector that reads back for a wish: none when there are not so many. */
export const grantVector = ({ vectorCount }: PciRegisters, wish: number): number => (wish < vectorCount ? wish : NO_VECTOR);

/** Reads from the common configuration structure ("VIRTIO", Common configuration structure layout). */
export function readCommon(registers: PciRegisters, offset: number, width: Width): number {
  const word = readWord(registers, offset & ~3) >>> (8 * (offset & 3));
  return width === 4 ? word >>> 0 : word & (width === 2 ? 0xffff : 0xff);
}

function readWord({ device, select, vectors }: PciRegisters, offset: number): number {
  const queue = device.queues[select[2]!];
  const number = select[2]!;
  switch (offset) {
    case C.DEVICE_FEATURE_SELECT:
      return select[0]!;
    case C.DEVICE_FEATURE:
      return device.readFeatures(select[0]!);
    case C.DRIVER_FEATURE_SELECT:
      return select[1]!;
    case C.DRIVER_FEATURE:
      return device.accepted[select[1]!] ?? 0;
    case C.CONFIG_VECTOR:
      return vectors.at(-1)! | (device.queues.length << 16);
    case C.STATUS:
      return device.status | (device.generation << 8) | (number << 16);
    case C.QUEUE_SIZE:
      return queue ? queue.size | (vectors[number]! << 16) : NO_VECTOR << 16;
    case C.QUEUE_ENABLE:
      return queue ? (queue.enabled ? 1 : 0) | (number << 16) : 0;
    default:
      return offset >= C.QUEUE_WORDS && offset < C.QUEUE_NOTIFY_DATA ? (queue?.words[(offset - C.QUEUE_WORDS) >> 2] ?? 0) : 0;
  }
}

/** Writes to the common configuration structure: registers that the access covers whole. */
export function writeCommon(registers: PciRegisters, offset: number, width: Width, value: number): void {
  for (const [at, bytes] of FIELDS) {
    if (at < offset || at + bytes > offset + width) continue;
    const part = value >>> (8 * (at - offset));
    writeField(registers, at, bytes === 4 ? part : part & (bytes === 2 ? 0xffff : 0xff));
  }
}

function writeField(registers: PciRegisters, at: number, value: number): void {
  const { device, select, vectors } = registers;
  const queue = device.queues[select[2]!];
  if (at >= C.QUEUE_WORDS && at < C.QUEUE_NOTIFY_DATA) queue?.setWord((at - C.QUEUE_WORDS) >> 2, value);
  else if (at === C.DEVICE_FEATURE_SELECT) select[0] = value;
  else if (at === C.DRIVER_FEATURE_SELECT) select[1] = value;
  else if (at === C.DRIVER_FEATURE) device.writeFeatures(select[1]!, value);
  else if (at === C.CONFIG_VECTOR) vectors[vectors.length - 1] = grantVector(registers, value);
  else if (at === C.STATUS) registers.setStatus(value, false);
  else if (at === C.QUEUE_SELECT) select[2] = value;
  else if (queue === undefined) return;
  else if (at === C.QUEUE_SIZE) queue.setSize(value);
  else if (at === C.QUEUE_VECTOR) vectors[queue.index] = grantVector(registers, value);
  else if (at === C.QUEUE_ENABLE && value === 1) queue.enable();
  else if (at === C.QUEUE_RESET && value === 1) device.resetQueue(queue.index);
}
