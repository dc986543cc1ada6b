/** Feature bits of a SCSI host ("VIRTIO", SCSI Host Device). */
export const ScsiFeature = { INOUT: 0, HOTPLUG: 1, CHANGE: 2 } as const;
/** Offsets in its configuration space. */
export const ScsiConfig = {
  QUEUES: 0,
  SEG_MAX: 4,
  MAX_SECTORS: 8,
  COMMANDS_PER_LUN: 12,
  EVENT_BYTES: 16,
  SENSE_BYTES: 20,
  CDB_BYTES: 24,
  MAX_CHANNEL: 28,
  MAX_TARGET: 30,
  MAX_LUN: 32,
  BYTES: 36,
} as const;
/** Its queues; requests come in those from the third on. */
export const ScsiQueue = { CONTROL: 0, EVENT: 1, REQUEST: 2 } as const;
/** What comes back of a request. */
export const ScsiResponse = {
  OK: 0,
  OVERRUN: 1,
  ABORTED: 2,
  BAD_TARGET: 3,
  RESET: 4,
  BUSY: 5,
  TRANSPORT_FAILURE: 6,
  TARGET_FAILURE: 7,
  FAILURE: 9,
} as const;
/** What comes back of a task management function. */
export const TaskResponse = { COMPLETE: 0, SUCCEEDED: 10, REJECTED: 11, INCORRECT_LUN: 12 } as const;
/** Types of control requests. */
export const ControlType = { TASK: 0, QUERY: 1, SUBSCRIBE: 2 } as const;
/** Task management functions. */
export const TaskFunction = {
  ABORT_TASK: 0,
  ABORT_TASK_SET: 1,
  CLEAR_ACA: 2,
  CLEAR_TASK_SET: 3,
  NEXUS_RESET: 4,
  UNIT_RESET: 5,
  QUERY_TASK: 6,
  QUERY_TASK_SET: 7,
} as const;
/** Events. */
export const ScsiEvent = { MISSED: 0x8000_0000, TRANSPORT_RESET: 1, PARAMETER_CHANGE: 3, BYTES: 16 } as const;
/** Why a transport was reset. */
export const TransportReset = { RESCAN: 1, REMOVED: 2 } as const;
/** Bytes of a request before its command, and of a response before its sense data. */
export const REQUEST_BYTES = 19;
export const RESPONSE_BYTES = 12;
/** Sizes that the driver may change; and the least and most it may choose. */
export const DEFAULT_CDB_BYTES = 32;
export const DEFAULT_SENSE_BYTES = 96;
export const MOST_CDB_BYTES = 256;
export const MOST_SENSE_BYTES = 256;
/** Targets and units of a target. */
export const MOST_TARGETS = 256;
export const MOST_UNITS = 256;
