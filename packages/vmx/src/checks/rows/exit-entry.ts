import { Basic, Misc } from '../../capabilities/capabilities.js';
import { Entry, Proc1 } from '../../controls/controls.js';
import { F } from '../../fields/layout.js';
import type { FieldName } from '../../fields/table.js';
import type { CheckGroup, VmxCheck } from '../check.js';
import { check } from '../check.js';
import type { Condition } from '../condition.js';
import { all, given, inSmm, on } from '../condition.js';
import type { EntryContext } from '../context.js';
import { aligned, lastWithinWidth, mayBeOne, mustBeOne, requires, withinWidth } from '../rules.js';

/** The three checks of an MSR list. */
function msrList(group: CheckGroup, id: string, address: FieldName, count: FieldName): VmxCheck[] {
  const countWord = F[count];
  const used = given(
    `${count === 'EXIT_MSR_STORE_COUNT' ? 'VM-exit MSR-store' : count === 'EXIT_MSR_LOAD_COUNT' ? 'VM-exit MSR-load' : 'VM-entry MSR-load'} count > 0`,
    [count],
    (c) => c.lo(countWord) !== 0,
    (c) => {
      c.set(F[count], 2);
      c.set(F[address], 0x1_4000);
    },
  );
  return [
    aligned(group, `${id}.align`, address, 4, used),
    withinWidth(group, `${id}.width`, address, used),
    lastWithinWidth(group, `${id}.last`, address, { field: count, text: '16 × count − 1', offset: (c) => (c.lo(countWord) >>> 0) * 16 - 1 }, used),
  ];
}

/** Checks on the VM-exit control fields. */
export const exitRows: readonly VmxCheck[] = [
  mustBeOne('exit', 'exit.must1', 'exit'),
  mayBeOne('exit', 'exit.may1', 'exit'),
  mayBeOne('exit', 'exit2.may1', 'exit2', on('exit', 'ACTIVATE_SECONDARY_CONTROLS'), 64),
  requires('exit', 'exit.savetimer', on('exit', 'SAVE_PREEMPTION_TIMER'), 'pin', 'ACTIVATE_PREEMPTION_TIMER'),
  ...msrList('exit', 'exit.msrstore', 'EXIT_MSR_STORE_ADDRESS', 'EXIT_MSR_STORE_COUNT'),
  ...msrList('exit', 'exit.msrload', 'EXIT_MSR_LOAD_ADDRESS', 'EXIT_MSR_LOAD_COUNT'),
];

const INFO = F.ENTRY_INTERRUPTION_INFORMATION;
const VALID = 1 << 31;
const DELIVER_ERROR = 1 << 11;
/** Exceptions that push an error code: #DF #TS #NP #SS #GP #PF #AC. */
const WITH_ERROR = (1 << 8) | (1 << 10) | (1 << 11) | (1 << 12) | (1 << 13) | (1 << 14) | (1 << 17);

/** Type of the injected event, or -1. */
export const injectedType = (c: EntryContext): number => (c.lo(INFO) < 0 ? (c.lo(INFO) >>> 8) & 7 : -1);
/** Vector of the injected event. */
export const injectedVector = (c: EntryContext): number => c.lo(INFO) & 0xff;
const fred = (c: EntryContext): boolean => (c.hi(F.GUEST_CR4) & 1) !== 0;

/** An event is injected; the one of `info` when arranged. */
export const injecting = (text: string, test: (c: EntryContext) => boolean, info: number): Condition =>
  given(
    text,
    ['ENTRY_INTERRUPTION_INFORMATION'],
    (c) => c.lo(INFO) < 0 && test(c),
    (c) => c.set(INFO, info | VALID),
  );

const any = injecting('an event is injected', () => true, 0x306);
const ofType = (type: number, vector: number): Condition =>
  injecting(`the injected event has type ${type}`, (c) => injectedType(c) === type, (type << 8) | vector);
const software = injecting('the injected event has type 4, 5 or 6', (c) => injectedType(c) >= 4 && injectedType(c) <= 6, (4 << 8) | 0x80);
const deliversError = injecting('“deliver error code” = 1', (c) => (c.lo(INFO) & DELIVER_ERROR) !== 0, (3 << 8) | DELIVER_ERROR | 13);
const changeInfo = (keep: number, set: number) => (c: EntryContext) => c.set(INFO, (c.lo(INFO) & keep) | set);

const injection: readonly VmxCheck[] = [
  check('entry', 'inj.type1', {
    when: any,
    fields: ['ENTRY_INTERRUPTION_INFORMATION'],
    rule: 'the type (bits 10:8) is not 1, which is reserved',
    ok: (c) => injectedType(c) !== 1,
    breaks: changeInfo(~0x700, 0x100),
  }),
  check('entry', 'inj.type7mtf', {
    when: injecting('the injected event has type 7 and vector 0', (c) => injectedType(c) === 7 && injectedVector(c) === 0, 7 << 8),
    fields: ['ENTRY_INTERRUPTION_INFORMATION'],
    rule: 'the CPU has the monitor trap flag (IA32_VMX_PROCBASED_CTLS[59])',
    ok: (c) => (c.capabilities.controls.proc1.may & Proc1.MONITOR_TRAP_FLAG) !== 0,
    breaks: (c) => {
      const { proc1 } = c.capabilities.controls;
      c.capabilities = {
        ...c.capabilities,
        controls: { ...c.capabilities.controls, proc1: { ...proc1, may: proc1.may & ~Proc1.MONITOR_TRAP_FLAG } },
      };
    },
  }),
  check('entry', 'inj.nmi', {
    when: ofType(2, 2),
    fields: ['ENTRY_INTERRUPTION_INFORMATION'],
    rule: 'the vector of an NMI is 2',
    ok: (c) => injectedVector(c) === 2,
    breaks: changeInfo(~0xff, 3),
  }),
  check('entry', 'inj.hw', {
    when: ofType(3, 6),
    fields: ['ENTRY_INTERRUPTION_INFORMATION'],
    rule: 'the vector of a hardware exception is at most 31',
    ok: (c) => injectedVector(c) <= 31,
    breaks: changeInfo(~0xff, 32),
  }),
  check('entry', 'inj.other', {
    when: ofType(7, 0),
    fields: ['ENTRY_INTERRUPTION_INFORMATION', 'GUEST_CR4'],
    rule: 'the vector is 0 (at most 2 with guest CR4.FRED = 1)',
    ok: (c) => injectedVector(c) === 0 || (fred(c) && injectedVector(c) <= 2),
    breaks: changeInfo(~0xff, 5),
  }),
  check('entry', 'inj.ec.type', {
    when: deliversError,
    fields: ['ENTRY_INTERRUPTION_INFORMATION'],
    rule: 'the type is 3 (hardware exception)',
    ok: (c) => injectedType(c) === 3,
    breaks: changeInfo(~0x7ff, 0x480),
  }),
  check('entry', 'inj.ec.real', {
    when: all(
      on('proc2', 'UNRESTRICTED_GUEST'),
      given('guest CR0.PE = 0', ['GUEST_CR0'], (c) => (c.lo(F.GUEST_CR0) & 1) === 0, arrangeRealMode),
    ),
    fields: ['ENTRY_INTERRUPTION_INFORMATION'],
    rule: '“deliver error code” is 0',
    ok: (c) => c.lo(INFO) >= 0 || (c.lo(INFO) & DELIVER_ERROR) === 0,
    breaks: (c) => c.set(INFO, VALID | (3 << 8) | DELIVER_ERROR | 13),
    hint: 'exceptions push no error code in real mode',
  }),
  check('entry', 'inj.ec.vector', {
    when: all(
      ofType(3, 13 | DELIVER_ERROR),
      given('guest CR0.PE = 1', ['GUEST_CR0'], (c) => (c.lo(F.GUEST_CR0) & 1) !== 0),
      given(
        'IA32_VMX_BASIC[56] = 0',
        [],
        (c) => (c.capabilities.basicHi & Basic.ANY_ERROR_CODE) === 0,
        (c) => void (c.capabilities = { ...c.capabilities, basicHi: c.capabilities.basicHi & ~Basic.ANY_ERROR_CODE }),
      ),
    ),
    fields: ['ENTRY_INTERRUPTION_INFORMATION'],
    rule: '“deliver error code” is 1 exactly for the vectors 8, 10 to 14 and 17',
    ok: (c) => ((c.lo(INFO) & DELIVER_ERROR) !== 0) === (injectedVector(c) < 32 && (WITH_ERROR & (1 << injectedVector(c))) !== 0),
    breaks: changeInfo(~DELIVER_ERROR, 0),
  }),
  check('entry', 'inj.rsvd', {
    when: any,
    fields: ['ENTRY_INTERRUPTION_INFORMATION'],
    rule: 'bits 30:12 are 0 (bit 13 may be 1 with IA32_VMX_BASIC[58] = 1)',
    ok: (c) => (c.lo(INFO) & 0x7fff_f000 & ((c.capabilities.basicHi & Basic.NESTED_EXCEPTION) === 0 ? -1 : ~0x2000)) === 0,
    breaks: changeInfo(-1, 0x1000),
  }),
  check('entry', 'inj.nested', {
    when: injecting('bit 13 of the injected event = 1', (c) => (c.lo(INFO) & 0x2000) !== 0, (3 << 8) | 6 | 0x2000),
    fields: ['ENTRY_INTERRUPTION_INFORMATION'],
    rule: 'the type is 3 (hardware exception)',
    status: 'when offered',
    ok: (c) => injectedType(c) === 3,
    breaks: changeInfo(~0x7ff, 0x480),
  }),
  check('entry', 'inj.ec.high', {
    when: deliversError,
    fields: ['ENTRY_EXCEPTION_ERROR_CODE'],
    rule: 'bits 31:16 are 0',
    ok: (c) => c.lo(F.ENTRY_EXCEPTION_ERROR_CODE) >>> 16 === 0,
    breaks: (c) => c.set(F.ENTRY_EXCEPTION_ERROR_CODE, 0x1_0000),
  }),
  check('entry', 'inj.len.max', {
    when: software,
    fields: ['ENTRY_INSTRUCTION_LENGTH'],
    rule: 'is at most 15',
    ok: (c) => c.lo(F.ENTRY_INSTRUCTION_LENGTH) >>> 0 <= 15,
    breaks: (c) => c.set(F.ENTRY_INSTRUCTION_LENGTH, 16),
  }),
  check('entry', 'inj.len.zero', {
    when: software,
    fields: ['ENTRY_INSTRUCTION_LENGTH'],
    rule: 'is not 0 unless IA32_VMX_MISC[30] is 1',
    ok: (c) => c.lo(F.ENTRY_INSTRUCTION_LENGTH) !== 0 || (c.capabilities.miscLo & Misc.ZERO_LENGTH_INJECTION) !== 0,
    breaks: (c) => {
      c.capabilities = { ...c.capabilities, miscLo: c.capabilities.miscLo & ~Misc.ZERO_LENGTH_INJECTION };
      c.set(F.ENTRY_INSTRUCTION_LENGTH, 0);
    },
  }),
];

/** A real-mode guest; the condition before has made it unrestricted. */
export function arrangeRealMode(c: EntryContext): void {
  c.set(F.ENTRY_CONTROLS, c.entry & ~Entry.IA32E_MODE_GUEST);
  c.set(F.GUEST_CR0, 0x30);
  c.set(F.GUEST_CR4, 0x2000);
  c.set(F.GUEST_IA32_EFER, 0);
  c.set(F.GUEST_CS_ACCESS_RIGHTS, 0xc09b);
  c.set(F.GUEST_RIP, 0x1000);
}

const outsideSmm = given('not in SMM', [], (c) => !c.inSmm);

/** Checks on the VM-entry control fields. */
export const entryRows: readonly VmxCheck[] = [
  mustBeOne('entry', 'entry.must1', 'entry'),
  mayBeOne('entry', 'entry.may1', 'entry'),
  ...injection,
  requires('entry', 'entry.smm', outsideSmm, 'entry', 'ENTRY_TO_SMM', false, { status: 'not offered' }),
  requires('entry', 'entry.dualmon', outsideSmm, 'entry', 'DEACTIVATE_DUAL_MONITOR', false, { status: 'not offered' }),
  requires('entry', 'entry.smmboth', all(inSmm, on('entry', 'ENTRY_TO_SMM')), 'entry', 'DEACTIVATE_DUAL_MONITOR', false),
  requires(
    'entry',
    'entry.rtit',
    given(
      'IA32_RTIT_CTL.TraceEn = 1',
      [],
      (c) => c.tracing,
      (c) => void (c.tracing = true),
      'refused',
    ),
    'entry',
    'LOAD_RTIT_CTL',
    false,
    { volatile: true },
  ),
  ...msrList('entry', 'entry.msrload', 'ENTRY_MSR_LOAD_ADDRESS', 'ENTRY_MSR_LOAD_COUNT'),
];
