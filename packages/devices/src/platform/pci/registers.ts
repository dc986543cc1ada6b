/** Offsets in a function's configuration space ("PCI Local Bus Specification 3.0", type 0 header). */
export const PciConfig = {
  VENDOR: 0x00,
  DEVICE: 0x02,
  COMMAND: 0x04,
  STATUS: 0x06,
  REVISION: 0x08,
  CLASS: 0x09,
  CACHE_LINE: 0x0c,
  LATENCY: 0x0d,
  HEADER_TYPE: 0x0e,
  BARS: 0x10,
  SUBSYSTEM_VENDOR: 0x2c,
  SUBSYSTEM: 0x2e,
  ROM: 0x30,
  CAPABILITIES: 0x34,
  INTERRUPT_LINE: 0x3c,
  INTERRUPT_PIN: 0x3d,
} as const;
/** Command register. */
export const PciCommand = { IO: 0x001, MEMORY: 0x002, MASTER: 0x004, PARITY: 0x040, SERR: 0x100, NO_INTX: 0x400, WRITABLE: 0x547 } as const;
/** Status register. */
export const PciStatus = { INTERRUPT: 0x0008, CAPABILITIES: 0x0010, CLEARABLE: 0xf900 } as const;
/** Capability ids. */
export const PciCapability = { POWER: 0x01, MSI: 0x05, VENDOR: 0x09, EXPRESS: 0x10, MSIX: 0x11 } as const;
/** Header type bit of a device with several functions. */
export const MULTIFUNCTION = 0x80;
/** Ports of configuration mechanism 1. */
export const PciPort = { ADDRESS: 0xcf8, DATA: 0xcfc } as const;
/** Configuration address: enable, then bus, device, function and register. */
export const PCI_ADDRESS_ENABLE = 0x8000_0000;
/** Bytes of ECAM space: 256 buses. */
export const ECAM_BYTES = 0x1000_0000;
/** Where firmware puts ECAM on a q35 (and the MCFG says so). */
export const Q35_ECAM_BASE = 0xb000_0000;
/** MSI message control. */
export const MsiControl = { ENABLE: 0x0001, MULTIPLE_ENABLED: 0x0070, WIDE: 0x0080, MASKING: 0x0100 } as const;
/** MSI-X message control. */
export const MsixControl = { MASK_ALL: 0x4000, ENABLE: 0x8000 } as const;
