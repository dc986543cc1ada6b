import { Mode, Segment, Vector } from '@nestvm/isa';
import type { Vcpu } from '../vcpu.js';
import { CPL, MODE } from '../words.js';
import { fetchDescriptor, isNullSelector, markAccessed, setNullSegment, setRealSegment, setSegment, setVirtualSegment } from './descriptor.js';

function loadStackSegment(cpu: Vcpu, selector: number): boolean {
  const cpl = cpu.w[CPL]!;
  const rpl = selector & 3;
  if (isNullSelector(selector)) {
    if ((cpu.w[MODE]! & Mode.LONG) === 0 || cpl === 3 || rpl !== cpl) return cpu.fail(Vector.GP, 0);
    setNullSegment(cpu, Segment.SS, selector, cpl);
    return true;
  }
  const descriptor = cpu.descriptor;
  if (!fetchDescriptor(cpu, selector, descriptor)) return false;
  if (rpl !== cpl || !descriptor.isWritableData || descriptor.dpl !== cpl) return cpu.fail(Vector.GP, selector & 0xfffc);
  if (!descriptor.present) return cpu.fail(Vector.SS, selector & 0xfffc);
  if (!markAccessed(cpu, descriptor)) return false;
  setSegment(cpu, Segment.SS, selector, descriptor);
  return true;
}

function loadDataSegment(cpu: Vcpu, segment: number, selector: number): boolean {
  if (isNullSelector(selector)) {
    setNullSegment(cpu, segment, selector);
    return true;
  }
  const descriptor = cpu.descriptor;
  if (!fetchDescriptor(cpu, selector, descriptor)) return false;
  const outside = Math.max(selector & 3, cpu.w[CPL]!) > descriptor.dpl;
  if (!descriptor.isReadable || (!descriptor.isConforming && outside)) return cpu.fail(Vector.GP, selector & 0xfffc);
  if (!descriptor.present) return cpu.fail(Vector.NP, selector & 0xfffc);
  if (!markAccessed(cpu, descriptor)) return false;
  setSegment(cpu, segment, selector, descriptor);
  return true;
}

/**
 * Loads ES, SS, DS, FS or GS as MOV, POP and LxS do (SDM Vol. 2, MOV, "Loading a segment register"); false when a fault was recorded,
 * with nothing changed. The caller calls `updateMode` and, for SS, sets the interrupt shadow.
 */
export function loadSegment(cpu: Vcpu, segment: number, selector: number): boolean {
  const mode = cpu.w[MODE]!;
  if ((mode & Mode.PROTECTED) === 0) {
    if ((mode & Mode.V8086) !== 0) setVirtualSegment(cpu, segment, selector);
    else setRealSegment(cpu, segment, selector);
    return true;
  }
  return segment === Segment.SS ? loadStackSegment(cpu, selector) : loadDataSegment(cpu, segment, selector);
}
