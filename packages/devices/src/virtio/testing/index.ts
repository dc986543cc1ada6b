/**
 * A driver for virtio devices: what a guest does, for tests.
 *
 * @packageDocumentation
 */
export { DriverMemory } from './memory.js';
export { SplitDriverQueue } from './queue.js';
export type { DriverBuffer, DriverQueue, DriverQueueOptions, UsedBuffer } from './queue.js';
export { PackedDriverQueue } from './packed-queue.js';
export { LegacyDriverTransport, MmioDriverTransport, PciDriverTransport } from './transports.js';
export type { AddressSpace, DriverTransport, PciReach } from './transports.js';
export { VirtioDriver } from './driver.js';
export type { DriverAnswer, DriverOptions } from './driver.js';
