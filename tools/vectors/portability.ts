/** Takes out of an answer what only this CPU, or only this kernel, would give: a vector must be right for every CPU that follows the manuals. */
import { Image, NO_EXCEPTION, Place, type VectorCase, type VectorMode } from '../../packages/conformance/src/index.js';
import type { Question } from './cases.js';

const PAGE_FAULT = 14;
const PRESENT = 1;

function withIgnored(test: VectorCase, offset: number, length: number): VectorCase {
  if (offset < 0 || offset + length > Image.size) return test;
  const ignore = [...test.ignore, { offset, bytes: new Uint8Array(length) }].sort((a, b) => a.offset - b.offset);
  return { ...test, ignore };
}

/** Where the upper half of a pushed 32-bit selector goes: CPUs write zeros there or leave it alone (SDM Vol. 2, "PUSH"). */
function selectorPadding(question: Question, mode: VectorMode): number {
  const view = new DataView(question.image.buffer);
  const pointer = mode === 16 ? view.getUint16(Image.gpr + 32, true) : view.getUint32(Image.gpr + 32, true);
  const at = (pointer - 4 + 2) & (mode === 16 ? 0xffff : -1);
  return at >= Place.window ? Image.memory + at - Place.window : -1;
}

/** True when C2 says after the instruction that there is more to reduce. */
function isPartial(question: Question, test: VectorCase): boolean {
  const image = question.image.slice(0, Image.memory);
  for (const { offset, bytes } of test.after) if (offset < Image.memory) image.set(bytes.subarray(0, Image.memory - offset), offset);
  return (image[Image.fsw + 1] & 4) !== 0;
}

/** The case as it may be kept, or null to leave it out. */
export function makePortable(form: string, mode: VectorMode, question: Question, test: VectorCase): VectorCase | null {
  const mnemonic = form.split(' ', 1)[0] as string;
  const faulted = test.exception !== NO_EXCEPTION;
  // A page of the kernel that captures: another one has it elsewhere.
  if (test.exception === PAGE_FAULT && test.errorCode & PRESENT) return null;
  // Whether the pushes of ENTER and PUSHA are written before a later one faults is nobody's business: they are below the stack pointer.
  if (/^(ENTER|PUSHA|PUSHAD)$/.test(mnemonic) && faulted && test.after.some(({ offset }) => offset >= Image.memory)) return null;
  // Whether the switch to MMX happens before a fault of the same instruction, or at all with a source in memory, differs.
  if (/^CVTT?P[SD]2PI$|^MASKMOVQ$/.test(mnemonic) && faulted) return withIgnored(test, Image.fsw, 3);
  if (/^CVTPI2P[SD]$/.test(mnemonic)) return withIgnored(test, Image.fsw, 3);
  // How far one FPREM reduces is up to the CPU, unless it is done with it (SDM Vol. 2, "FPREM").
  if (/^FPREM1?$/.test(mnemonic) && isPartial(question, test)) return null;
  if (mode !== 64 && /^PUSH (ES|CS|SS|DS|FS|GS) \| o32/.test(form) && !faulted) return withIgnored(test, selectorPadding(question, mode), 2);
  return test;
}
