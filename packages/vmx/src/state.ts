import { word } from '@nestvm/cpu/extension';

const EXTENSION = word('extension');

/**
 * Words (int32) of the vCPU state's `extension` area that VMX uses: what a snapshot keeps beside guest memory. All zero after RESET: VMX is off, there is no
 * current VMCS. Addresses take two words.
 */
export const VmxWord = {
  /** 1 in VMX operation. */
  ON: EXTENSION,
  /** Physical address of the VMXON region. */
  VMXON_POINTER: EXTENSION + 2,
  /** 1 while there is a current VMCS, and its physical address. */
  CURRENT_VALID: EXTENSION + 1,
  CURRENT: EXTENSION + 4,
  /** What SMM interrupted: 1 VMX root operation, 2 non-root operation, 0 neither. */
  SMM_INTERRUPTED: EXTENSION + 6,
  /** Counts VMXONs: a VMCS that was launched keeps it, and cannot be resumed under another. */
  SESSION: EXTENSION + 7,
  /** Deadline of the preemption timer in its counts of guest time, two words; it means something while the timer runs. */
  TIMER: EXTENSION + 8,
} as const;

/** A physical address in two words of a view, as a number below 2^52, whatever the words hold. */
export const addressAt = (words: Int32Array, at: number): number => (words[at + 1]! & 0xfffff) * 4294967296 + (words[at]! >>> 0);

/** The first byte of the 4-KiB page of an address. */
export const pageOf = (address: number): number => address - (address % 4096);
