import type { Vcpu } from '../vcpu.js';

/** A state component of XSAVE that is a list of 64-bit registers (SDM Vol. 1, "XSAVE-Managed State"). */
export interface QuadComponent {
  readonly number: number;
  /** Words of the vCPU's state, in the order of the component. */
  readonly registers: readonly number[];
  /** A flag of the state that is bit 63 of one register's place: which one, the flag's word, and what else its high half may hold. */
  readonly flag?: { readonly register: number; readonly word: number; readonly rest: number };
  /** Whether XRSTOR(S) may load a register with a value; left out: any. The flag is not in it. */
  readonly allow?: (cpu: Vcpu, register: number, lo: number, hi: number) => boolean;
  /** Whether it may be loaded at all, now. */
  readonly ready?: (cpu: Vcpu) => boolean;
  /** What saving with XSAVES changes. */
  readonly saved?: (cpu: Vcpu) => void;
  /** What follows when the component was loaded or put into its initial configuration. */
  readonly changed?: (cpu: Vcpu) => void;
}

/** The component's bit, or 0 while it is in its initial configuration: all zero. */
export function inUseBit({ number, registers, flag }: QuadComponent, w: Int32Array): number {
  let any = flag === undefined ? 0 : w[flag.word]!;
  for (let i = 0; i < registers.length; i++) any |= w[registers[i]!]! | w[registers[i]! + 1]!;
  return any === 0 ? 0 : 1 << number;
}

/** Writes the component at a byte offset of an XSAVE area. */
export function putQuads({ registers, flag }: QuadComponent, w: Int32Array, area: Int32Array, at: number): void {
  const first = at >>> 2;
  for (let i = 0; i < registers.length; i++) {
    area[first + 2 * i] = w[registers[i]!]!;
    area[first + 2 * i + 1] = w[registers[i]! + 1]!;
  }
  if (flag !== undefined) area[first + 2 * flag.register + 1]! |= w[flag.word]! << 31;
}

/** Loads the component, which {@link areQuadsGood} has judged. */
export function takeQuads({ registers, flag, changed }: QuadComponent, cpu: Vcpu, area: Int32Array, at: number): void {
  const { w } = cpu;
  const first = at >>> 2;
  for (let i = 0; i < registers.length; i++) {
    w[registers[i]!] = area[first + 2 * i]!;
    w[registers[i]! + 1] = area[first + 2 * i + 1]!;
  }
  if (flag !== undefined) {
    const high = registers[flag.register]! + 1;
    w[flag.word] = w[high]! >>> 31;
    w[high] = w[high]! & flag.rest;
  }
  changed?.(cpu);
}

/** Puts the component into its initial configuration. */
export function clearQuads({ registers, flag, changed }: QuadComponent, cpu: Vcpu): void {
  for (let i = 0; i < registers.length; i++) cpu.w.fill(0, registers[i]!, registers[i]! + 2);
  if (flag !== undefined) cpu.w[flag.word] = 0;
  changed?.(cpu);
}

/** Whether what an area holds may be loaded; false means #GP. */
export function areQuadsGood({ registers, flag, allow, ready }: QuadComponent, cpu: Vcpu, area: Int32Array, at: number): boolean {
  if (ready !== undefined && !ready(cpu)) return false;
  const first = at >>> 2;
  return registers.every((register, i) => {
    const hi = area[first + 2 * i + 1]!;
    if (flag?.register === i && (hi & 0x7fff_ffff & ~flag.rest) !== 0) return false;
    return allow === undefined || allow(cpu, register, area[first + 2 * i]!, hi);
  });
}
