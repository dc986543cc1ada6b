import { F, VmcsHeader } from '../../fields/layout.js';
import type { VmxCheck } from '../check.js';
import { check } from '../check.js';
import { all, given, inSmm, off } from '../condition.js';
import type { EntryContext } from '../context.js';
import { EntryInstruction } from '../context.js';
import { isPhysical } from '../rules.js';

const launching = given(
  'VMLAUNCH',
  [],
  (c) => c.instruction === EntryInstruction.VMLAUNCH,
  (c) => void (c.instruction = EntryInstruction.VMLAUNCH),
);
const resuming = given(
  'VMRESUME',
  [],
  (c) => c.instruction === EntryInstruction.VMRESUME,
  (c) => {
    c.instruction = EntryInstruction.VMRESUME;
    c.i32[c.base + VmcsHeader.LAUNCHED] = 1;
  },
);

/** What VMLAUNCH and VMRESUME ask before they look at the VMCS. */
export const beforeRows: readonly VmxCheck[] = [
  check('pre', 'pre.vmxop', {
    subject: 'VMX operation and mode',
    rule: 'in VMX operation, CR0.PE = 1, RFLAGS.VM = 0, not in compatibility mode',
    fields: [],
    failure: { kind: 'fault', number: 6 },
    volatile: true,
    ok: (c) => c.vmxOperation && c.legalMode,
    breaks: (c) => void (c.vmxOperation = false),
    hint: 'execute VMXON first, in 64-bit or protected mode',
  }),
  check('pre', 'pre.nonroot', {
    subject: 'VMX non-root operation',
    rule: 'in VMX root operation',
    fields: [],
    failure: { kind: 'root exit', number: 20 },
    volatile: true,
    ok: (c) => c.rootOperation,
    breaks: (c) => void (c.rootOperation = false),
  }),
  check('pre', 'pre.cpl', {
    subject: 'CPL',
    rule: 'CPL = 0',
    fields: [],
    failure: { kind: 'fault', number: 13 },
    volatile: true,
    ok: (c) => c.cpl === 0,
    breaks: (c) => void (c.cpl = 3),
  }),
  check('pre', 'pre.current', {
    subject: 'current-VMCS pointer',
    rule: 'is not FFFF_FFFF_FFFF_FFFFh',
    fields: [],
    volatile: true,
    ok: (c) => c.currentVmcs >= 0,
    breaks: (c) => void (c.currentVmcs = -1),
    hint: 'VMPTRLD makes a VMCS current; VMCLEAR of the current one ends that',
  }),
  check('pre', 'pre.shadow', {
    subject: 'shadow-VMCS indicator',
    rule: 'bit 31 of the first word of the current VMCS is 0',
    fields: [],
    volatile: true,
    ok: (c) => c.header(VmcsHeader.REVISION) >= 0,
    breaks: (c) => void (c.i32[c.base + VmcsHeader.REVISION]! |= 1 << 31),
  }),
  check('pre', 'pre.movss', {
    subject: 'blocking by MOV SS',
    rule: 'events are not blocked by MOV SS',
    fields: [],
    failure: { kind: 'VMfailValid', number: 26 },
    volatile: true,
    ok: (c) => !c.movSsBlocking,
    breaks: (c) => void (c.movSsBlocking = true),
  }),
  check('pre', 'pre.launch', {
    subject: 'launch state',
    when: launching,
    rule: 'the launch state is clear',
    fields: [],
    failure: { kind: 'VMfailValid', number: 4 },
    volatile: true,
    ok: (c) => c.header(VmcsHeader.LAUNCHED) === 0,
    breaks: (c) => void (c.i32[c.base + VmcsHeader.LAUNCHED] = 1),
    hint: 'VMCLEAR the VMCS before the first VMLAUNCH; after it use VMRESUME',
  }),
  check('pre', 'pre.resume', {
    subject: 'launch state',
    when: resuming,
    rule: 'the launch state is launched',
    fields: [],
    failure: { kind: 'VMfailValid', number: 5 },
    volatile: true,
    ok: (c) => c.header(VmcsHeader.LAUNCHED) !== 0,
    breaks: (c) => void (c.i32[c.base + VmcsHeader.LAUNCHED] = 0),
    hint: 'use VMLAUNCH after VMCLEAR',
  }),
  check('pre', 'pre.vmxoff', {
    subject: 'launch state',
    when: resuming,
    rule: 'the VMCS was not launched before a VMXOFF',
    fields: [],
    failure: { kind: 'VMfailValid', number: 6 },
    volatile: true,
    ok: (c) => !c.launchedBeforeVmxoff,
    breaks: (c) => void (c.launchedBeforeVmxoff = true),
    hint: 'VMCLEAR every active VMCS before VMXOFF',
  }),
];

const returning = all(inSmm, off('entry', 'ENTRY_TO_SMM'));
const word = F.EXECUTIVE_VMCS_POINTER;
const pointer = (c: EntryContext): number => (c.lo(word) >>> 0) + (c.hi(word) >>> 0) * 0x1_0000_0000;
const otherVmcs = all(
  returning,
  given('executive-VMCS pointer is not the VMXON pointer', ['EXECUTIVE_VMCS_POINTER'], (c) => pointer(c) !== c.vmxonRegion, arrangeExecutive),
);
const EXECUTIVE = 0x2000;

/** A launched executive VMCS in another page. */
function arrangeExecutive(c: EntryContext): void {
  const { capabilities, memory } = c;
  c.set(word, EXECUTIVE);
  memory.write32(EXECUTIVE + 4 * VmcsHeader.REVISION, capabilities.revision);
  memory.write32(EXECUTIVE + 4 * VmcsHeader.LAUNCHED, 1);
  memory.write32(EXECUTIVE + 4 * F.PIN_CONTROLS, capabilities.controls.pin.must);
  memory.write32(EXECUTIVE + 4 * F.PRIMARY_CONTROLS, capabilities.controls.proc1.must);
}

/** Word of the header of the executive VMCS. */
const executiveWord = (c: EntryContext, header: number): number => c.physicalWord(c.lo(word) + 4 * header, c.hi(word));

/** Checks of the dual-monitor treatment of SMM, which no CPU model here has: they cannot be reached. */
export const smmRows: readonly VmxCheck[] = [
  check('smm', 'smm.execptr', {
    when: returning,
    fields: ['EXECUTIVE_VMCS_POINTER'],
    rule: 'is 4-KByte aligned, within MAXPHYADDR, and its VMCS has the right revision',
    ok: (c) => (c.lo(word) & 0xfff) === 0 && isPhysical(c, c.hi(word)) && executiveWord(c, VmcsHeader.REVISION) === c.capabilities.revision,
    breaks: (c) => {
      c.vmxonRegion = 0x1001;
      c.set(word, 0x1001);
    },
  }),
  check('smm', 'smm.execlaunched', {
    when: otherVmcs,
    fields: ['EXECUTIVE_VMCS_POINTER'],
    rule: 'the executive VMCS is launched',
    failure: { number: 17 },
    ok: (c) => executiveWord(c, VmcsHeader.LAUNCHED) === 1,
    breaks: (c) => c.memory.write32(EXECUTIVE + 4 * VmcsHeader.LAUNCHED, 0),
  }),
  check('smm', 'smm.execvmxon', {
    when: all(
      inSmm,
      given(
        '“deactivate dual-monitor treatment” = 1',
        ['ENTRY_CONTROLS'],
        (c) => (c.entry & (1 << 11)) !== 0,
        (c) => c.set(F.ENTRY_CONTROLS, c.entry | (1 << 11)),
        'refused',
      ),
    ),
    fields: ['EXECUTIVE_VMCS_POINTER'],
    rule: 'is the VMXON pointer',
    failure: { number: 18 },
    ok: (c) => pointer(c) === c.vmxonRegion,
    breaks: arrangeExecutive,
  }),
  check('smm', 'smm.execctl', {
    when: otherVmcs,
    fields: ['EXECUTIVE_VMCS_POINTER'],
    subject: 'controls of the executive VMCS',
    rule: 'its pin-based and primary controls are ones that this CPU has',
    failure: { number: 25 },
    ok: (c) => controlsFit(c, 'PIN_CONTROLS', 'pin') && controlsFit(c, 'PRIMARY_CONTROLS', 'proc1'),
    breaks: (c) => c.memory.write32(EXECUTIVE + 4 * F.PIN_CONTROLS, 0),
  }),
];

function controlsFit(c: EntryContext, field: 'PIN_CONTROLS' | 'PRIMARY_CONTROLS', group: 'pin' | 'proc1'): boolean {
  const value = c.physicalWord(c.lo(word) + 4 * F[field], c.hi(word));
  const { must, may } = c.capabilities.controls[group];
  return (~value & must) === 0 && (value & ~may) === 0;
}
