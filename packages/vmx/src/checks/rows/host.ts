import { Exit } from '../../controls/controls.js';
import { F } from '../../fields/layout.js';
import type { FieldName } from '../../fields/table.js';
import type { VmxCheck } from '../check.js';
import { check } from '../check.js';
import { all, given, off, on } from '../condition.js';
import { aligned, canonical, requires, zeroBits } from '../rules.js';
import {
  canonicalField,
  cetNeedsWp,
  cr3Width,
  eferFollows,
  eferReserved,
  fixedBits,
  fredMsrs,
  patTypes,
  perfGlobal,
  pkrs,
  sCet,
  specCtrl,
} from './state-rules.js';

const loadEfer = on('exit', 'LOAD_EFER');
const loadCet = on('exit', 'LOAD_CET');
const loadFred = on('exit2', 'LOAD_FRED');
const host64 = on('exit', 'HOST_ADDRESS_SPACE_SIZE');
const host32 = off('exit', 'HOST_ADDRESS_SPACE_SIZE');
const addressSize = {
  text: 'host address-space size',
  field: 'EXIT_CONTROLS',
  control: (c: { exit: number }) => (c.exit & Exit.HOST_ADDRESS_SPACE_SIZE) !== 0,
} as const;

/** Checks on host control registers and MSRs. */
export const hostRegisterRows: readonly VmxCheck[] = [
  ...fixedBits('hostRegisters', 'host', 'HOST_CR0', 'HOST_CR4', () => false, []),
  cetNeedsWp('hostRegisters', 'host.cet.wp', 'HOST_CR0', 'HOST_CR4'),
  cr3Width('hostRegisters', 'host.cr3', 'HOST_CR3'),
  canonical('hostRegisters', 'host.sysesp', 'HOST_SYSENTER_ESP'),
  canonical('hostRegisters', 'host.syseip', 'HOST_SYSENTER_EIP'),
  perfGlobal('hostRegisters', 'host.perf', 'HOST_IA32_PERF_GLOBAL_CTRL', on('exit', 'LOAD_PERF_GLOBAL_CTRL')),
  patTypes('hostRegisters', 'host.pat', 'HOST_IA32_PAT', on('exit', 'LOAD_PAT')),
  eferReserved('hostRegisters', 'host.efer.rsvd', 'HOST_IA32_EFER', loadEfer),
  eferFollows('hostRegisters', 'host.efer.lma', 'HOST_IA32_EFER', 0x400, 'LMA (bit 10)', loadEfer, addressSize),
  eferFollows('hostRegisters', 'host.efer.lme', 'HOST_IA32_EFER', 0x100, 'LME (bit 8)', loadEfer, addressSize),
  ...sCet('hostRegisters', 'host.scet', 'HOST_IA32_S_CET', loadCet, canonicalField('HOST_IA32_S_CET'), ''),
  aligned('hostRegisters', 'host.ssp.align', 'HOST_SSP', 2, loadCet),
  canonical('hostRegisters', 'host.ssp.canon', 'HOST_SSP', loadCet),
  canonical('hostRegisters', 'host.ssptab', 'HOST_SSP_TABLE', loadCet),
  pkrs('hostRegisters', 'host.pkrs', 'HOST_IA32_PKRS', on('exit', 'LOAD_PKRS')),
  specCtrl('hostRegisters', 'host.specctrl', 'HOST_IA32_SPEC_CTRL', on('exit2', 'LOAD_SPEC_CTRL')),
  ...fredMsrs('hostRegisters', 'host', 'HOST', loadFred, all(loadFred, loadCet)),
];

const selector = (name: string): FieldName => `HOST_${name}_SELECTOR` as FieldName;

/** A selector must not be null. */
function notNull(name: string, when?: typeof host32): VmxCheck {
  const word = F[selector(name)];
  return check('hostSegments', `host.${name.toLowerCase()}.nz`, {
    ...(when === undefined ? {} : { when }),
    fields: [selector(name)],
    rule: 'is not 0000H',
    ok: (c) => c.lo(word) !== 0,
    breaks: (c) => c.set(word, 0),
  });
}

/** Checks on host segment and descriptor-table registers. */
export const hostSegmentRows: readonly VmxCheck[] = [
  ...['ES', 'CS', 'SS', 'DS', 'FS', 'GS', 'TR'].map((name) =>
    zeroBits('hostSegments', `host.${name.toLowerCase()}.tirpl`, selector(name), [7, 0], 'RPL (bits 1:0) and TI (bit 2) are 0'),
  ),
  notNull('CS'),
  notNull('TR'),
  notNull('SS', host32),
  ...(['FS', 'GS', 'GDTR', 'IDTR', 'TR'] as const).map((name) => canonical('hostSegments', `host.${name.toLowerCase()}.base`, `HOST_${name}_BASE`)),
];

const compatibilityOrLegacy = given('IA32_EFER.LMA = 0 at the VM entry', [], (c) => !c.longMode, host32.arrange);
const inLongMode = given('IA32_EFER.LMA = 1 at the VM entry', [], (c) => c.longMode);
const highZero = (id: string, field: FieldName, when: typeof host32): VmxCheck =>
  zeroBits('addressSize', id, field, [0, -1], 'bits 63:32 are 0', when);
const volatile = { volatile: true } as const;

/** Checks that tie the controls to the mode in which the VM entry is made. */
export const addressSizeRows: readonly VmxCheck[] = [
  requires('addressSize', 'as.lma0.guest', compatibilityOrLegacy, 'entry', 'IA32E_MODE_GUEST', false, volatile),
  requires('addressSize', 'as.lma0.host', compatibilityOrLegacy, 'exit', 'HOST_ADDRESS_SPACE_SIZE', false, volatile),
  requires('addressSize', 'as.lma1.host', inLongMode, 'exit', 'HOST_ADDRESS_SPACE_SIZE', true, {
    ...volatile,
    hint: 'a 64-bit hypervisor must set bit 9 of the VM-exit controls',
  }),
  requires('addressSize', 'as.h32.guest', host32, 'entry', 'IA32E_MODE_GUEST', false),
  zeroBits('addressSize', 'as.h32.pcide', 'HOST_CR4', [1 << 17, 0], 'PCIDE (bit 17) is 0', host32),
  highZero('as.h32.rip', 'HOST_RIP', host32),
  highZero('as.h32.scet', 'HOST_IA32_S_CET', all(loadCet, host32)),
  highZero('as.h32.ssp', 'HOST_SSP', all(loadCet, host32)),
  check('addressSize', 'as.h64.pae', {
    when: host64,
    fields: ['HOST_CR4'],
    rule: 'PAE (bit 5) is 1',
    ok: (c) => (c.lo(F.HOST_CR4) & 0x20) !== 0,
    breaks: (c) => c.set(F.HOST_CR4, c.lo(F.HOST_CR4) & ~0x20),
  }),
  canonical('addressSize', 'as.h64.rip', 'HOST_RIP', host64),
];
