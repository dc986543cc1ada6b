/** Status of a command ("SCSI Architecture Model", Status). */
export const ScsiStatus = { GOOD: 0, CHECK_CONDITION: 2, BUSY: 8, TASK_ABORTED: 0x40 } as const;

/** Why a command failed: sense key, additional sense code and its qualifier ("SCSI Primary Commands", Sense data). */
export interface Sense {
  readonly key: number;
  readonly code: number;
  readonly qualifier: number;
}

const sense = (key: number, code: number, qualifier = 0): Sense => ({ key, code, qualifier });

/** The conditions that units here report, by what the standard calls them. */
export const SENSE = {
  NONE: sense(0, 0),
  MEDIUM_NOT_PRESENT: sense(2, 0x3a),
  WRITE_ERROR: sense(3, 0x0c),
  UNRECOVERED_READ_ERROR: sense(3, 0x11),
  PARAMETER_LIST_LENGTH_ERROR: sense(5, 0x1a),
  INVALID_COMMAND: sense(5, 0x20),
  ADDRESS_OUT_OF_RANGE: sense(5, 0x21),
  INVALID_FIELD_IN_CDB: sense(5, 0x24),
  LOGICAL_UNIT_NOT_SUPPORTED: sense(5, 0x25),
  INVALID_FIELD_IN_PARAMETER_LIST: sense(5, 0x26),
  SAVING_NOT_SUPPORTED: sense(5, 0x39),
  MEDIUM_REMOVAL_PREVENTED: sense(5, 0x53, 2),
  MEDIUM_CHANGED: sense(6, 0x28),
  POWER_ON: sense(6, 0x29),
  BUS_RESET: sense(6, 0x29, 2),
  CAPACITY_CHANGED: sense(6, 0x2a, 9),
  WRITE_PROTECTED: sense(7, 0x27),
} as const;

/** Bytes of sense data in the fixed format. */
const SENSE_BYTES = 18;

/** Sense data in the fixed format. */
export function senseData({ key, code, qualifier }: Sense): Uint8Array {
  const bytes = new Uint8Array(SENSE_BYTES);
  bytes[0] = 0x70;
  bytes[2] = key;
  bytes[7] = SENSE_BYTES - 8;
  bytes[12] = code;
  bytes[13] = qualifier;
  return bytes;
}

/** Operation codes. */
export const Opcode = {
  TEST_UNIT_READY: 0x00,
  REQUEST_SENSE: 0x03,
  READ_6: 0x08,
  WRITE_6: 0x0a,
  INQUIRY: 0x12,
  MODE_SENSE_6: 0x1a,
  START_STOP_UNIT: 0x1b,
  PREVENT_ALLOW: 0x1e,
  READ_CAPACITY_10: 0x25,
  READ_10: 0x28,
  WRITE_10: 0x2a,
  SEEK_10: 0x2b,
  VERIFY_10: 0x2f,
  SYNCHRONIZE_CACHE_10: 0x35,
  WRITE_SAME_10: 0x41,
  UNMAP: 0x42,
  READ_TOC: 0x43,
  GET_CONFIGURATION: 0x46,
  GET_EVENT_STATUS: 0x4a,
  READ_DISC_INFORMATION: 0x51,
  MODE_SENSE_10: 0x5a,
  READ_16: 0x88,
  WRITE_16: 0x8a,
  VERIFY_16: 0x8f,
  SYNCHRONIZE_CACHE_16: 0x91,
  WRITE_SAME_16: 0x93,
  SERVICE_ACTION_IN_16: 0x9e,
  REPORT_LUNS: 0xa0,
  READ_12: 0xa8,
  WRITE_12: 0xaa,
  SET_CD_SPEED: 0xbb,
  MECHANISM_STATUS: 0xbd,
  READ_CD: 0xbe,
} as const;

/** Service action of READ CAPACITY (16). */
export const READ_CAPACITY_16 = 0x10;
