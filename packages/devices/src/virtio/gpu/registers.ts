/** Feature bits of a GPU device ("VIRTIO", GPU Device): it has EDID. */
export const GpuFeature = { EDID: 1 } as const;
/** Offsets in its configuration space. */
export const GpuConfig = { EVENTS_READ: 0, EVENTS_CLEAR: 4, NUM_SCANOUTS: 8, NUM_CAPSETS: 12, BYTES: 16 } as const;
/** Event: the display has another size. */
export const DISPLAY_EVENT = 1;

/** Types of commands. */
export const GpuCommand = {
  GET_DISPLAY_INFO: 0x100,
  RESOURCE_CREATE_2D: 0x101,
  RESOURCE_UNREF: 0x102,
  SET_SCANOUT: 0x103,
  RESOURCE_FLUSH: 0x104,
  TRANSFER_TO_HOST_2D: 0x105,
  RESOURCE_ATTACH_BACKING: 0x106,
  RESOURCE_DETACH_BACKING: 0x107,
  GET_EDID: 0x10a,
  UPDATE_CURSOR: 0x300,
  MOVE_CURSOR: 0x301,
} as const;
/** Types of answers. */
export const GpuAnswer = {
  OK_NODATA: 0x1100,
  OK_DISPLAY_INFO: 0x1101,
  OK_EDID: 0x1104,
  ERR_UNSPEC: 0x1200,
  ERR_OUT_OF_MEMORY: 0x1201,
  ERR_INVALID_SCANOUT_ID: 0x1202,
  ERR_INVALID_RESOURCE_ID: 0x1203,
  ERR_INVALID_PARAMETER: 0x1205,
} as const;

/** Bytes of the header of commands and answers; and its flag: the fence comes back. */
export const HEADER_BYTES = 24;
export const FENCE_FLAG = 1;
/** Longest command without the entries of a backing, and bytes of such an entry. */
export const COMMAND_BYTES = 64;
export const ENTRY_BYTES = 16;
/** Places in an answer to GET_DISPLAY_INFO, and bytes of each. */
export const MOST_SCANOUTS = 16;
export const SCANOUT_BYTES = 24;
/** Bytes for EDID in an answer. */
export const EDID_ROOM = 1024;

/** Where red, green and blue are in a pixel of four bytes, by format. */
export const pixelFormats: Readonly<Record<number, readonly [red: number, green: number, blue: number]>> = {
  1: [2, 1, 0],
  2: [2, 1, 0],
  3: [1, 2, 3],
  4: [1, 2, 3],
  67: [0, 1, 2],
  68: [3, 2, 1],
  121: [3, 2, 1],
  134: [0, 1, 2],
};
