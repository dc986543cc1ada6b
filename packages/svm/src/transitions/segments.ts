import { SEG_ATTRIBUTES, SEG_BASE, SEG_LIMIT, SEG_SELECTOR } from '@nestvm/cpu/extension';
import type { SvmContext } from '../context.js';

const PRESENT = 0x80;
const UNUSABLE = 0x10000;

/** From the vCPU state's access rights to the 12 bits of a VMCB; what is unusable is not present there. */
const packAttributes = (rights: number): number => ((rights & 0xff) | ((rights >>> 4) & 0xf00)) & ((rights & UNUSABLE) !== 0 ? ~PRESENT : -1);

/** The way back. */
const unpackAttributes = (packed: number): number => (packed & 0xff) | ((packed & 0xf00) << 4) | ((packed & PRESENT) === 0 ? UNUSABLE : 0);

/** Stores a segment register with its hidden part at word `at` of the arena. */
export function storeSegment(svm: SvmContext, at: number, segment: number): void {
  const { i32 } = svm;
  const { w, h } = svm.cpu;
  i32[at] = h[SEG_SELECTOR + segment]! | (packAttributes(w[SEG_ATTRIBUTES + segment]!) << 16);
  i32[at + 1] = w[SEG_LIMIT + segment]!;
  i32[at + 2] = w[SEG_BASE + 2 * segment]!;
  i32[at + 3] = w[SEG_BASE + 2 * segment + 1]!;
}

/** A base address as the processor keeps it: sign-extended from the highest bit of linear addresses. */
const canonical = (hi: number, shift: number): number => (hi << shift) >> shift;

/** Loads a segment register with its hidden part from word `at` of the arena. `shift`: high bits of the base that repeat the sign (16, or 7 with LA57), 0: none. */
export function loadSegment(svm: SvmContext, at: number, segment: number, shift = 0): void {
  const { i32 } = svm;
  const { w, h } = svm.cpu;
  h[SEG_SELECTOR + segment] = i32[at]!;
  w[SEG_ATTRIBUTES + segment] = unpackAttributes(i32[at]! >>> 16);
  w[SEG_LIMIT + segment] = i32[at + 1]!;
  w[SEG_BASE + 2 * segment] = i32[at + 2]!;
  w[SEG_BASE + 2 * segment + 1] = canonical(i32[at + 3]!, shift);
}
