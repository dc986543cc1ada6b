/** Ports of QEMU's firmware configuration device ("QEMU Firmware Configuration (fw_cfg) Device"). */
export const FwCfgPort = { SELECTOR: 0x510, DATA: 0x511, DMA: 0x514 } as const;
/** Keys with fixed numbers. */
export const FwCfgKey = {
  SIGNATURE: 0x00,
  ID: 0x01,
  UUID: 0x02,
  RAM_SIZE: 0x03,
  NO_GRAPHIC: 0x04,
  CPUS: 0x05,
  KERNEL_ADDRESS: 0x07,
  KERNEL_SIZE: 0x08,
  INITRD_ADDRESS: 0x0a,
  INITRD_SIZE: 0x0b,
  BOOT_DEVICE: 0x0c,
  NUMA: 0x0d,
  BOOT_MENU: 0x0e,
  MAX_CPUS: 0x0f,
  KERNEL_ENTRY: 0x10,
  KERNEL_DATA: 0x11,
  INITRD_DATA: 0x12,
  COMMAND_LINE_ADDRESS: 0x13,
  COMMAND_LINE_SIZE: 0x14,
  COMMAND_LINE_DATA: 0x15,
  SETUP_ADDRESS: 0x16,
  SETUP_SIZE: 0x17,
  SETUP_DATA: 0x18,
  FILE_DIRECTORY: 0x19,
  FIRST_FILE: 0x20,
  IRQ0_OVERRIDE: 0x8002,
} as const;
/** Bits of a DMA request's control word. */
export const FwCfgDma = { ERROR: 0x01, READ: 0x02, SKIP: 0x04, SELECT: 0x08, WRITE: 0x10 } as const;
/** Interface features in the ID item: the traditional ports and DMA. */
export const FW_CFG_FEATURES = 3;
/** What reading the DMA address register says: "QEMU CFG" as two big-endian words. */
export const DMA_SIGNATURE = [0x5145_4d55, 0x2043_4647] as const;
/** Longest file name with its NUL, in bytes. */
export const FILE_NAME_BYTES = 56;
