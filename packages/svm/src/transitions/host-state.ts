import {
  CPL,
  CR0,
  CR3,
  CR4,
  DR,
  EFER,
  GDTR_BASE,
  GDTR_LIMIT,
  GPR,
  IDTR_BASE,
  IDTR_LIMIT,
  RIP,
  SEG_ATTRIBUTES,
  SEG_BASE,
  SEG_LIMIT,
  SEG_SELECTOR,
  syncBreakpoints,
  updateModeBits,
  word,
} from '@nestvm/cpu/extension';
import type { SvmContext } from '../context.js';
import {
  HOST_ATTRIBUTES,
  HOST_BASE,
  HOST_CET,
  HOST_CR0,
  HOST_CR3,
  HOST_CR4,
  HOST_EFER,
  HOST_GDTR_BASE,
  HOST_GDTR_LIMIT,
  HOST_IDTR_BASE,
  HOST_IDTR_LIMIT,
  HOST_LIMIT,
  HOST_PAT,
  HOST_RAX,
  HOST_RFLAGS,
  HOST_RIP,
  HOST_RSP,
  HOST_SELECTOR,
} from '../words.js';
import { restoreBranches } from './branches.js';

const PAT = word('pat');
const DR7 = DR + 14;
const RSP = GPR + 8;
const RAX = GPR;
const RFLAGS_VM = 1 << 17;
const CR0_PE = 1;
const DR7_FIXED = 0x400;
const PAGING_BIT = 1 << 31;
const CR4_PAE = 1 << 5;
const EFER_LMA = 1 << 10;

/** Where the host's 64-bit registers are kept, and where they live. */
const QUADS = Int32Array.from(
  [
    [HOST_GDTR_BASE, GDTR_BASE],
    [HOST_IDTR_BASE, IDTR_BASE],
    [HOST_EFER, EFER],
    [HOST_CR0, CR0],
    [HOST_CR3, CR3],
    [HOST_CR4, CR4],
    [HOST_RSP, RSP],
    [HOST_RAX, RAX],
    [HOST_CET, word('sCet')],
    [HOST_CET + 2, word('ssp')],
    [HOST_CET + 4, word('interruptSspTable')],
  ].flat(),
);
/** … and the 32-bit ones, those of the four segments among them. */
const DOUBLES = Int32Array.from(
  [
    [HOST_GDTR_LIMIT, GDTR_LIMIT],
    [HOST_IDTR_LIMIT, IDTR_LIMIT],
    ...[0, 1, 2, 3].flatMap((segment) => [
      [HOST_ATTRIBUTES + segment, SEG_ATTRIBUTES + segment],
      [HOST_LIMIT + segment, SEG_LIMIT + segment],
      [HOST_BASE + 2 * segment, SEG_BASE + 2 * segment],
      [HOST_BASE + 2 * segment + 1, SEG_BASE + 2 * segment + 1],
    ]),
  ].flat(),
);

function copy64(w: Int32Array, to: number, from: number): void {
  w[to] = w[from]!;
  w[to + 1] = w[from + 1]!;
}

function keep(w: Int32Array): void {
  for (let i = 0; i < QUADS.length; i += 2) copy64(w, QUADS[i]!, QUADS[i + 1]!);
  for (let i = 0; i < DOUBLES.length; i += 2) w[DOUBLES[i]!] = w[DOUBLES[i + 1]!]!;
}

function bringBack(w: Int32Array): void {
  for (let i = 0; i < QUADS.length; i += 2) copy64(w, QUADS[i + 1]!, QUADS[i]!);
  for (let i = 0; i < DOUBLES.length; i += 2) w[DOUBLES[i + 1]!] = w[DOUBLES[i]!]!;
}

/** VMRUN's first half: keeps the host's registers; RIP will be that of the next instruction. */
export function saveHost(svm: SvmContext, nextLo: number, nextHi: number): void {
  const { cpu } = svm;
  const { w, h } = cpu;
  for (let segment = 0; segment < 4; segment++) h[HOST_SELECTOR + segment] = h[SEG_SELECTOR + segment]!;
  keep(w);
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
  const { w, h } = cpu;
  for (let segment = 0; segment < 4; segment++) h[SEG_SELECTOR + segment] = h[HOST_SELECTOR + segment]!;
  bringBack(w);
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
