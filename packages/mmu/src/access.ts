/** What an access wants; `READ`, `WRITE` or `EXECUTE`, with `IMPLICIT` added for the processor's own accesses (descriptor tables, TSS), or `SHADOW_STACK`. */
export const Access = {
  READ: 0,
  WRITE: 1,
  EXECUTE: 2,
  /** The two bits that hold READ, WRITE or EXECUTE. */
  TYPE: 3,
  /** An implicit supervisor access: EFLAGS.AC does not lift SMAP (SDM Vol. 3, "Determination of Access Rights"). */
  IMPLICIT: 4,
  /** A read or write of a shadow stack (SDM Vol. 3, "Shadow-Stack Access Rights"); `user` says of which kind of shadow stack, not at which CPL. */
  SHADOW_STACK: 8,
} as const;
