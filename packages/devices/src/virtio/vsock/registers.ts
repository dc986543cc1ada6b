/** Feature bits of a socket device ("VIRTIO", Socket Device). */
export const VsockFeature = { STREAM: 0 } as const;
/** Its queues. */
export const VsockQueue = { RECEIVE: 0, TRANSMIT: 1, EVENT: 2 } as const;
/** The only type of socket that it has. */
export const VSOCK_STREAM = 1;
/** Operations of packets. */
export const VsockOperation = { REQUEST: 1, RESPONSE: 2, RST: 3, SHUTDOWN: 4, RW: 5, CREDIT_UPDATE: 6, CREDIT_REQUEST: 7 } as const;
/** Flags of SHUTDOWN: its sender will not receive, will not send. */
export const VsockShutdown = { RECEIVE: 1, SEND: 2, BOTH: 3 } as const;
/** The event that all connections are gone. */
export const TRANSPORT_RESET = 0;
/** Offsets in a packet's header; identifiers have 64 bits. */
export const VsockHeader = {
  SOURCE_CID: 0,
  TARGET_CID: 8,
  SOURCE_PORT: 16,
  TARGET_PORT: 20,
  LENGTH: 24,
  TYPE: 28,
  OPERATION: 30,
  FLAGS: 32,
  BUFFER: 36,
  FORWARDED: 40,
  BYTES: 44,
} as const;
/** The host's identifier. */
export const HOST_CID = 2;
