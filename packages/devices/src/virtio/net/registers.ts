/** Feature bits ("VIRTIO", Network Device, Feature bits). */
export const NetFeature = {
  CSUM: 0,
  GUEST_CSUM: 1,
  CTRL_GUEST_OFFLOADS: 2,
  MTU: 3,
  MAC: 5,
  GUEST_TSO4: 7,
  HOST_TSO4: 11,
  HOST_ECN: 13,
  MRG_RXBUF: 15,
  STATUS: 16,
  CTRL_VQ: 17,
  CTRL_RX: 18,
  CTRL_VLAN: 19,
  CTRL_RX_EXTRA: 20,
  GUEST_ANNOUNCE: 21,
  MQ: 22,
  CTRL_MAC_ADDR: 23,
} as const;

/** Offsets in configuration space. */
export const NetConfig = { MAC: 0, STATUS: 6, MAX_PAIRS: 8, MTU: 10, BYTES: 12 } as const;

/** Bits of the status field. */
export const NetStatus = { LINK_UP: 1, ANNOUNCE: 2 } as const;

/** Header of a frame: offsets, flags, kinds of segmentation. `BUFFERS` is there with VERSION_1 or MRG_RXBUF only. */
export const NetHeader = {
  FLAGS: 0,
  GSO_TYPE: 1,
  HEADER_LENGTH: 2,
  GSO_SIZE: 4,
  CSUM_START: 6,
  CSUM_OFFSET: 8,
  BUFFERS: 10,
  BYTES: 12,
  LEGACY_BYTES: 10,
} as const;
export const NetFlag = { NEEDS_CSUM: 1, DATA_VALID: 2 } as const;
export const NetGso = { NONE: 0, TCP4: 1, ECN: 0x80 } as const;

/** Classes and commands of the control queue. */
export const NetControl = { RX: 0, MAC: 1, VLAN: 2, ANNOUNCE: 3, MQ: 4, GUEST_OFFLOADS: 5 } as const;
export const NetAck = { OK: 0, ERR: 1 } as const;

/** Longest frame: 64 KiB for segmentation to be done by the device, with room for its Ethernet and VLAN headers. */
export const MAX_FRAME_BYTES = 65_535 + 18;
