import {
  attributesOf,
  baseOf,
  type Conversion,
  CR0,
  CR2,
  CR3,
  CR4,
  CSTAR,
  compileTransfers,
  DR,
  EFER,
  FMASK,
  GDTR_BASE,
  GDTR_LIMIT,
  GPR,
  IDTR_BASE,
  IDTR_LIMIT,
  KERNEL_GS_BASE,
  LSTAR,
  limitOf,
  type Move,
  moveQuad,
  RIP,
  SEG_BASE,
  STAR,
  selectorOf,
  type Transfer,
  word,
} from '@nestvm/cpu/extension';
import { Segment } from '@nestvm/isa';
import type { Arena } from '@nestvm/memory';
import { Vmcb } from '../vmcb/layout.js';
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
  HOST_RAX,
  HOST_RSP,
  HOST_SELECTOR,
} from '../words.js';

const RSP = GPR + 8;
const RAX = GPR;
const DR6 = DR + 12;
const DR7 = DR + 14;
const S_CET = word('sCet');
const SSP = word('ssp');
const INTERRUPT_SSP_TABLE = word('interruptSspTable');
const PRESENT = 0x80;
/** How far the bit "unusable" of access rights is above "present". */
const UNUSABLE_SHIFT = 9;
const LIMIT_16 = 0xffff;

/** From the vCPU state's access rights to the 12 bits of a VMCB, above the selector; what is unusable is not present there. */
const pack: Conversion = (rights) => {
  const present = rights.and(PRESENT).and(rights.shrU(UNUSABLE_SHIFT).and(PRESENT).xor(PRESENT));
  return rights.and(0x7f).or(present).or(rights.shrU(4).and(0xf00)).shl(16);
};
/** The way back. */
const unpack: Conversion = (word32) => {
  const packed = word32.shrU(16);
  const unusable = packed.and(PRESENT).xor(PRESENT).shl(UNUSABLE_SHIFT);
  return packed.and(0xff).or(packed.and(0xf00).shl(4)).or(unusable);
};

const swapped = (moves: readonly Move[]): Move[] => moves.map(({ bits, from, to }) => ({ bits, from: to, to: from! }));

/** A segment register with its hidden part; `shift`: high bits of the base that repeat the sign (0: none). */
function segmentIn(at: number, segment: number, shift = 0): Move[] {
  const base: Move[] =
    shift === 0
      ? [moveQuad(at + 2, SEG_BASE + 2 * segment)]
      : [
          { bits: 32, from: 4 * (at + 2), to: baseOf(segment) },
          { bits: 32, from: 4 * (at + 3), to: baseOf(segment) + 4, convert: (high) => high.shl(shift).shrS(shift) },
        ];
  return [
    { bits: 16, from: 4 * at, to: selectorOf(segment) },
    { bits: 32, from: 4 * at, to: attributesOf(segment), convert: unpack },
    { bits: 32, from: 4 * (at + 1), to: limitOf(segment) },
    ...base,
  ];
}

/** The attributes' word goes first: the selector is its lower half. */
const segmentOut = (at: number, segment: number): Move[] => [
  { bits: 32, from: attributesOf(segment), to: 4 * at, convert: pack },
  { bits: 16, from: selectorOf(segment), to: 4 * at },
  { bits: 32, from: limitOf(segment), to: 4 * (at + 1) },
  moveQuad(SEG_BASE + 2 * segment, at + 2),
];

/** What VMRUN and #VMEXIT move, and VMLOAD and VMSAVE: VMCB word, segment. */
const WORLD_SEGMENTS = [
  [Vmcb.ES, Segment.ES],
  [Vmcb.CS, Segment.CS],
  [Vmcb.SS, Segment.SS],
  [Vmcb.DS, Segment.DS],
] as const;
const HIDDEN_SEGMENTS = [
  [Vmcb.FS, Segment.FS],
  [Vmcb.GS, Segment.GS],
  [Vmcb.LDTR, Segment.LDTR],
  [Vmcb.TR, Segment.TR],
] as const;

/** 64-bit registers that are copied as they are: VMCB word, vCPU word. */
const COPIED = [
  [Vmcb.CR2, CR2],
  [Vmcb.CR3, CR3],
  [Vmcb.RIP, RIP],
  [Vmcb.RSP, RSP],
  [Vmcb.RAX, RAX],
  [Vmcb.GDTR + 2, GDTR_BASE],
  [Vmcb.IDTR + 2, IDTR_BASE],
] as const;
/** … those of CET, where the CPU has it … */
const CET = [
  [Vmcb.S_CET, S_CET],
  [Vmcb.SSP, SSP],
  [Vmcb.INTERRUPT_SSP_TABLE, INTERRUPT_SSP_TABLE],
] as const;
/** … and those that VMRUN loads with care. */
const STORED = [
  [Vmcb.EFER, EFER],
  [Vmcb.CR0, CR0],
  [Vmcb.CR4, CR4],
  [Vmcb.DR6, DR6],
  [Vmcb.DR7, DR7],
] as const;
/** The addresses among what VMLOAD and VMSAVE move beside segments, and the others: STAR and SFMASK are none. */
const HIDDEN_ADDRESSES = [
  [Vmcb.LSTAR, LSTAR],
  [Vmcb.CSTAR, CSTAR],
  [Vmcb.KERNEL_GS_BASE, KERNEL_GS_BASE],
  [Vmcb.SYSENTER_CS, word('sysenterCs')],
  [Vmcb.SYSENTER_ESP, word('sysenterEsp')],
  [Vmcb.SYSENTER_EIP, word('sysenterEip')],
] as const;
const HIDDEN_QUADS = [
  [Vmcb.STAR, STAR],
  [Vmcb.SFMASK, FMASK],
] as const;

/** The host's registers, and where they are kept. */
const hostOut: readonly Move[] = [
  ...(
    [
      [GDTR_BASE, HOST_GDTR_BASE],
      [IDTR_BASE, HOST_IDTR_BASE],
      [EFER, HOST_EFER],
      [CR0, HOST_CR0],
      [CR3, HOST_CR3],
      [CR4, HOST_CR4],
      [RSP, HOST_RSP],
      [RAX, HOST_RAX],
      [S_CET, HOST_CET],
      [SSP, HOST_CET + 2],
      [INTERRUPT_SSP_TABLE, HOST_CET + 4],
    ] as const
  ).map(([own, kept]) => moveQuad(own, kept)),
  { bits: 32, from: 4 * GDTR_LIMIT, to: 4 * HOST_GDTR_LIMIT },
  { bits: 32, from: 4 * IDTR_LIMIT, to: 4 * HOST_IDTR_LIMIT },
  ...[0, 1, 2, 3].flatMap((segment): Move[] => [
    { bits: 16, from: selectorOf(segment), to: 2 * (HOST_SELECTOR + segment) },
    { bits: 32, from: attributesOf(segment), to: 4 * (HOST_ATTRIBUTES + segment) },
    { bits: 32, from: limitOf(segment), to: 4 * (HOST_LIMIT + segment) },
    moveQuad(SEG_BASE + 2 * segment, HOST_BASE + 2 * segment),
  ]),
];

function guestIn(cet: boolean): Move[] {
  return [
    ...WORLD_SEGMENTS.flatMap(([at, segment]) => segmentIn(at, segment)),
    ...[...COPIED, ...(cet ? CET : [])].map(([from, to]) => moveQuad(from, to)),
    { bits: 32, from: 4 * (Vmcb.GDTR + 1), to: 4 * GDTR_LIMIT, convert: (limit) => limit.and(LIMIT_16) },
    { bits: 32, from: 4 * (Vmcb.IDTR + 1), to: 4 * IDTR_LIMIT, convert: (limit) => limit.and(LIMIT_16) },
  ];
}

function guestOut(cet: boolean): Move[] {
  return [
    ...WORLD_SEGMENTS.flatMap(([at, segment]) => segmentOut(at, segment)),
    ...[...COPIED, ...STORED, ...(cet ? CET : [])].map(([to, from]) => moveQuad(from, to)),
    { bits: 32, from: 4 * GDTR_LIMIT, to: 4 * (Vmcb.GDTR + 1) },
    { bits: 32, from: 4 * IDTR_LIMIT, to: 4 * (Vmcb.IDTR + 1) },
  ];
}

function hiddenIn(shift: number): Move[] {
  return [
    ...HIDDEN_SEGMENTS.flatMap(([at, segment]) => segmentIn(at, segment, shift)),
    ...HIDDEN_QUADS.map(([from, to]) => moveQuad(from, to)),
    ...HIDDEN_ADDRESSES.flatMap(([from, to]): Move[] => [
      { bits: 32, from: 4 * from, to: 4 * to },
      { bits: 32, from: 4 * from + 4, to: 4 * to + 4, convert: (high) => high.shl(shift).shrS(shift) },
    ]),
  ];
}

const hiddenOut = (): Move[] => [
  ...HIDDEN_SEGMENTS.flatMap(([at, segment]) => segmentOut(at, segment)),
  ...[...HIDDEN_QUADS, ...HIDDEN_ADDRESSES].map(([to, from]) => moveQuad(from, to)),
];

/** What world switches copy: guests between a VMCB and the vCPU state, the host's registers within the vCPU state. */
export interface VmcbTransfers {
  readonly guestIn: Transfer;
  readonly guestOut: Transfer;
  readonly hostOut: Transfer;
  readonly hostIn: Transfer;
  readonly hiddenIn: Transfer;
  readonly hiddenOut: Transfer;
}

/** The transfers for a CPU; `shift`: high bits of an address that repeat its sign. */
export const createTransfers = (arena: Arena, cet: boolean, shift: number): VmcbTransfers =>
  compileTransfers(arena, {
    guestIn: guestIn(cet),
    guestOut: guestOut(cet),
    hostOut,
    hostIn: swapped(hostOut),
    hiddenIn: hiddenIn(shift),
    hiddenOut: hiddenOut(),
  });
