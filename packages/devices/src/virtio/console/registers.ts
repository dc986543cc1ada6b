/** Feature bits of a console ("VIRTIO", Console Device). */
export const ConsoleFeature = { SIZE: 0, MULTIPORT: 1, EMERG_WRITE: 2 } as const;
/** Offsets in its configuration space. */
export const ConsoleConfig = { COLUMNS: 0, ROWS: 2, MAX_PORTS: 4, EMERGENCY: 8, BYTES: 12 } as const;
/** Control events. */
export const ConsoleEvent = {
  DEVICE_READY: 0,
  DEVICE_ADD: 1,
  DEVICE_REMOVE: 2,
  PORT_READY: 3,
  CONSOLE_PORT: 4,
  RESIZE: 5,
  PORT_OPEN: 6,
  PORT_NAME: 7,
} as const;
/** Bytes of a control message without its name. */
export const CONTROL_BYTES = 8;
/** Queues of control messages: to the driver, from the driver. */
export const ControlQueue = { RECEIVE: 2, TRANSMIT: 3 } as const;
