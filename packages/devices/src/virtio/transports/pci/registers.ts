import { VirtioType } from '../../registers.js';

/** Structures that vendor capabilities point to ("VIRTIO", Virtio Structure PCI Capabilities). */
export const PciStructure = { COMMON: 1, NOTIFY: 2, ISR: 3, DEVICE: 4, ACCESS: 5 } as const;
/** Where the structures lie in the modern BAR: a page each. */
export const ModernLayout = { COMMON: 0, ISR: 0x1000, DEVICE: 0x2000, NOTIFY: 0x3000, BYTES: 0x4000 } as const;
/** Bytes between the notification addresses of two queues. */
export const NOTIFY_STRIDE = 4;
/** Registers of the common configuration. */
export const CommonConfig = {
  DEVICE_FEATURE_SELECT: 0x00,
  DEVICE_FEATURE: 0x04,
  DRIVER_FEATURE_SELECT: 0x08,
  DRIVER_FEATURE: 0x0c,
  CONFIG_VECTOR: 0x10,
  NUM_QUEUES: 0x12,
  STATUS: 0x14,
  GENERATION: 0x15,
  QUEUE_SELECT: 0x16,
  QUEUE_SIZE: 0x18,
  QUEUE_VECTOR: 0x1a,
  QUEUE_ENABLE: 0x1c,
  QUEUE_NOTIFY_OFF: 0x1e,
  QUEUE_WORDS: 0x20,
  QUEUE_NOTIFY_DATA: 0x38,
  QUEUE_RESET: 0x3a,
  BYTES: 0x40,
} as const;
/** Registers of the legacy interface ("VIRTIO", Legacy Interfaces: A Note on PCI Device Layout). */
export const LegacyConfig = {
  DEVICE_FEATURES: 0x00,
  DRIVER_FEATURES: 0x04,
  QUEUE_PAGE: 0x08,
  QUEUE_SIZE: 0x0c,
  QUEUE_SELECT: 0x0e,
  QUEUE_NOTIFY: 0x10,
  STATUS: 0x12,
  ISR: 0x13,
  CONFIG_VECTOR: 0x14,
  QUEUE_VECTOR: 0x16,
  DEVICE: 0x14,
  DEVICE_WITH_MSIX: 0x18,
} as const;
/** Pages of legacy queues. */
export const LEGACY_PAGE = 4096;

/** PCI class of each device type: base class, subclass, interface; 00ff00 for the others. */
const CLASSES: Readonly<Record<number, number>> = {
  [VirtioType.NET]: 0x02_0000,
  [VirtioType.BLOCK]: 0x01_0000,
  [VirtioType.CONSOLE]: 0x07_8000,
  [VirtioType.SCSI]: 0x01_0000,
  [VirtioType.NINE_P]: 0x00_0200,
  [VirtioType.GPU]: 0x03_8000,
  [VirtioType.INPUT]: 0x09_8000,
  [VirtioType.VSOCK]: 0x07_8000,
};
/** PCI class code of a device type. */
export const pciClassOf = (type: number): number => CLASSES[type] ?? 0x00_ff00;

/** PCI device ids of the types that have a legacy interface. */
export const TRANSITIONAL_IDS: Readonly<Record<number, number>> = {
  [VirtioType.NET]: 0x1000,
  [VirtioType.BLOCK]: 0x1001,
  [VirtioType.BALLOON]: 0x1002,
  [VirtioType.CONSOLE]: 0x1003,
  [VirtioType.SCSI]: 0x1004,
  [VirtioType.ENTROPY]: 0x1005,
  [VirtioType.NINE_P]: 0x1009,
};
/** Device ids of modern-only devices start here. */
export const MODERN_ID_BASE = 0x1040;
/** Vendor of all virtio devices over PCI. */
export const VIRTIO_VENDOR = 0x1af4;
