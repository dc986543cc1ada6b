import type { Instruction } from '@nestvm/decoder';
import { Cr0, Segment, Vector } from '@nestvm/isa';
import { Shadow, updateMode } from '../mode.js';
import { Outcome } from '../outcome.js';
import { setRealSegment } from '../segments/descriptor.js';
import type { Vcpu } from '../vcpu.js';
import {
  ACTIVITY,
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
  INTERRUPTIBILITY,
  RIP,
  SEG_ATTRIBUTES,
  SEG_BASE,
  SEG_LIMIT,
  SEG_SELECTOR,
  SMM,
  SSP,
  word,
} from '../words.js';

const SMBASE = word('smbase');
/** The state-save map lies from SMBASE + 0xFE00 on (APM Vol. 2, "SMRAM State-Save Area": the AMD64 layout, which Intel processors with 64-bit mode share in use). */
const MAP = 0xfe00;
const ENTRY = 0x8000;
/** Revision with SMBASE relocation (bit 17) and I/O restart (bit 16). */
const REVISION = 0x30064;

/** 64-bit fields of the map by offset, and where they live in the state (32-bit word index). */
const QUADS: readonly (readonly [offset: number, at: number])[] = [
  ...[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15].map((n): readonly [number, number] => [0x1f8 - 8 * n, GPR + 2 * n]),
  [0x178, RIP],
  [0x150, CR3],
  [0x148, CR4],
  [0x158, CR0],
  [0x0d0, EFER],
  [0x168, DR + 12],
  [0x160, DR + 14],
  [0x068, GDTR_BASE],
  [0x088, IDTR_BASE],
  [0x118, SSP],
];
const SEGMENTS: readonly (readonly [offset: number, segment: number])[] = [
  [0x00, Segment.ES],
  [0x10, Segment.CS],
  [0x20, Segment.SS],
  [0x30, Segment.DS],
  [0x40, Segment.FS],
  [0x50, Segment.GS],
  [0x70, Segment.LDTR],
  [0x90, Segment.TR],
];
const FLAGS = 0x170;
const STATE = { HALT: 0xc9, NMI: 0xca, REVISION: 0xfc, SMBASE: 0x100, GDTR_LIMIT: 0x64, IDTR_LIMIT: 0x84, CPL: 0xcb } as const;

function mapAddress(cpu: Vcpu): number {
  return (cpu.w[SMBASE]! >>> 0) + MAP;
}

/** Attributes in the map are bits 55:40 of a descriptor's second word, 12 bits: type, S, DPL, P, AVL, L, D, G. */
const packAttributes = (rights: number): number => (rights & 0xff) | ((rights >>> 4) & 0xf00) | ((rights & 0x10000) >>> 1);
const unpackAttributes = (packed: number): number => (packed & 0xff) | ((packed & 0xf00) << 4) | ((packed & 0x8000) << 1);

function saveState(cpu: Vcpu): void {
  const { w, h, memory } = cpu;
  const map = mapAddress(cpu);
  for (const [offset, at] of QUADS) {
    memory.write32(map + offset, w[at]! >>> 0);
    memory.write32(map + offset + 4, w[at + 1]! >>> 0);
  }
  for (const [offset, segment] of SEGMENTS) {
    memory.write16(map + offset, h[SEG_SELECTOR + segment]!);
    memory.write16(map + offset + 2, packAttributes(w[SEG_ATTRIBUTES + segment]!));
    memory.write32(map + offset + 4, w[SEG_LIMIT + segment]! >>> 0);
    memory.write32(map + offset + 8, w[SEG_BASE + 2 * segment]! >>> 0);
    memory.write32(map + offset + 12, w[SEG_BASE + 2 * segment + 1]! >>> 0);
  }
  memory.write32(map + FLAGS, cpu.readRflags() >>> 0);
  memory.write32(map + FLAGS + 4, 0);
  memory.write16(map + STATE.GDTR_LIMIT, w[GDTR_LIMIT]!);
  memory.write16(map + STATE.IDTR_LIMIT, w[IDTR_LIMIT]!);
  memory.write8(map + STATE.HALT, w[ACTIVITY]!);
  memory.write8(map + STATE.NMI, (w[INTERRUPTIBILITY]! & Shadow.NMI) !== 0 ? 1 : 0);
  memory.write8(map + STATE.CPL, w[CPL]!);
  memory.write32(map + STATE.REVISION, REVISION);
  memory.write32(map + STATE.SMBASE, w[SMBASE]! >>> 0);
}

/** Enters system-management mode (SDM Vol. 3, "SMM Handler Execution Environment"). */
export function enterSmm(cpu: Vcpu): void {
  const { w } = cpu;
  cpu.virtualization?.enterSmm?.(cpu);
  // The map is written to SMRAM, which the board shows from here on.
  cpu.onPlatformEvent('smm-enter');
  saveState(cpu);
  w[SMM] = 1;
  w[ACTIVITY] = 0;
  w[INTERRUPTIBILITY] = (w[INTERRUPTIBILITY]! | Shadow.NMI) & ~(Shadow.STI | Shadow.MOV_SS);
  w[CR0] = w[CR0]! & ~(Cr0.PE | Cr0.EM | Cr0.TS | Cr0.PG);
  w[CR4] = 0;
  w[CR4 + 1] = 0;
  w[EFER] = 0;
  w[DR + 14] = 0x400;
  w[CPL] = 0;
  cpu.writeRflags(2);
  for (const segment of [Segment.ES, Segment.SS, Segment.DS, Segment.FS, Segment.GS, Segment.CS]) {
    setRealSegment(cpu, segment, 0);
    w[SEG_LIMIT + segment] = -1;
    w[SEG_ATTRIBUTES + segment] = 0x8093;
  }
  cpu.h[SEG_SELECTOR + Segment.CS] = (w[SMBASE]! >>> 4) & 0xffff;
  w[SEG_BASE + 2 * Segment.CS] = w[SMBASE]!;
  w[RIP] = ENTRY;
  w[RIP + 1] = 0;
  updateMode(cpu);
}

/** Returns from system-management mode: everything comes from the map; an impossible state shuts the CPU down as #UD-less hardware does. */
export function leaveSmm(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const { w, h, memory } = cpu;
  // A hypervisor that emulates SMM for its guest lives on this: the intercept comes before #UD.
  if (cpu.intercepted('RSM', insn.length)) return Outcome.JUMPED;
  if (w[SMM] === 0) return cpu.raise(Vector.UD);
  const map = mapAddress(cpu);
  for (const [offset, at] of QUADS) {
    w[at] = memory.read32(map + offset);
    w[at + 1] = memory.read32(map + offset + 4);
  }
  for (const [offset, segment] of SEGMENTS) {
    h[SEG_SELECTOR + segment] = memory.read16(map + offset);
    w[SEG_ATTRIBUTES + segment] = unpackAttributes(memory.read16(map + offset + 2));
    w[SEG_LIMIT + segment] = memory.read32(map + offset + 4);
    w[SEG_BASE + 2 * segment] = memory.read32(map + offset + 8);
    w[SEG_BASE + 2 * segment + 1] = memory.read32(map + offset + 12);
  }
  w[GDTR_LIMIT] = memory.read16(map + STATE.GDTR_LIMIT);
  w[IDTR_LIMIT] = memory.read16(map + STATE.IDTR_LIMIT);
  w[CPL] = memory.read8(map + STATE.CPL) & 3;
  cpu.writeRflags(memory.read32(map + FLAGS) & 0x3f7fd7);
  w[ACTIVITY] = memory.read8(map + STATE.HALT) === 1 ? 1 : 0;
  w[INTERRUPTIBILITY] = (w[INTERRUPTIBILITY]! & ~Shadow.NMI) | (memory.read8(map + STATE.NMI) !== 0 ? Shadow.NMI : 0);
  w[SMBASE] = memory.read32(map + STATE.SMBASE);
  w[SMM] = 0;
  cpu.onPlatformEvent('smm-leave');
  cpu.virtualization?.leaveSmm?.(cpu);
  updateMode(cpu);
  cpu.requestAttention();
  return Outcome.JUMPED;
}
