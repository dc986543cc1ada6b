/** Bits of the status register ("AT Attachment 8 - ATA/ATAPI Command Set"). */
export const AtaStatus = { ERR: 0x01, DRQ: 0x08, DSC: 0x10, DF: 0x20, DRDY: 0x40, BSY: 0x80 } as const;
/** Bits of the error register. */
export const AtaError = { ABRT: 0x04, IDNF: 0x10, UNC: 0x40 } as const;
/** Device register: LBA addressing, the second drive of a channel. */
export const AtaDevice = { SECOND: 0x10, LBA: 0x40 } as const;
/** Commands by name. */
export const AtaCommand = {
  NOP: 0x00,
  DATA_SET_MANAGEMENT: 0x06,
  DEVICE_RESET: 0x08,
  RECALIBRATE: 0x10,
  READ_SECTORS: 0x20,
  READ_SECTORS_ONCE: 0x21,
  READ_SECTORS_EXT: 0x24,
  READ_DMA_EXT: 0x25,
  READ_NATIVE_MAX_EXT: 0x27,
  READ_MULTIPLE_EXT: 0x29,
  WRITE_SECTORS: 0x30,
  WRITE_SECTORS_ONCE: 0x31,
  WRITE_SECTORS_EXT: 0x34,
  WRITE_DMA_EXT: 0x35,
  WRITE_MULTIPLE_EXT: 0x39,
  WRITE_DMA_FUA_EXT: 0x3d,
  VERIFY: 0x40,
  VERIFY_ONCE: 0x41,
  VERIFY_EXT: 0x42,
  READ_FPDMA_QUEUED: 0x60,
  WRITE_FPDMA_QUEUED: 0x61,
  SEEK: 0x70,
  DIAGNOSTIC: 0x90,
  INITIALIZE_PARAMETERS: 0x91,
  PACKET: 0xa0,
  IDENTIFY_PACKET: 0xa1,
  READ_MULTIPLE: 0xc4,
  WRITE_MULTIPLE: 0xc5,
  SET_MULTIPLE: 0xc6,
  READ_DMA: 0xc8,
  READ_DMA_ONCE: 0xc9,
  WRITE_DMA: 0xca,
  WRITE_DMA_ONCE: 0xcb,
  WRITE_MULTIPLE_FUA_EXT: 0xce,
  STANDBY_IMMEDIATE: 0xe0,
  IDLE_IMMEDIATE: 0xe1,
  STANDBY: 0xe2,
  IDLE: 0xe3,
  CHECK_POWER: 0xe5,
  SLEEP: 0xe6,
  FLUSH: 0xe7,
  FLUSH_EXT: 0xea,
  IDENTIFY: 0xec,
  SET_FEATURES: 0xef,
  READ_NATIVE_MAX: 0xf8,
} as const;
/** Subcommands of SET FEATURES. */
export const AtaFeature = {
  WRITE_CACHE_ON: 0x02,
  TRANSFER_MODE: 0x03,
  LOOK_AHEAD_OFF: 0x55,
  DEFAULTS_OFF: 0x66,
  WRITE_CACHE_OFF: 0x82,
  LOOK_AHEAD_ON: 0xaa,
  DEFAULTS_ON: 0xcc,
} as const;
/** Bytes of a sector of disks. */
export const SECTOR_BYTES = 512;
/** Most sectors that READ and WRITE MULTIPLE move at once. */
export const MOST_MULTIPLE = 16;
/** Depth of the queue of NCQ commands. */
export const QUEUE_DEPTH = 32;
/** Task files after a reset say by their signature what a drive is: LBA mid and high. */
export const Signature = { DISK: 0x0000, PACKET: 0xeb14 } as const;
/** Bytes of a packet command. */
export const PACKET_BYTES = 12;
/** Bits of the interrupt reason, which a packet drive shows in the count register. */
export const InterruptReason = { COMMAND: 0x01, TO_HOST: 0x02 } as const;
