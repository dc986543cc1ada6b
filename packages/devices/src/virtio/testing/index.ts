/**
 * A driver for virtio devices: what a guest does, for tests.
 *
 * @packageDocumentation
 */
export {};
