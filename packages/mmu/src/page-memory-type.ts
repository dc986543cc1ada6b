import { Cr0, vcpuState } from '@nestvm/isa';
import type { ElementsView } from '@nestvm/state';
import { viewStruct } from '@nestvm/state';
import type { Walk } from './guest/walk.js';
import { effectiveType, MemoryType, mtrrType, patType } from './memory-type.js';

const listOf = (elements: ElementsView<bigint>): bigint[] => Array.from({ length: elements.length }, (_, index) => elements.get(index));

/** Memory type of a physical address that was reached by a walk (undefined without paging), from the MTRRs, PAT and CR0 of the vCPU at `vcpuBase`. */
export function memoryTypeAt(buffer: ArrayBufferLike, vcpuBase: number, physical: bigint, walk: Walk | undefined): number {
  const { cr0, pat, mtrrDefType, mtrrFixed, mtrrVariable } = viewStruct(vcpuState, buffer, vcpuBase);
  if ((cr0 & BigInt(Cr0.CD)) !== 0n) return MemoryType.UC;
  const mtrr = mtrrType({ defType: mtrrDefType, fixed: listOf(mtrrFixed), variable: listOf(mtrrVariable) }, physical);
  if (walk === undefined) return mtrr;
  return effectiveType(mtrr, patType(pat, walk.low[walk.depth - 1]!, walk.sizeShift > 12));
}
