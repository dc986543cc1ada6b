import { Entry, Proc2 } from '../../controls/controls.js';
import { F } from '../../fields/layout.js';
import type { VmxCheck } from '../check.js';
import { check } from '../check.js';
import type { Condition } from '../condition.js';
import { all, given, off, on } from '../condition.js';
import type { EntryContext } from '../context.js';
import { canonical, isCanonical, zeroBits } from '../rules.js';
import { cetNeedsWp, cr3Width, eferFollows, eferReserved, fixedBits, fredMsrs, patTypes, perfGlobal, pkrs, sCet, specCtrl } from './state-rules.js';

const G = 'guestRegisters';

/** The guest is in IA-32e mode after the entry. */
export const ia32eGuest = on('entry', 'IA32E_MODE_GUEST');
/** … and is not. */
const guest32 = off('entry', 'IA32E_MODE_GUEST');
/** “load CET state” of the entry. */
export const loadCet = on('entry', 'LOAD_CET');
const loadDebug = on('entry', 'LOAD_DEBUG_CONTROLS');
const loadEfer = on('entry', 'LOAD_EFER');
const loadFred = on('entry', 'LOAD_FRED');
const guestPaging: Condition = given('guest CR0.PG = 1', ['GUEST_CR0'], (c) => c.lo(F.GUEST_CR0) < 0);
const mode = { text: 'IA-32e mode guest', field: 'ENTRY_CONTROLS', control: (c: EntryContext) => (c.entry & Entry.IA32E_MODE_GUEST) !== 0 } as const;

/** Whether “unrestricted guest” is in force. */
export const isUnrestricted = (c: EntryContext): boolean => (c.proc2 & Proc2.UNRESTRICTED_GUEST) !== 0;

/** Whether the guest will be in 64-bit mode. */
export const is64Bit = (c: EntryContext): boolean => (c.entry & Entry.IA32E_MODE_GUEST) !== 0 && (c.lo(F.GUEST_CS_ACCESS_RIGHTS) & (1 << 13)) !== 0;

/** Reserved bits of IA32_DEBUGCTL: all but LBR, BTF, BLD, TR, BTS, BTINT, BTS_OFF_OS/USR, the freeze bits, UNCORE_PMI, RTM. */
const DEBUGCTL_RESERVED = ~0xffc7;
/** Reserved bits of IA32_RTIT_CTL (SDM Vol. 3, "IA32_RTIT_CTL MSR"). */
const RTIT_RESERVED = [0x7084_0000, 0xfe7f_0000 | 0] as const;
/** IA32_LBR_CTL has LBREn, OS, USR, CALL_STACK and the filters 22:16. */
const LBR_RESERVED = [~0x7f_000f, -1] as const;

const control: readonly VmxCheck[] = [
  ...fixedBits(G, 'g', 'GUEST_CR0', 'GUEST_CR4', isUnrestricted, ['PRIMARY_CONTROLS', 'SECONDARY_CONTROLS']),
  check(G, 'g.cr0.pgpe', {
    when: guestPaging,
    fields: ['GUEST_CR0'],
    rule: 'PE (bit 0) is 1 when PG (bit 31) is 1',
    ok: (c) => (c.lo(F.GUEST_CR0) & 1) !== 0,
    breaks: (c) => {
      on('proc2', 'UNRESTRICTED_GUEST').arrange(c);
      c.set(F.GUEST_CR0, c.lo(F.GUEST_CR0) & ~1);
    },
  }),
  cetNeedsWp(G, 'g.cet.wp', 'GUEST_CR0', 'GUEST_CR4'),
  zeroBits(G, 'g.debugctl', 'GUEST_IA32_DEBUGCTL', [DEBUGCTL_RESERVED, -1], 'reserved bits are 0', loadDebug),
  check(G, 'g.ia32e.pg', {
    when: ia32eGuest,
    fields: ['GUEST_CR0'],
    rule: 'PG (bit 31) is 1',
    ok: (c) => c.lo(F.GUEST_CR0) < 0,
    breaks: (c) => {
      on('proc2', 'UNRESTRICTED_GUEST').arrange(c);
      c.set(F.GUEST_CR0, c.lo(F.GUEST_CR0) & 0x7fff_ffff);
    },
  }),
  check(G, 'g.ia32e.pae', {
    when: ia32eGuest,
    fields: ['GUEST_CR4'],
    rule: 'PAE (bit 5) is 1',
    ok: (c) => (c.lo(F.GUEST_CR4) & 0x20) !== 0,
    breaks: (c) => c.set(F.GUEST_CR4, c.lo(F.GUEST_CR4) & ~0x20, c.hi(F.GUEST_CR4)),
  }),
  zeroBits(G, 'g.32.pcide', 'GUEST_CR4', [1 << 17, 0], 'PCIDE (bit 17) is 0', guest32),
  zeroBits(G, 'g.32.fred', 'GUEST_CR4', [0, 1], 'FRED (bit 32) is 0', guest32, { status: 'when offered' }),
  cr3Width(G, 'g.cr3', 'GUEST_CR3'),
  zeroBits(G, 'g.dr7', 'GUEST_DR7', [0, -1], 'bits 63:32 are 0', loadDebug),
  canonical(G, 'g.sysesp', 'GUEST_SYSENTER_ESP'),
  canonical(G, 'g.syseip', 'GUEST_SYSENTER_EIP'),
];

const msrs: readonly VmxCheck[] = [
  perfGlobal(G, 'g.perf', 'GUEST_IA32_PERF_GLOBAL_CTRL', on('entry', 'LOAD_PERF_GLOBAL_CTRL')),
  patTypes(G, 'g.pat', 'GUEST_IA32_PAT', on('entry', 'LOAD_PAT')),
  eferReserved(G, 'g.efer.rsvd', 'GUEST_IA32_EFER', loadEfer),
  eferFollows(G, 'g.efer.lma', 'GUEST_IA32_EFER', 0x400, 'LMA (bit 10)', loadEfer, mode),
  check(G, 'g.efer.lme', {
    when: all(loadEfer, guestPaging),
    fields: ['GUEST_IA32_EFER'],
    rule: 'LME (bit 8) equals LMA (bit 10)',
    ok: (c) => ((c.lo(F.GUEST_IA32_EFER) >>> 8) & 1) === ((c.lo(F.GUEST_IA32_EFER) >>> 10) & 1),
    breaks: (c) => c.set(F.GUEST_IA32_EFER, c.lo(F.GUEST_IA32_EFER) ^ 0x100),
  }),
  zeroBits(G, 'g.bndcfgs.rsvd', 'GUEST_IA32_BNDCFGS', [0xffc, 0], 'bits 11:2 are 0', on('entry', 'LOAD_BNDCFGS')),
  canonical(G, 'g.bndcfgs.canon', 'GUEST_IA32_BNDCFGS', on('entry', 'LOAD_BNDCFGS')),
  zeroBits(G, 'g.rtit', 'GUEST_IA32_RTIT_CTL', RTIT_RESERVED, 'reserved bits are 0', on('entry', 'LOAD_RTIT_CTL')),
  zeroBits(G, 'g.lbrctl', 'GUEST_IA32_LBR_CTL', LBR_RESERVED, 'reserved bits are 0', on('entry', 'LOAD_LBR_CTL')),
  ...sCet(
    G,
    'g.scet',
    'GUEST_IA32_S_CET',
    loadCet,
    (c) => (is64Bit(c) ? isCanonical(c, c.hi(F.GUEST_IA32_S_CET)) : c.hi(F.GUEST_IA32_S_CET) === 0),
    ' (bits 63:32 are 0 outside 64-bit mode)',
  ),
  canonical(G, 'g.ssptab', 'GUEST_SSP_TABLE', loadCet),
  pkrs(G, 'g.pkrs', 'GUEST_IA32_PKRS', on('entry', 'LOAD_PKRS')),
  zeroBits(G, 'g.uinv', 'GUEST_UINV', [0xff00, 0], 'bits 15:8 are 0', on('entry', 'LOAD_UINV')),
  specCtrl(G, 'g.specctrl', 'GUEST_IA32_SPEC_CTRL', on('entry', 'LOAD_SPEC_CTRL')),
  ...fredMsrs(G, 'g', 'GUEST', loadFred, all(loadFred, loadCet)),
];

/** CR4.FRED of the guest. */
export const guestFred: Condition = given(
  'guest CR4.FRED = 1',
  ['GUEST_CR4'],
  (c) => (c.hi(F.GUEST_CR4) & 1) !== 0,
  (c) => c.set(F.GUEST_CR4, c.lo(F.GUEST_CR4), 1),
  'feature',
);

/** Checks on guest control registers, debug registers and MSRs. */
export const guestRegisterRows: readonly VmxCheck[] = [...control, ...msrs];
