import { CPL, CR0, CR4, DR, EFER, RIP, syncBreakpoints, updateModeBits, word } from '@nestvm/cpu/extension';
import type { SvmContext } from '../context.js';
import { HOST_PAT, HOST_RFLAGS, HOST_RIP } from '../words.js';
import { restoreBranches } from './branches.js';

const PAT = word('pat');
const DR7 = DR + 14;
const RFLAGS_VM = 1 << 17;
const CR0_PE = 1;
const DR7_FIXED = 0x400;
const PAGING_BIT = 1 << 31;
const CR4_PAE = 1 << 5;
const EFER_LMA = 1 << 10;

function copy64(w: Int32Array, to: number, from: number): void {
  w[to] = w[from]!;
  w[to + 1] = w[from + 1]!;
}

/** VMRUN's first half: keeps the host's registers; RIP will be that of the next instruction. */
export function saveHost(svm: SvmContext, nextLo: number, nextHi: number): void {
  const { cpu } = svm;
  const { w } = cpu;
  svm.transfers.hostOut(cpu.base, cpu.base);
  copy64(w, HOST_PAT, PAT);
  w[HOST_RFLAGS] = cpu.readRflags();
  w[HOST_RIP] = nextLo;
  w[HOST_RIP + 1] = nextHi;
}

/**
 * #VMEXIT's second half: brings the host's registers back (APM Vol. 2, "#VMEXIT"). `guestPat`: the guest had a PAT of its own. False: the host's
 * page-directory pointers are not valid, which shuts the processor down.
 */
export function restoreHost(svm: SvmContext, guestPat: boolean): boolean {
  const { cpu, mmu } = svm;
  const { w } = cpu;
  svm.transfers.hostIn(cpu.base, cpu.base);
  w[CR0] = w[CR0]! | CR0_PE;
  copy64(w, RIP, HOST_RIP);
  if (guestPat) copy64(w, PAT, HOST_PAT);
  cpu.writeRflags(w[HOST_RFLAGS]! & ~RFLAGS_VM);
  w[CPL] = 0;
  restoreBranches(svm);
  const hadBreakpoints = (w[DR7]! & 0xff) !== 0;
  w[DR7] = DR7_FIXED;
  w[DR7 + 1] = 0;
  if (hadBreakpoints) syncBreakpoints(cpu);
  updateModeBits(cpu);
  mmu.leaveGuest();
  const pae = (w[CR0]! & PAGING_BIT) !== 0 && (w[CR4]! & CR4_PAE) !== 0 && (w[EFER]! & EFER_LMA) === 0;
  return !pae || mmu.loadPdptes();
}
