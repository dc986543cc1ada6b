/**
 * Platform devices and virtio, as subpath exports.
 *
 * @packageDocumentation
 */
export {};
