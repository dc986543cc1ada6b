import { Rflags, Segment, Vector } from '@nestvm/isa';
import { updateMode } from '../mode.js';
import { setRealSegment } from '../segments/descriptor.js';
import type { Vcpu } from '../vcpu.js';
import { IDTR_BASE, IDTR_LIMIT, RFLAGS, RIP, SEG_LIMIT, SEG_SELECTOR } from '../words.js';

/** Delivers one event through the real-mode interrupt vector table: FLAGS, CS, IP pushed; no error code. */
export function deliverReal(cpu: Vcpu, vector: number, returnIp: number, flags: number): boolean {
  const w = cpu.w;
  const { stack, tables } = cpu;
  const offset = vector << 2;
  if (offset + 3 > w[IDTR_LIMIT]! >>> 0) return cpu.fail(Vector.GP, (vector << 3) | 2);
  const entry = tables.read32((w[IDTR_BASE]! + offset) | 0, 0, false);
  if (entry < 0) return false;
  stack.openCurrent();
  if (!stack.push(2, flags, 0) || !stack.push(2, cpu.h[SEG_SELECTOR + Segment.CS]!, 0) || !stack.push(2, returnIp, 0)) return false;
  if ((entry & 0xffff) > w[SEG_LIMIT + Segment.CS]! >>> 0) return cpu.fail(Vector.GP, 0);
  stack.commit();
  setRealSegment(cpu, Segment.CS, entry >>> 16);
  w[RIP] = entry & 0xffff;
  w[RIP + 1] = 0;
  w[RFLAGS] = w[RFLAGS]! & ~(Rflags.IF | Rflags.TF | Rflags.AC | Rflags.RF);
  updateMode(cpu);
  return true;
}
