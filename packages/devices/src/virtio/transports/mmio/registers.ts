/** Registers of the MMIO transport, version 2 ("VIRTIO", MMIO Device Register Layout). */
export const MmioRegister = {
  MAGIC: 0x000,
  VERSION: 0x004,
  DEVICE_ID: 0x008,
  VENDOR_ID: 0x00c,
  DEVICE_FEATURES: 0x010,
  DEVICE_FEATURES_SELECT: 0x014,
  DRIVER_FEATURES: 0x020,
  DRIVER_FEATURES_SELECT: 0x024,
  QUEUE_SELECT: 0x030,
  QUEUE_SIZE_MAX: 0x034,
  QUEUE_SIZE: 0x038,
  QUEUE_READY: 0x044,
  QUEUE_NOTIFY: 0x050,
  INTERRUPT_STATUS: 0x060,
  INTERRUPT_ACK: 0x064,
  STATUS: 0x070,
  QUEUE_DESCRIPTORS: 0x080,
  QUEUE_DRIVER: 0x090,
  QUEUE_DEVICE: 0x0a0,
  SHARED_LENGTH: 0x0b0,
  SHARED_BASE: 0x0b8,
  QUEUE_RESET: 0x0c0,
  GENERATION: 0x0fc,
  CONFIG: 0x100,
} as const;
/** "virt". */
export const MMIO_MAGIC = 0x74726976;
/** Vendor that reads back: "NSTV". */
export const MMIO_VENDOR = 0x5654534e;
/** Bytes of a device's region. */
export const MMIO_BYTES = 0x200;
