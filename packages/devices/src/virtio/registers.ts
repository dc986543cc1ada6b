/** Feature bits that belong to no device type ("Virtual I/O Device (VIRTIO)", Reserved Feature Bits). */
export const VirtioFeature = {
  NOTIFY_ON_EMPTY: 24,
  ANY_LAYOUT: 27,
  INDIRECT_DESC: 28,
  EVENT_IDX: 29,
  VERSION_1: 32,
  ACCESS_PLATFORM: 33,
  RING_PACKED: 34,
  IN_ORDER: 35,
  ORDER_PLATFORM: 36,
  NOTIFICATION_DATA: 38,
  RING_RESET: 40,
} as const;

/** Bits of the device status field (Device Status Field). */
export const VirtioStatus = { ACKNOWLEDGE: 1, DRIVER: 2, DRIVER_OK: 4, FEATURES_OK: 8, NEEDS_RESET: 64, FAILED: 128, ALL: 0xcf } as const;

/** Device types (Device Types). */
export const VirtioType = {
  NET: 1,
  BLOCK: 2,
  CONSOLE: 3,
  ENTROPY: 4,
  BALLOON: 5,
  SCSI: 8,
  NINE_P: 9,
  GPU: 16,
  INPUT: 18,
  VSOCK: 19,
} as const;

/** Bits of the interrupt status of both transports. */
export const InterruptStatus = { QUEUE: 1, CONFIG: 2 } as const;

/** Flags of a split descriptor; packed ones have them too. */
export const DescriptorFlag = { NEXT: 1, WRITE: 2, INDIRECT: 4, AVAIL: 0x80, USED: 0x8000 } as const;

/** Bytes of a descriptor, in either format. */
export const DESCRIPTOR_BYTES = 16;

/** Event suppression of a packed ring: always, never, at one descriptor. */
export const PackedEvent = { ENABLE: 0, DISABLE: 1, DESCRIPTOR: 2 } as const;

/** No MSI-X vector. */
export const NO_VECTOR = 0xffff;

/** Largest queue of either format. */
export const MAX_QUEUE_SIZE = 0x8000;
