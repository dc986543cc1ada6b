import {
  attributesOf,
  baseOf,
  CR3,
  compileTransfers,
  GDTR_BASE,
  GDTR_LIMIT,
  GPR,
  IDTR_BASE,
  IDTR_LIMIT,
  limitOf,
  type Move,
  moveQuad,
  RIP,
  SEG_BASE,
  selectorOf,
  type Transfer,
  word,
} from '@nestvm/cpu/extension';
import { Segment } from '@nestvm/isa';
import type { Arena } from '@nestvm/memory';
import { F } from '../fields/layout.js';

const RSP = GPR + 8;
const RIGHTS = 0x1f0ff;
const CODE64 = 0xa09b;
const CODE32 = 0xc09b;
const DATA = 0xc093;
const TSS = 0x8b;
const TSS_LIMIT = 0x67;
const UNUSABLE = 1 << 16;
const TABLE_LIMIT = 0xffff;

/** Fields of 64 bits that are copied as they are, and where they live in the state. */
const guestQuads = [
  [F.GUEST_CR3, CR3],
  [F.GUEST_RSP, RSP],
  [F.GUEST_RIP, RIP],
  [F.GUEST_GDTR_BASE, GDTR_BASE],
  [F.GUEST_IDTR_BASE, IDTR_BASE],
  [F.GUEST_SYSENTER_ESP, word('sysenterEsp')],
  [F.GUEST_SYSENTER_EIP, word('sysenterEip')],
  [F.GUEST_SYSENTER_CS, word('sysenterCs')],
] as const;
/** … and of 32 bits. */
const guestWords = [
  [F.GUEST_GDTR_LIMIT, GDTR_LIMIT],
  [F.GUEST_IDTR_LIMIT, IDTR_LIMIT],
] as const;
const guestSegments = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS', 'LDTR', 'TR'] as const;
const hostQuads = [
  [F.HOST_CR3, CR3],
  [F.HOST_RSP, RSP],
  [F.HOST_RIP, RIP],
  [F.HOST_GDTR_BASE, GDTR_BASE],
  [F.HOST_IDTR_BASE, IDTR_BASE],
  [F.HOST_SYSENTER_ESP, word('sysenterEsp')],
  [F.HOST_SYSENTER_EIP, word('sysenterEip')],
  [F.HOST_SYSENTER_CS, word('sysenterCs')],
  [F.HOST_FS_BASE, SEG_BASE + 2 * Segment.FS],
  [F.HOST_GS_BASE, SEG_BASE + 2 * Segment.GS],
  [F.HOST_TR_BASE, SEG_BASE + 2 * Segment.TR],
] as const;
const hostSegments = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS', 'TR'] as const;

function guestIn(): Move[] {
  const moves: Move[] = [
    ...guestQuads.map(([field, home]) => moveQuad(field, home)),
    ...guestWords.map(([field, home]) => ({ bits: 32, from: 4 * field, to: 4 * home }) as const),
  ];
  for (const [segment, name] of guestSegments.entries())
    moves.push(
      { bits: 16, from: 4 * F[`GUEST_${name}_SELECTOR`], to: selectorOf(segment) },
      { bits: 64, from: 4 * F[`GUEST_${name}_BASE`], to: baseOf(segment) },
      { bits: 32, from: 4 * F[`GUEST_${name}_LIMIT`], to: limitOf(segment) },
      { bits: 32, from: 4 * F[`GUEST_${name}_ACCESS_RIGHTS`], to: attributesOf(segment), convert: (rights) => rights.and(RIGHTS) },
    );
  return moves;
}

/** The way back: selectors become fields, whose words have 32 bits. */
const guestOut = (): Move[] =>
  guestIn().map(({ bits, from, to }) => (bits === 16 ? { bits: 32, narrow: true, from: to, to: from! } : { bits, from: to, to: from! }));

/** Segment registers of the host: flat, but for the bases that have fields (SDM Vol. 3, "Loading Host Segment and Descriptor-Table Registers"). */
function hostIn(long: boolean): Move[] {
  const moves: Move[] = hostQuads.map(([field, home]) => moveQuad(field, home));
  for (const name of hostSegments) {
    const segment = Segment[name];
    const from = 4 * F[`HOST_${name}_SELECTOR`];
    moves.push({ bits: 16, from, to: selectorOf(segment) });
    if (segment < Segment.FS) moves.push({ bits: 64, to: baseOf(segment), value: 0 });
    if (name === 'CS') moves.push({ bits: 32, to: attributesOf(segment), value: long ? CODE64 : CODE32 });
    else if (name === 'TR') moves.push({ bits: 32, to: attributesOf(segment), value: TSS });
    else moves.push({ bits: 32, from, to: attributesOf(segment), narrow: true, convert: (selector) => selector.isZero().mul(UNUSABLE).or(DATA) });
    moves.push({ bits: 32, to: limitOf(segment), value: name === 'TR' ? TSS_LIMIT : -1 });
  }
  moves.push(
    { bits: 16, to: selectorOf(Segment.LDTR), value: 0 },
    { bits: 32, to: attributesOf(Segment.LDTR), value: UNUSABLE },
    { bits: 32, to: 4 * GDTR_LIMIT, value: TABLE_LIMIT },
    { bits: 32, to: 4 * IDTR_LIMIT, value: TABLE_LIMIT },
  );
  return moves;
}

/** What VM entries and exits copy between a VMCS and the vCPU state: all from the VMCS to the state but `guestOut`. */
export interface VmcsTransfers {
  readonly guestIn: Transfer;
  readonly guestOut: Transfer;
  readonly host64In: Transfer;
  readonly host32In: Transfer;
}

export const createTransfers = (arena: Arena): VmcsTransfers =>
  compileTransfers(arena, { guestIn: guestIn(), guestOut: guestOut(), host64In: hostIn(true), host32In: hostIn(false) });
