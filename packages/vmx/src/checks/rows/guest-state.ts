import { Misc } from '../../capabilities/capabilities.js';
import { F } from '../../fields/layout.js';
import type { VmxCheck } from '../check.js';
import { check } from '../check.js';
import type { Condition } from '../condition.js';
import { all, given, inSmm, on } from '../condition.js';
import type { EntryContext } from '../context.js';
import { aligned, canonical, isCanonical, zeroBits } from '../rules.js';
import { arrangeRealMode, injectedType, injectedVector, injecting } from './exit-entry.js';
import { guestFred, ia32eGuest, is64Bit, loadCet } from './guest-registers.js';
import { arrangeV86 } from './guest-segments.js';

const R = 'guestRip';
const N = 'guestNonRegister';
const INFO = F.ENTRY_INTERRUPTION_INFORMATION;
const INTERRUPTIBILITY = F.GUEST_INTERRUPTIBILITY;
const STI = 1;
const MOV_SS = 2;
const SMI = 4;
const NMI = 8;
const ENCLAVE = 16;
const IF = 1 << 9;
const TF = 1 << 8;
const BTF = 2;
const HLT = 1;
const SHUTDOWN = 2;
const WAIT_FOR_SIPI = 3;

const ssDpl3: Condition = given('SS.DPL = 3', ['GUEST_SS_ACCESS_RIGHTS'], (c) => ((c.lo(F.GUEST_SS_ACCESS_RIGHTS) >>> 5) & 3) === 3, arrangeUser);

/** A guest at CPL 3. */
function arrangeUser(c: EntryContext): void {
  for (const name of ['CS', 'SS', 'DS', 'ES', 'FS', 'GS'] as const) {
    c.set(F[`GUEST_${name}_ACCESS_RIGHTS`], c.lo(F[`GUEST_${name}_ACCESS_RIGHTS`]) | 0x60);
    c.set(F[`GUEST_${name}_SELECTOR`], c.lo(F[`GUEST_${name}_SELECTOR`]) | 3);
  }
}

const table = (name: 'GDTR' | 'IDTR'): VmxCheck[] => [
  canonical('guestTables', `g.${name.toLowerCase()}.base`, `GUEST_${name}_BASE`),
  zeroBits('guestTables', `g.${name.toLowerCase()}.limit`, `GUEST_${name}_LIMIT`, [0xffff_0000 | 0, 0], 'bits 31:16 are 0'),
];

/** Checks on guest descriptor-table registers. */
export const guestTableRows: readonly VmxCheck[] = [...table('GDTR'), ...table('IDTR')];

const in64Bit: Condition = given('64-bit mode after the entry', ['ENTRY_CONTROLS', 'GUEST_CS_ACCESS_RIGHTS'], is64Bit);
const outside64Bit: Condition = given(
  'not in 64-bit mode after the entry',
  ['ENTRY_CONTROLS', 'GUEST_CS_ACCESS_RIGHTS'],
  (c) => !is64Bit(c),
  (c) => c.set(F.GUEST_CS_ACCESS_RIGHTS, 0xc09b),
);
const externalInterrupt = injecting('an external interrupt is injected', (c) => injectedType(c) === 0, 0x20);

/** Checks on guest RIP, RFLAGS and SSP. */
export const guestRipRows: readonly VmxCheck[] = [
  zeroBits(R, 'g.rip.32', 'GUEST_RIP', [0, -1], 'bits 63:32 are 0', outside64Bit),
  canonical(R, 'g.rip.64', 'GUEST_RIP', in64Bit),
  zeroBits(R, 'g.rflags.rsvd', 'GUEST_RFLAGS', [0xffc0_8028 | 0, -1], 'bits 63:22, 15, 5 and 3 are 0'),
  check(R, 'g.rflags.b1', {
    fields: ['GUEST_RFLAGS'],
    rule: 'bit 1 is 1',
    ok: (c) => (c.lo(F.GUEST_RFLAGS) & 2) !== 0,
    breaks: (c) => c.set(F.GUEST_RFLAGS, 0),
    hint: 'RFLAGS after reset is 2',
  }),
  check(R, 'g.rflags.vm64', {
    when: ia32eGuest,
    fields: ['GUEST_RFLAGS'],
    rule: 'VM (bit 17) is 0',
    ok: (c) => (c.lo(F.GUEST_RFLAGS) & 0x2_0000) === 0,
    breaks: (c) => {
      arrangeV86(c);
      ia32eGuest.arrange(c);
      c.set(F.GUEST_IA32_EFER, 0xd01);
    },
  }),
  check(R, 'g.rflags.vmreal', {
    when: given(
      'guest CR0.PE = 0',
      ['GUEST_CR0'],
      (c) => (c.lo(F.GUEST_CR0) & 1) === 0,
      (c) => {
        on('proc2', 'UNRESTRICTED_GUEST').arrange(c);
        arrangeRealMode(c);
      },
    ),
    fields: ['GUEST_RFLAGS'],
    rule: 'VM (bit 17) is 0',
    ok: (c) => (c.lo(F.GUEST_RFLAGS) & 0x2_0000) === 0,
    breaks: (c) => {
      c.set(F.GUEST_RFLAGS, 0x2_0002);
      for (const name of ['CS', 'SS', 'DS', 'ES', 'FS', 'GS'] as const) {
        c.set(F[`GUEST_${name}_ACCESS_RIGHTS`], 0xf3);
        c.set(F[`GUEST_${name}_LIMIT`], 0xffff);
        c.set(F[`GUEST_${name}_BASE`], c.lo(F[`GUEST_${name}_SELECTOR`]) << 4);
      }
    },
  }),
  check(R, 'g.rflags.ifinj', {
    when: externalInterrupt,
    fields: ['GUEST_RFLAGS'],
    rule: 'IF (bit 9) is 1',
    ok: (c) => (c.lo(F.GUEST_RFLAGS) & IF) !== 0,
    breaks: (c) => c.set(F.GUEST_RFLAGS, 2),
    hint: 'ask for an interrupt window instead',
  }),
  aligned(R, 'g.ssp.align', 'GUEST_SSP', 2, loadCet),
  check(R, 'g.ssp.canon', {
    when: loadCet,
    fields: ['GUEST_SSP', 'ENTRY_CONTROLS', 'GUEST_CS_ACCESS_RIGHTS'],
    subject: 'guest SSP',
    rule: 'is a canonical address (bits 63:32 are 0 outside 64-bit mode)',
    ok: (c) => (is64Bit(c) ? isCanonical(c, c.hi(F.GUEST_SSP)) : c.hi(F.GUEST_SSP) === 0),
    breaks: (c) => c.set(F.GUEST_SSP, 0, 0x1234_0000),
  }),
  zeroBits(R, 'g.fred.iopl', 'GUEST_RFLAGS', [3 << 12, 0], 'IOPL is 0', all(guestFred, ssDpl3)),
];

/** A CPU with, or without, a feature. */
function withFeature(c: EntryContext, name: string, value: boolean): void {
  const { has } = c.capabilities;
  c.capabilities = { ...c.capabilities, has: (feature) => (feature === name ? value : has(feature)) };
}

const activity = (c: EntryContext): number => c.lo(F.GUEST_ACTIVITY);
const inState = (text: string, state: number): Condition =>
  given(
    `activity state is ${text}`,
    ['GUEST_ACTIVITY'],
    (c) => activity(c) === state,
    (c) => c.set(F.GUEST_ACTIVITY, state),
  );
const blocked = (text: string, mask: number): Condition =>
  given(
    text,
    ['GUEST_INTERRUPTIBILITY'],
    (c) => (c.lo(INTERRUPTIBILITY) & mask) !== 0,
    (c) => c.set(INTERRUPTIBILITY, MOV_SS),
  );
const injectsEvent = (c: EntryContext): boolean => c.lo(INFO) < 0;
const toSmm = all(inSmm, on('entry', 'ENTRY_TO_SMM'));

/** Events that leave the HLT state: interrupts, NMI, monitor trap flag, #DB and #MC. */
function leavesHlt(c: EntryContext): boolean {
  const type = injectedType(c);
  const vector = injectedVector(c);
  return type === 0 || type === 2 || (type === 7 && vector === 0) || (type === 3 && (vector === 1 || vector === 18));
}

const activityRows: readonly VmxCheck[] = [
  check(N, 'g.act.range', {
    fields: ['GUEST_ACTIVITY'],
    rule: 'is 0, 1, 2 or 3',
    ok: (c) => activity(c) >>> 0 <= 3,
    breaks: (c) => c.set(F.GUEST_ACTIVITY, 4),
  }),
  check(N, 'g.act.cap', {
    when: given(
      'activity state is not active',
      ['GUEST_ACTIVITY'],
      (c) => activity(c) !== 0,
      (c) => c.set(F.GUEST_ACTIVITY, SHUTDOWN),
    ),
    fields: ['GUEST_ACTIVITY'],
    rule: 'the state is one that IA32_VMX_MISC[8:6] offers',
    ok: (c) => activity(c) >>> 0 > 3 || (c.capabilities.miscLo & (Misc.ACTIVITY_HLT << (activity(c) - 1))) !== 0,
    breaks: (c) => void (c.capabilities = { ...c.capabilities, miscLo: c.capabilities.miscLo & ~Misc.ACTIVITY_SHUTDOWN }),
  }),
  check(N, 'g.act.hltdpl', {
    when: inState('HLT', HLT),
    fields: ['GUEST_SS_ACCESS_RIGHTS'],
    rule: 'DPL (bits 6:5) is 0',
    ok: (c) => (c.lo(F.GUEST_SS_ACCESS_RIGHTS) & 0x60) === 0,
    breaks: arrangeUser,
  }),
  check(N, 'g.act.shadow', {
    when: blocked('blocking by STI or MOV SS', STI | MOV_SS),
    fields: ['GUEST_ACTIVITY'],
    rule: 'is 0 (active)',
    ok: (c) => activity(c) === 0,
    breaks: (c) => c.set(F.GUEST_ACTIVITY, SHUTDOWN),
  }),
  check(N, 'g.act.hltinj', {
    when: all(
      inState('HLT', HLT),
      injecting('an event is injected', () => true, 0x306),
    ),
    fields: ['ENTRY_INTERRUPTION_INFORMATION'],
    rule: 'the event is an external interrupt, an NMI, a monitor trap, #DB or #MC',
    ok: leavesHlt,
    breaks: (c) => c.set(INFO, 0x8000_0306 | 0),
  }),
  check(N, 'g.act.shutinj', {
    when: all(
      inState('shutdown', SHUTDOWN),
      injecting('an event is injected', () => true, 0x306),
    ),
    fields: ['ENTRY_INTERRUPTION_INFORMATION'],
    rule: 'the event is an NMI or #MC',
    ok: (c) => injectedType(c) === 2 || (injectedType(c) === 3 && injectedVector(c) === 18),
    breaks: (c) => c.set(INFO, 0x8000_0306 | 0),
  }),
  check(N, 'g.act.sipiinj', {
    when: inState('wait-for-SIPI', WAIT_FOR_SIPI),
    fields: ['ENTRY_INTERRUPTION_INFORMATION'],
    rule: 'no event is injected',
    ok: (c) => !injectsEvent(c),
    breaks: (c) => c.set(INFO, 0x8000_0202 | 0),
  }),
  check(N, 'g.act.smmsipi', {
    when: toSmm,
    fields: ['GUEST_ACTIVITY'],
    rule: 'is not 3 (wait-for-SIPI)',
    ok: (c) => activity(c) !== WAIT_FOR_SIPI,
    breaks: (c) => c.set(F.GUEST_ACTIVITY, WAIT_FOR_SIPI),
  }),
];

/** A bit of the interruptibility state must be 0. */
const notBlocked = (
  id: string,
  when: Condition,
  mask: number,
  name: string,
  more: { failure?: { qualification: number }; status?: 'when offered' | 'not offered'; hint?: string } = {},
): VmxCheck =>
  check(N, id, {
    ...more,
    when,
    fields: ['GUEST_INTERRUPTIBILITY'],
    rule: `${name} is 0`,
    ok: (c) => (c.lo(INTERRUPTIBILITY) & mask) === 0,
    breaks: (c) => c.set(INTERRUPTIBILITY, c.lo(INTERRUPTIBILITY) | mask),
  });

const withIf = (condition: Condition): Condition => ({
  ...condition,
  arrange: (c) => {
    condition.arrange(c);
    c.set(F.GUEST_RFLAGS, c.lo(F.GUEST_RFLAGS) | IF);
  },
});
const interrupt = withIf(externalInterrupt);
const nmi = injecting('an NMI is injected', (c) => injectedType(c) === 2, 0x202);
const enclave = given(
  '“enclave interruption” = 1',
  ['GUEST_INTERRUPTIBILITY'],
  (c) => (c.lo(INTERRUPTIBILITY) & ENCLAVE) !== 0,
  (c) => {
    withFeature(c, 'sgx', true);
    c.set(INTERRUPTIBILITY, ENCLAVE);
  },
);

const interruptibilityRows: readonly VmxCheck[] = [
  zeroBits(N, 'g.int.rsvd', 'GUEST_INTERRUPTIBILITY', [~0x1f, 0], 'bits 31:5 are 0'),
  check(N, 'g.int.both', {
    fields: ['GUEST_INTERRUPTIBILITY'],
    rule: 'blocking by STI (bit 0) and by MOV SS (bit 1) are not both 1',
    ok: (c) => (c.lo(INTERRUPTIBILITY) & 3) !== 3,
    breaks: (c) => {
      c.set(INTERRUPTIBILITY, 3);
      c.set(F.GUEST_RFLAGS, c.lo(F.GUEST_RFLAGS) | IF);
    },
  }),
  notBlocked(
    'g.int.ifsti',
    given('guest RFLAGS.IF = 0', ['GUEST_RFLAGS'], (c) => (c.lo(F.GUEST_RFLAGS) & IF) === 0),
    STI,
    'blocking by STI (bit 0)',
  ),
  notBlocked('g.int.extsti', interrupt, STI, 'blocking by STI (bit 0)'),
  notBlocked('g.int.extmovss', interrupt, MOV_SS, 'blocking by MOV SS (bit 1)'),
  notBlocked('g.int.nmimovss', nmi, MOV_SS, 'blocking by MOV SS (bit 1)'),
  notBlocked('g.int.nmisti', withIf(nmi), STI, 'blocking by STI (bit 0)', {
    failure: { qualification: 3 },
    hint: 'the manual lets a processor choose; this one refuses',
  }),
  notBlocked(
    'g.int.smi',
    given('not in SMM', [], (c) => !c.inSmm),
    SMI,
    'blocking by SMI (bit 2)',
  ),
  check(N, 'g.int.smmentry', {
    when: toSmm,
    fields: ['GUEST_INTERRUPTIBILITY'],
    rule: 'blocking by SMI (bit 2) is 1',
    ok: (c) => (c.lo(INTERRUPTIBILITY) & SMI) !== 0,
    breaks: (c) => c.set(INTERRUPTIBILITY, 0),
  }),
  notBlocked('g.int.vnmi', all(on('pin', 'VIRTUAL_NMIS'), nmi), NMI, 'blocking by NMI (bit 3)'),
  notBlocked('g.int.encmovss', enclave, MOV_SS, 'blocking by MOV SS (bit 1)', { status: 'not offered' }),
  check(N, 'g.int.encsgx', {
    when: enclave,
    fields: ['GUEST_INTERRUPTIBILITY'],
    rule: 'the CPU has SGX',
    ok: (c) => c.capabilities.has('sgx'),
    breaks: (c) => withFeature(c, 'sgx', false),
  }),
  notBlocked(
    'g.int.fredsti',
    all(guestFred, {
      ...ssDpl3,
      arrange: (c) => {
        arrangeUser(c);
        c.set(F.GUEST_RFLAGS, c.lo(F.GUEST_RFLAGS) | IF);
      },
    }),
    STI,
    'blocking by STI (bit 0)',
  ),
];

const PENDING = F.GUEST_PENDING_DEBUG;
const BS = 1 << 14;
const RTM = 1 << 16;
const stepping = (c: EntryContext): boolean => (c.lo(F.GUEST_RFLAGS) & TF) !== 0 && (c.lo(F.GUEST_IA32_DEBUGCTL) & BTF) === 0;
const heldBack: Condition = given(
  'blocking by STI or MOV SS, or activity state HLT',
  ['GUEST_INTERRUPTIBILITY', 'GUEST_ACTIVITY'],
  (c) => (c.lo(INTERRUPTIBILITY) & (STI | MOV_SS)) !== 0 || activity(c) === HLT,
  (c) => c.set(INTERRUPTIBILITY, MOV_SS),
);
const pendingRtm: Condition = given(
  'bit 16 (RTM) = 1',
  ['GUEST_PENDING_DEBUG'],
  (c) => (c.lo(PENDING) & RTM) !== 0,
  (c) => {
    withFeature(c, 'rtm', true);
    c.set(PENDING, RTM | (1 << 12));
  },
);

const pendingDebugRows: readonly VmxCheck[] = [
  check(N, 'g.pdb.rsvd', {
    fields: ['GUEST_PENDING_DEBUG'],
    rule: 'bits 63:17, 15, 13 and 11:4 are 0 (bit 11 may be 1 with bus-lock debug exceptions)',
    ok: (c) => (c.lo(PENDING) & 0xfffe_aff0 & (c.capabilities.has('bus-lock-detect') ? ~0x800 : -1)) === 0 && c.hi(PENDING) === 0,
    breaks: (c) => c.set(PENDING, 0x10),
  }),
  check(N, 'g.pdb.bs1', {
    when: all(
      heldBack,
      given('guest RFLAGS.TF = 1, IA32_DEBUGCTL.BTF = 0', ['GUEST_RFLAGS', 'GUEST_IA32_DEBUGCTL'], stepping, (c) =>
        c.set(F.GUEST_RFLAGS, c.lo(F.GUEST_RFLAGS) | TF),
      ),
    ),
    fields: ['GUEST_PENDING_DEBUG'],
    rule: 'BS (bit 14) is 1',
    ok: (c) => (c.lo(PENDING) & BS) !== 0,
    breaks: (c) => c.set(PENDING, 0),
    hint: 'the single-step trap of the guest is still to come',
  }),
  check(N, 'g.pdb.bs0', {
    when: all(
      heldBack,
      given('guest RFLAGS.TF = 0 or IA32_DEBUGCTL.BTF = 1', ['GUEST_RFLAGS', 'GUEST_IA32_DEBUGCTL'], (c) => !stepping(c)),
    ),
    fields: ['GUEST_PENDING_DEBUG'],
    rule: 'BS (bit 14) is 0',
    ok: (c) => (c.lo(PENDING) & BS) === 0,
    breaks: (c) => c.set(PENDING, BS),
  }),
  check(N, 'g.pdb.rtm', {
    when: pendingRtm,
    fields: ['GUEST_PENDING_DEBUG'],
    rule: 'bits 63:17, 15:13 and 11:0 are 0 and bit 12 is 1',
    ok: (c) => (c.lo(PENDING) & ~RTM) === 1 << 12 && c.hi(PENDING) === 0,
    breaks: (c) => c.set(PENDING, RTM),
  }),
  check(N, 'g.pdb.rtmcap', {
    when: pendingRtm,
    fields: ['GUEST_PENDING_DEBUG'],
    rule: 'the CPU has RTM',
    ok: (c) => c.capabilities.has('rtm'),
    breaks: (c) => withFeature(c, 'rtm', false),
  }),
  check(N, 'g.pdb.rtmmovss', {
    when: pendingRtm,
    fields: ['GUEST_INTERRUPTIBILITY'],
    rule: 'blocking by MOV SS (bit 1) is 0',
    ok: (c) => (c.lo(INTERRUPTIBILITY) & MOV_SS) === 0,
    breaks: (c) => c.set(INTERRUPTIBILITY, MOV_SS),
  }),
];

/** Checks on guest non-register state, but for the link pointer. */
export const guestNonRegisterRows: readonly VmxCheck[] = [...activityRows, ...interruptibilityRows, ...pendingDebugRows];
