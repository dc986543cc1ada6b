/**
 * What generated code has to know to carry out VMREAD and VMWRITE by itself: a table of `SLOTS` slots, which the extension for VMX makes from its fields, and the
 * word in a VMCS region that VMWRITE keeps beside the field.
 */
export const VmcsTable = {
  /** Bits of an encoding that a field of a slot may have set; the others, bit 0 (the high half) among them, are left to the full implementation. */
  ENCODING: 0x6c7e,
  SLOTS: 1024,
  SLOT_BYTES: 16,
  /** u16: byte offset of the field in the region; 0: none, or not to be had. */
  READ: 0,
  /** u16: likewise for VMWRITE. */
  WRITE: 2,
  /** i32: what the region's word at `CLEAN_GROUPS` keeps when the field is written. */
  KEEP: 4,
  /** i64: the bits that the field has. */
  MASK: 8,
  /** Byte offset in a region of the bits of the check groups that are known to hold. */
  CLEAN_GROUPS: 12,
} as const;

/** Slot of an encoding: its width (bits 14:13), area (11:10) and index (6:1). */
export const vmcsSlot = (encoding: number): number => ((encoding >>> 5) & 0x300) | ((encoding >>> 4) & 0xc0) | ((encoding >>> 1) & 0x3f);
