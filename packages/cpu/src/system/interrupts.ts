import type { Instruction } from '@nestvm/decoder';
import { Cr4, Mode, Rflags, Segment, Vector } from '@nestvm/isa';
import { iopl } from '../address.js';
import { softwareInterrupt } from '../events/deliver.js';
import { updateModeBits } from '../mode.js';
import { Outcome } from '../outcome.js';
import { EventKind } from '../ports/virtualization.js';
import { setVirtualSegment } from '../segments/descriptor.js';
import type { Vcpu } from '../vcpu.js';
import { CR4, GUEST_MODE, MODE, RFLAGS, RIP, SEG_BASE, SEG_LIMIT, SEG_SELECTOR } from '../words.js';

const TR_BASE = SEG_BASE + 2 * Segment.TR;

/** Asks the interrupt redirection bitmap, the 32 bytes below the I/O bitmap: 1 to the protected-mode handler, 0 to the 8086 one, -1 fault recorded. */
function redirection(cpu: Vcpu, vector: number): number {
  const { w, tables } = cpu;
  const limit = w[SEG_LIMIT + Segment.TR]! >>> 0;
  const base = w[TR_BASE]!;
  const fail = (): number => {
    cpu.raise(Vector.GP, 0);
    return -1;
  };
  if (limit < 0x67) return fail();
  const map = tables.read16((base + 0x66) | 0, 0, false);
  if (map < 0) return -1;
  const offset = map - 32 + (vector >>> 3);
  if (offset < 0 || offset > limit) return fail();
  const bits = tables.read8((base + offset) | 0, 0, false);
  return bits < 0 ? -1 : (bits >>> (vector & 7)) & 1;
}

/** INT n to the 8086 program's own handler, through the vector table at linear 0 (SDM Vol. 3, "Redirection of Software Interrupts"). */
function redirect(cpu: Vcpu, vector: number, length: number): Outcome {
  const { w, stack } = cpu;
  const entry = cpu.tables.read32(vector << 2, 0, false);
  if (entry < 0) return Outcome.FAULT;
  let image = cpu.readRflags();
  const virtualized = iopl(image) < 3;
  if (virtualized) image = (image & ~Rflags.IF) | ((image & Rflags.VIF) !== 0 ? Rflags.IF : 0) | Rflags.IOPL;
  stack.openCurrent();
  if (!stack.push(2, image, 0) || !stack.push(2, cpu.h[SEG_SELECTOR + Segment.CS]!, 0) || !stack.push(2, w[RIP]! + length, 0)) return Outcome.FAULT;
  stack.commit();
  setVirtualSegment(cpu, Segment.CS, entry >>> 16);
  w[RIP] = entry & 0xffff;
  w[RIP + 1] = 0;
  w[RFLAGS] = w[RFLAGS]! & ~(Rflags.TF | Rflags.NT | (virtualized ? Rflags.VIF : Rflags.IF));
  cpu.trapFlag = 0;
  updateModeBits(cpu);
  return Outcome.JUMPED;
}

/** Software interrupt; in virtual-8086 mode it goes by IOPL and, under VME, by the redirection bitmap. */
export function INT(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const vector = insn.immediate & 0xff;
  if (cpu.intercepted('INT', insn.length, vector)) return Outcome.JUMPED;
  const { w } = cpu;
  if ((w[MODE]! & Mode.V8086) !== 0) {
    if ((w[CR4]! & Cr4.VME) !== 0) {
      const target = redirection(cpu, vector);
      if (target < 0) return Outcome.FAULT;
      if (target === 0) return redirect(cpu, vector, insn.length);
    }
    if (iopl(w[RFLAGS]!) < 3) return cpu.raise(Vector.GP, 0);
  }
  return softwareInterrupt(cpu, vector, EventKind.SOFTWARE_INTERRUPT, insn.length);
}

/** A software exception: hypervisors intercept it as the exception that it is. */
function softwareException(cpu: Vcpu, vector: number, kind: EventKind, length: number): Outcome {
  if (cpu.w[GUEST_MODE] !== 0 && cpu.virtualization?.interceptException(cpu, vector, 0, false, kind) === true) return Outcome.JUMPED;
  return softwareInterrupt(cpu, vector, kind, length);
}

/** Breakpoint. */
export const INT3 = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome =>
  cpu.intercepted('INT3', insn.length) ? Outcome.JUMPED : softwareException(cpu, Vector.BP, EventKind.SOFTWARE_EXCEPTION, insn.length);

/** Overflow trap. */
export function INTO(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if ((cpu.readRflags() & Rflags.OF) === 0) return Outcome.NEXT;
  if (cpu.intercepted('INTO', insn.length)) return Outcome.JUMPED;
  return softwareException(cpu, Vector.OF, EventKind.SOFTWARE_EXCEPTION, insn.length);
}

/** ICEBP: #DB without a check of the gate's DPL, and without a bit in DR6. */
export const INT1 = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome =>
  cpu.intercepted('INT1', insn.length) ? Outcome.JUMPED : softwareException(cpu, Vector.DB, EventKind.PRIVILEGED_SOFTWARE_EXCEPTION, insn.length);

/** Undefined instructions on purpose: UD0, UD1, UD2. */
export const undefinedInstruction = (cpu: Vcpu): Outcome => cpu.raise(Vector.UD);
