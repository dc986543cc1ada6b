/** Feature bits of a block device ("VIRTIO", Block Device). */
export const BlockFeature = {
  SIZE_MAX: 1,
  SEG_MAX: 2,
  GEOMETRY: 4,
  RO: 5,
  BLK_SIZE: 6,
  FLUSH: 9,
  TOPOLOGY: 10,
  CONFIG_WCE: 11,
  MQ: 12,
  DISCARD: 13,
  WRITE_ZEROES: 14,
} as const;
/** Offsets in its configuration space. */
export const BlockConfig = {
  CAPACITY: 0,
  SEG_MAX: 12,
  GEOMETRY: 16,
  BLK_SIZE: 20,
  TOPOLOGY: 24,
  WRITEBACK: 32,
  NUM_QUEUES: 34,
  MAX_DISCARD_SECTORS: 36,
  MAX_DISCARD_SEG: 40,
  DISCARD_ALIGNMENT: 44,
  MAX_WRITE_ZEROES_SECTORS: 48,
  MAX_WRITE_ZEROES_SEG: 52,
  WRITE_ZEROES_MAY_UNMAP: 56,
  BYTES: 60,
} as const;
/** Request types. */
export const BlockRequest = { IN: 0, OUT: 1, FLUSH: 4, GET_ID: 8, DISCARD: 11, WRITE_ZEROES: 13 } as const;
/** Status bytes. */
export const BlockStatus = { OK: 0, IOERR: 1, UNSUPP: 2 } as const;
/** Unit of capacities and positions. */
export const SECTOR_BYTES = 512;
/** Bytes of a request's header, and of a segment of discard and write zeroes. */
export const HEADER_BYTES = 16;
/** Most segments of a discard or write zeroes, and sectors of each. */
export const MAX_SEGMENTS = 16;
export const MAX_SEGMENT_SECTORS = 2 ** 22;
/** Bytes of a serial number. */
export const ID_BYTES = 20;
