import { Segment, Vector } from '@nestvm/isa';
import type { Vcpu } from '../vcpu.js';
import { SEG_ATTRIBUTES, SEG_BASE, SEG_LIMIT, SEG_SELECTOR } from '../words.js';
import { fetchDescriptor, isNullSelector, markAccessed } from './descriptor.js';

/**
 * Finds the stack of an inner privilege level in a 16- or 32-bit TSS and opens `cpu.stack` on it, its descriptor in `cpu.stackDescriptor`
 * (SDM Vol. 2, INT n, "INTER-PRIVILEGE-LEVEL-INTERRUPT"). Returns the SS selector, or -1 with a fault recorded.
 */
export function innerStack(cpu: Vcpu, cpl: number): number {
  const w = cpu.w;
  const { tables } = cpu;
  const wide = (w[SEG_ATTRIBUTES + Segment.TR]! & 8) !== 0;
  const offset = wide ? 8 * cpl + 4 : 4 * cpl + 2;
  const taskError = cpu.h[SEG_SELECTOR + Segment.TR]! & 0xfffc;
  const fail = (vector: number, error: number): -1 => {
    cpu.raise(vector, error);
    return -1;
  };
  if (offset + (wide ? 5 : 3) > w[SEG_LIMIT + Segment.TR]! >>> 0) return fail(Vector.TS, taskError);
  const at = (w[SEG_BASE + 2 * Segment.TR]! + offset) | 0;
  const sp = wide ? tables.read32(at, 0, false) : tables.read16(at, 0, false);
  if (sp < 0) return -1;
  const selector = tables.read16((at + (wide ? 4 : 2)) | 0, 0, false);
  if (selector < 0) return -1;
  if (isNullSelector(selector)) return fail(Vector.TS, 0);
  const stack = cpu.stackDescriptor;
  if (!fetchDescriptor(cpu, selector, stack, Vector.TS)) return -1;
  if ((selector & 3) !== cpl || stack.dpl !== cpl || !stack.isWritableData) return fail(Vector.TS, selector & 0xfffc);
  if (!stack.present) return fail(Vector.SS, selector & 0xfffc);
  if (!markAccessed(cpu, stack)) return -1;
  cpu.stack.openSegment(stack, sp | 0, cpl === 3, selector);
  return selector;
}
