import type { Instruction } from '@nestvm/decoder';
import { Cr4, Mode, Vector } from '@nestvm/isa';
import { isCanonical } from '../mode.js';
import { Outcome } from '../outcome.js';
import type { Vcpu } from '../vcpu.js';
import { CR4, GPR, GUEST_MODE, MODE } from '../words.js';

const RAX = GPR;
const RCX = GPR + 2;
const RDX = GPR + 4;

/** Bits of rAX: which of address, PCID and ASID must match. Whether global entries and tables are concerned, too, makes no difference here: they always are. */
const Match = { ADDRESS: 1 << 0, PCID: 1 << 1, ASID: 1 << 2, GLOBAL: 1 << 3, FINAL_ONLY: 1 << 4 } as const;
const RESERVED = 0xfff & ~(Match.ADDRESS | Match.PCID | Match.ASID | Match.GLOBAL | Match.FINAL_ONLY);
/** ECX: further pages, and steps of 2 MiB instead of 4 KiB. */
const COUNT = 0xffff;
const LARGE_STEPS = 1 << 31;
/** EDX: the ASID, and the PCID above it. */
const ASID = 0xffff;
const PCID = 0xfff << 16;
const PAGE = 4096;
const ALL = -1;

/** What the model says: the most further pages, and the number of ASIDs. */
function limits({ model, apicId }: Vcpu): { pages: number; asids: number } {
  const state = { apicId, apicEnabled: true, cr4: 0, xcr0: 1, xss: 0, limitMaximum: false };
  return { pages: model.cpuid(0x80000008, 0, state).edx & COUNT, asids: model.cpuid(0x8000000a, 0, state).ebx };
}

/** Whether the operands are allowed (APM Vol. 3, INVLPGB). A guest's ASID is not looked at: it can only mean itself. */
function isLegal(cpu: Vcpu): boolean {
  const { w } = cpu;
  const { pages, asids } = limits(cpu);
  if ((w[RAX]! & RESERVED) !== 0 || (w[RCX]! & ~(COUNT | LARGE_STEPS)) !== 0 || (w[RDX]! & ~(ASID | PCID)) !== 0) return false;
  if ((w[RCX]! & COUNT) > pages) return false;
  if ((w[RAX]! & Match.PCID) !== 0 && (w[RDX]! & PCID) !== 0 && (w[CR4]! & Cr4.PCIDE) === 0) return false;
  const asid = w[RDX]! & ASID;
  return w[GUEST_MODE] !== 0 || (w[RAX]! & Match.ASID) === 0 || asid === 0 || asid < asids;
}

/** Forgets translations of a tag (`ALL`: of every one) on one processor: all that may match, and maybe more. */
function forget({ mmu }: Vcpu, tag: number, addressed: boolean, lo: number, hi: number, pages: number): void {
  if (tag === ALL) mmu.invalidateAllTags(true);
  else if (!addressed) mmu.invalidateTag(tag);
  else {
    for (let i = 0; i < pages; i++) {
      const at = (lo + i * PAGE) | 0;
      mmu.invalidateTagPage(tag, at, (hi + (at >>> 0 < lo >>> 0 ? 1 : 0)) | 0);
    }
  }
}

/** Invalidates translations on all processors: by address, PCID and ASID, as far as rAX says so. */
export function INVLPGB(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const { w } = cpu;
  const own = ownTag(cpu);
  if (own < 0) return cpu.raise(Vector.UD);
  if (cpu.intercepted('INVLPGB', insn.length)) return Outcome.JUMPED;
  if (!isLegal(cpu)) return cpu.intercepted('INVLPGB_ILLEGAL', insn.length) ? Outcome.JUMPED : cpu.raise(Vector.GP, 0);
  const guest = w[GUEST_MODE] !== 0;
  const tag = guest ? own : (w[RAX]! & Match.ASID) === 0 ? ALL : w[RDX]! & ASID;
  const lo = w[RAX]! & ~0xfff;
  const hi = (w[MODE]! & Mode.LONG) !== 0 ? w[RAX + 1]! : 0;
  // Steps of 2 MiB are for large pages, of which the TLB may have pieces anywhere in them.
  const addressed = (w[RAX]! & Match.ADDRESS) !== 0 && (w[RCX]! & LARGE_STEPS) === 0;
  if (addressed && !isCanonical(cpu, hi)) return Outcome.NEXT;
  for (const peer of cpu.peers()) forget(peer, tag, addressed, lo, hi, (w[RCX]! & COUNT) + 1);
  return Outcome.NEXT;
}

/** Waits for what INVLPGB has begun: here it is done at once. */
export function TLBSYNC(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (ownTag(cpu) < 0) return cpu.raise(Vector.UD);
  return cpu.intercepted('TLBSYNC', insn.length) ? Outcome.JUMPED : Outcome.NEXT;
}

/** The tag of translations that the program may invalidate: 0 for the host; a guest's ASID when its hypervisor lets it have these instructions, else -1. */
function ownTag(cpu: Vcpu): number {
  return cpu.w[GUEST_MODE] === 0 ? 0 : (cpu.virtualization?.broadcastTag?.() ?? -1);
}
