/** What `decodeInto` returns when there is no instruction. */
export const DecodeStatus = {
  /** The bytes end before the instruction does (and before its fifteenth byte): fetch the next page and try again. */
  NEED_MORE: -1,
  /** #UD. */
  INVALID: -2,
  /** More than fifteen bytes: #GP(0). */
  TOO_LONG: -3,
} as const;
