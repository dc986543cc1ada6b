import { Gpr, Segment } from '@nestvm/isa';
import { Activity } from './events/deliver.js';
import { updateMode } from './mode.js';
import { resetMpx } from './mpx/state.js';
import { resetCet } from './msr/cet.js';
import type { Vcpu } from './vcpu.js';
import {
  ACTIVITY,
  CPL,
  CR0,
  DR,
  FLAG_AUX,
  FLAG_RESULT,
  GDTR_BASE,
  GDTR_LIMIT,
  GPR,
  GUEST_MODE,
  IDTR_BASE,
  IDTR_LIMIT,
  INTERRUPTIBILITY,
  MXCSR,
  PENDING_DEBUG,
  PENDING_EVENTS,
  RFLAGS,
  RIP,
  SEG_ATTRIBUTES,
  SEG_BASE,
  SEG_LIMIT,
  SEG_SELECTOR,
  SMM,
  word,
  XCR0,
} from './words.js';

const CR0_RESET = 0x60000010;
const CR0_CD_NW = 0x60000000;

function resetSegment(cpu: Vcpu, segment: number, attributes: number): void {
  const w = cpu.w;
  cpu.h[SEG_SELECTOR + segment] = 0;
  w[SEG_ATTRIBUTES + segment] = attributes;
  w[SEG_LIMIT + segment] = 0xffff;
  w[SEG_BASE + 2 * segment] = 0;
  w[SEG_BASE + 2 * segment + 1] = 0;
}

function resetSegments(cpu: Vcpu): void {
  const w = cpu.w;
  for (let segment = 0; segment < 6; segment++) resetSegment(cpu, segment, 0x93);
  cpu.h[SEG_SELECTOR + Segment.CS] = 0xf000;
  w[SEG_BASE + 2 * Segment.CS] = 0xffff0000 | 0;
  resetSegment(cpu, Segment.LDTR, 0x82);
  resetSegment(cpu, Segment.TR, 0x8b);
  for (const base of [GDTR_BASE, IDTR_BASE]) {
    w[base] = 0;
    w[base + 1] = 0;
  }
  w[GDTR_LIMIT] = 0xffff;
  w[IDTR_LIMIT] = 0xffff;
}

/** What RESET and INIT have in common (SDM Vol. 3, "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT"). */
function resetArchitecture(cpu: Vcpu): void {
  const w = cpu.w;
  w.fill(0, GPR, GPR + 32);
  w[GPR + 2 * Gpr.RDX] = signature(cpu);
  w[RIP] = 0xfff0;
  w[RIP + 1] = 0;
  w[FLAG_RESULT] = 1;
  w[FLAG_RESULT + 1] = 0;
  w[FLAG_AUX] = 1 << 8;
  cpu.writeRflags(2);
  w[RFLAGS] = 2;
  for (const field of ['cr2', 'cr3', 'cr4', 'cr8', 'efer'] as const) cpu.set64(field, 0n);
  resetSegments(cpu);
  resetCet(cpu);
  resetMpx(cpu);
  w.fill(0, DR, DR + 16);
  w[DR + 12] = 0xffff0ff0 | 0;
  w[DR + 14] = 0x400;
  w[CPL] = 0;
  w[SMM] = 0;
  w[GUEST_MODE] = 0;
  w[INTERRUPTIBILITY] = 0;
  w[PENDING_DEBUG] = 0;
  w[word('monitorArmed')] = 0;
  cpu.mmu.flushAll();
  cpu.attention = 1;
}

/** The processor signature: CPUID.01H:EAX. */
function signature(cpu: Vcpu): number {
  return cpu.model.cpuid(1, 0, { apicId: cpu.apicId, apicEnabled: true, cr4: 0, xcr0: 1, xss: 0, limitMaximum: false }).eax | 0;
}

/** Power-up or RESET#: everything, x87 and MSRs included. An application processor then waits for a start-up IPI. */
export function reset(cpu: Vcpu): void {
  const w = cpu.w;
  const index = cpu.index;
  w.fill(0);
  w[word('index')] = index;
  w[word('a20Mask')] = -1;
  resetArchitecture(cpu);
  w[CR0] = CR0_RESET;
  w[XCR0] = 1;
  w[MXCSR] = 0x1f80;
  // Power-up leaves the x87 registers as +0.0 with valid tags; FNINIT empties them.
  w[word('fcw')] = 0x40;
  w[word('ftag')] = 0xff;
  cpu.msrs.reset();
  cpu.counters.configure();
  cpu.virtualization?.reset?.(cpu);
  cpu.mmu.forgetEverything();
  w[PENDING_EVENTS] = 0;
  w[ACTIVITY] = cpu.bootstrap ? Activity.ACTIVE : Activity.WAIT_FOR_SIPI;
  updateMode(cpu);
}

/** INIT: like RESET, but x87 and vector state, most MSRs and the caching bits of CR0 stay. */
export function initialize(cpu: Vcpu): void {
  const w = cpu.w;
  const caching = w[CR0]! & CR0_CD_NW;
  resetArchitecture(cpu);
  w[CR0] = 0x10 | caching;
  w[ACTIVITY] = cpu.bootstrap ? Activity.ACTIVE : Activity.WAIT_FOR_SIPI;
  updateMode(cpu);
}

/** A start-up IPI: real mode at vector:0000. */
export function startUp(cpu: Vcpu, vector: number): void {
  const w = cpu.w;
  cpu.h[SEG_SELECTOR + Segment.CS] = vector << 8;
  w[SEG_BASE + 2 * Segment.CS] = vector << 12;
  w[RIP] = 0;
  w[RIP + 1] = 0;
  w[ACTIVITY] = Activity.ACTIVE;
  updateMode(cpu);
}
