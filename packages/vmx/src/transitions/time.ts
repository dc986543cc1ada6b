import { Proc1, Proc2 } from '../controls/controls.js';
import { F } from '../fields/layout.js';
import type { Vmx } from '../vmx.js';

const f = { offset: F.TSC_OFFSET, multiplier: F.TSC_MULTIPLIER } as const;

/** Takes TSC offset and multiplier from the VMCS; both count only under "use TSC offsetting". */
export function loadTsc(vmx: Vmx): void {
  const { i32, region, controls } = vmx;
  const offsetting = controls.hasProc1(Proc1.USE_TSC_OFFSETTING);
  vmx.tscOffsetLo = offsetting ? i32[region + f.offset]! : 0;
  vmx.tscOffsetHi = offsetting ? i32[region + f.offset + 1]! : 0;
  const scaling = offsetting && controls.hasProc2(Proc2.USE_TSC_SCALING);
  vmx.multiplierLo = scaling ? i32[region + f.multiplier]! : 0;
  vmx.multiplierHi = scaling ? i32[region + f.multiplier + 1]! : 1 << 16;
}

const LIMB = 0xffff;

/** Limb `i` (16 bits) of a 64-bit value in halves. */
function limb(lo: number, hi: number, i: number): number {
  const half = i < 2 ? lo : hi;
  return (i & 1) === 0 ? half & LIMB : half >>> 16;
}

const product = new Float64Array(8);

/** Bits 111:48 of the product of `cpu.lo`/`cpu.hi` and the multiplier, into `cpu.lo`/`cpu.hi` (SDM Vol. 3, "Use TSC scaling"). */
export function scaleTsc(vmx: Vmx): void {
  const { cpu, multiplierLo, multiplierHi } = vmx;
  if (multiplierLo === 0 && multiplierHi === 1 << 16) return;
  product.fill(0);
  for (let i = 0; i < 4; i++) {
    const a = limb(cpu.lo, cpu.hi, i);
    for (let j = 0; j < 4; j++) product[i + j]! += a * limb(multiplierLo, multiplierHi, j);
  }
  let carry = 0;
  for (let i = 0; i < 8; i++) {
    const sum = product[i]! + carry;
    carry = Math.floor(sum / 65536);
    product[i] = sum - carry * 65536;
  }
  cpu.lo = product[3]! | (product[4]! << 16);
  cpu.hi = product[5]! | (product[6]! << 16);
}
