import { CR0, CR2, CR3, CR4, EFER, RIP } from '@nestvm/cpu/extension';
import type { SvmContext } from '../context.js';
import { ExitCode } from '../exits/codes.js';
import { vmexit } from '../transitions/vmexit.js';
import { isIntercepted } from './intercept-bit.js';

const CONTROL_WORDS: Readonly<Record<number, number>> = { 0: CR0, 2: CR2, 3: CR3, 4: CR4 };
const CR8 = 8;

/** Remembers that the instruction at hand, of `length` bytes, owes an exit after it has written a register: APM Vol. 2, "SVM Intercept Exit Codes", write traps. */
export function armWriteTrap(svm: SvmContext, code: number, length: number): void {
  if (!isIntercepted(svm, code)) return;
  const { cpu } = svm;
  svm.writeTrap = code;
  svm.writeTrapRip = (cpu.w[RIP]! + length) | 0;
  cpu.attention = 1;
}

/** The exit that an instruction has left behind, with the register's new value; false when there is none, or the instruction has faulted. */
export function serviceWriteTrap(svm: SvmContext): boolean {
  const { writeTrap: code, cpu } = svm;
  if (code < 0) return false;
  svm.writeTrap = -1;
  const { w } = cpu;
  if (w[RIP] !== svm.writeTrapRip) return false;
  const register = code - ExitCode.CR0_WRITE_TRAP;
  if (register === CR8) {
    const own = cpu.virtualization?.readVirtualTpr?.(cpu) ?? -1;
    return vmexit(svm, code, 0, own >= 0 ? own : cpu.interrupts.readTpr());
  }
  const at = code === ExitCode.EFER_WRITE_TRAP ? EFER : CONTROL_WORDS[register]!;
  return vmexit(svm, code, 0, w[at]!, w[at + 1]!);
}
