import { Access } from '@nestvm/cpu';
import { deliverFault, GPR, MODE, RIP } from '@nestvm/cpu/extension';
import { ApicRegister, Mode, Vector } from '@nestvm/isa';
import type { SvmContext } from '../context.js';
import { ExitCode } from '../exits/codes.js';
import { changeWorld, serviceWrite, vmexit } from '../transitions/vmexit.js';
import { NOACCEL_WRITE } from './avic.js';
import { Rule, readRules, writeRules } from './registers.js';

const RAX = GPR;
const RDX = GPR + 4;
const READ_ONLY_X2: ReadonlySet<number> = new Set([
  ApicRegister.ID,
  ApicRegister.VERSION,
  ApicRegister.PPR,
  ApicRegister.LDR,
  ApicRegister.TIMER_CURRENT,
]);
const WRITE_ONLY_X2: ReadonlySet<number> = new Set([ApicRegister.EOI, ApicRegister.SELF_IPI]);
const ABSENT_X2: ReadonlySet<number> = new Set([ApicRegister.APR, ApicRegister.RRR, ApicRegister.DFR, ApicRegister.ICR_HIGH]);

/**
 * An access of the guest to its APIC's page, granted by paging: true when it goes on, to the backing page, whose address is then in `mmu.physical`; false when
 * it is refused, and {@link refusedAccess} follows.
 */
export function apicAccess(svm: SvmContext, bytes: number, access: number): boolean {
  const { mmu, avic, cpu } = svm;
  const offset = mmu.physical % 4096;
  const type = access & 3;
  const write = type === Access.WRITE;
  const register = offset & 0xff0;
  const rule = type === Access.EXECUTE ? Rule.FAULT : (write ? writeRules : readRules)[register >>> 4]!;
  const inRegister = bytes <= 4 && (offset & 15) + bytes <= 4;
  // What an earlier write does comes first: this access is tried again then.
  if (avic.written < 0 && inRegister && rule !== Rule.FAULT) {
    mmu.physical = avic.page + offset;
    if (write && rule !== Rule.ALLOWED) {
      avic.written = register;
      cpu.requestAttention();
    }
    return true;
  }
  avic.refusedOffset = register;
  avic.refusedWrite = write;
  return false;
}

/** What becomes of a refused access: the effect of an earlier write, or an exit. */
export function refusedAccess(svm: SvmContext): void {
  const { avic } = svm;
  const register = avic.refusedOffset;
  avic.refusedOffset = -1;
  if (avic.written >= 0) serviceWrite(svm);
  else vmexit(svm, ExitCode.AVIC_NOACCEL, 0, register, avic.refusedWrite ? NOACCEL_WRITE : 0);
}

function protection(svm: SvmContext): true {
  const { cpu } = svm;
  cpu.raise(Vector.GP, 0);
  deliverFault(cpu);
  changeWorld(svm);
  return true;
}

/** The instruction is done: RIP moves past it. */
function finish(svm: SvmContext, length: number): true {
  const { w } = svm.cpu;
  const lo = (w[RIP]! + length) | 0;
  w[RIP + 1] = (w[MODE]! & Mode.LONG) !== 0 ? w[RIP + 1]! + (lo >>> 0 < length ? 1 : 0) : 0;
  w[RIP] = lo;
  svm.cpu.attention = 1;
  return true;
}

const isStatus = (register: number): boolean => register >= ApicRegister.ISR && register < ApicRegister.ESR;

function readMsr(svm: SvmContext, register: number, length: number): true {
  const { avic } = svm;
  const { w } = svm.cpu;
  if (ABSENT_X2.has(register) || WRITE_ONLY_X2.has(register)) return protection(svm);
  if (readRules[register >>> 4] === Rule.FAULT) return vmexit(svm, ExitCode.AVIC_NOACCEL, length, register);
  w[RAX] = avic.read(register) | 0;
  w[RAX + 1] = 0;
  w[RDX] = register === ApicRegister.ICR_LOW ? avic.read(ApicRegister.ICR_HIGH) | 0 : 0;
  w[RDX + 1] = 0;
  return finish(svm, length);
}

function writeMsr(svm: SvmContext, register: number, length: number): true {
  const { avic, cpu } = svm;
  const lo = cpu.w[RAX]!;
  const hi = cpu.w[RDX]!;
  const icr = register === ApicRegister.ICR_LOW;
  if (ABSENT_X2.has(register) || READ_ONLY_X2.has(register) || isStatus(register) || (hi !== 0 && !icr)) return protection(svm);
  if (register === ApicRegister.EOI && lo !== 0) return protection(svm);
  if ((register === ApicRegister.TPR || register === ApicRegister.SELF_IPI) && (lo & ~0xff) !== 0) return protection(svm);
  if (writeRules[register >>> 4] === Rule.FAULT && register !== ApicRegister.SELF_IPI)
    return vmexit(svm, ExitCode.AVIC_NOACCEL, length, register, NOACCEL_WRITE);
  avic.write(register, lo);
  if (icr) avic.write(ApicRegister.ICR_HIGH, hi);
  finish(svm, length);
  avic.written = register;
  serviceWrite(svm);
  return true;
}

/** RDMSR or WRMSR of an x2APIC register (800h-8FFh) that is not intercepted; true: it is done, or has made its exit. */
export function accessApicMsr(svm: SvmContext, index: number, write: boolean, length: number): boolean {
  if (!svm.avic.x2 || index >>> 8 !== 8) return false;
  if (serviceWrite(svm)) return true;
  const register = (index & 0xff) << 4;
  return write ? writeMsr(svm, register, length) : readMsr(svm, register, length);
}
