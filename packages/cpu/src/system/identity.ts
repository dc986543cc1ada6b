import type { Instruction } from '@nestvm/decoder';
import { Cr4, Vector, Xstate } from '@nestvm/isa';
import { updateMode } from '../mode.js';
import { writeGpr } from '../operands.js';
import { Outcome } from '../outcome.js';
import type { Vcpu } from '../vcpu.js';
import { CR4, GPR, PKRU, XCR0 } from '../words.js';

const RAX = GPR;
const RCX = GPR + 2;
const RDX = GPR + 4;
/** Reads an extended control register: XCR0, or with ECX = 1 XCR0 AND the components in use. */
export function XGETBV(cpu: Vcpu): Outcome {
  const w = cpu.w;
  if ((w[CR4]! & Cr4.OSXSAVE) === 0) return cpu.raise(Vector.UD);
  const index = w[RCX]! >>> 0;
  if (index > (cpu.features.xgetbv1 ? 1 : 0)) return cpu.raise(Vector.GP, 0);
  // Every enabled component may be in use: XINUSE is allowed to say so.
  cpu.setGpr32(0, w[XCR0]!);
  cpu.setGpr32(2, w[XCR0 + 1]!);
  return Outcome.NEXT;
}

/** True when XCR0 may have this value: x87 always, AVX with SSE, those of MPX together, the AVX-512 components together and with AVX. */
function isXcr0Allowed(supported: number, lo: number, hi: number): boolean {
  if (hi !== 0 || (lo & ~supported) !== 0 || (lo & 1) === 0) return false;
  if ((lo & 4) !== 0 && (lo & 2) === 0) return false;
  if (((lo & Xstate.BNDREGS) === 0) !== ((lo & Xstate.BNDCSR) === 0)) return false;
  const avx512 = lo & 0xe0;
  return avx512 === 0 || (avx512 === 0xe0 && (lo & 4) !== 0);
}

/** Writes XCR0. */
export function XSETBV(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const w = cpu.w;
  if ((w[CR4]! & Cr4.OSXSAVE) === 0) return cpu.raise(Vector.UD);
  if (cpu.intercepted('XSETBV', insn.length, w[RCX]! >>> 0, true)) return Outcome.JUMPED;
  if (w[RCX] !== 0 || !isXcr0Allowed(cpu.features.xcr0, w[RAX]!, w[RDX]!)) return cpu.raise(Vector.GP, 0);
  w[XCR0] = w[RAX]!;
  w[XCR0 + 1] = 0;
  updateMode(cpu);
  return Outcome.NEXT;
}

/** Protection-key rights to EAX; ECX must be 0. */
export function RDPKRU(cpu: Vcpu): Outcome {
  const w = cpu.w;
  if ((w[CR4]! & Cr4.PKE) === 0) return cpu.raise(Vector.UD);
  if (w[RCX] !== 0) return cpu.raise(Vector.GP, 0);
  cpu.setGpr32(0, w[PKRU]!);
  cpu.setGpr32(2, 0);
  return Outcome.NEXT;
}

/** EAX to the protection-key rights; ECX and EDX must be 0. */
export function WRPKRU(cpu: Vcpu): Outcome {
  const w = cpu.w;
  if ((w[CR4]! & Cr4.PKE) === 0) return cpu.raise(Vector.UD);
  if (w[RCX] !== 0 || w[RDX] !== 0) return cpu.raise(Vector.GP, 0);
  w[PKRU] = w[RAX]!;
  updateMode(cpu);
  return Outcome.NEXT;
}

function random(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const lo = cpu.random.next();
  writeGpr(cpu, insn.rm, insn.operandSize, lo, insn.operandSize === 64 ? cpu.random.next() : 0);
  // CF says that the number is good; the other arithmetic flags are cleared.
  cpu.writeArithmeticFlags(1);
  return Outcome.NEXT;
}

export function RDRAND(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  return cpu.intercepted('RDRAND', insn.length) ? Outcome.JUMPED : random(cpu, insn);
}

export function RDSEED(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  return cpu.intercepted('RDSEED', insn.length) ? Outcome.JUMPED : random(cpu, insn);
}
