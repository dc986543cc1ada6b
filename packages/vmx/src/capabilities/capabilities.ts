import { Cr0, Cr4 } from '@nestvm/isa';
import type { ControlGroup, ControlGroupKey } from '../controls/controls.js';
import { controlGroups, default1Of, Entry, Exit, Exit2, Pin, Proc1, Proc2, Proc3, VmFunction } from '../controls/controls.js';
import type { ControlRow, Generation } from '../controls/table.js';
import { generations } from '../controls/table.js';
import { VmxError } from '../errors.js';
import type { Field } from '../fields/layout.js';
import { fields, highestFieldIndex, VMCS_BYTES } from '../fields/layout.js';
import { coreModels, eptVpidRows, MISC, miscRows, specCtrlFeatures, VMCS_REVISION } from './tables.js';

/** What the capabilities depend on. */
export interface CapabilityOptions {
  /** Whether the CPU has a feature, by QEMU's name. */
  readonly has: (feature: string) => boolean;
  /** MAXPHYADDR in bits. */
  readonly physicalBits: number;
  /** CR4 bits that the CPU has, without VMXE. */
  readonly cr4: number;
  /** The core that is imitated; the newest when left out. */
  readonly generation?: Generation;
  /** Single bits by name (`proc2.ENABLE_EPT`, `ept.WALK_5`, `misc.ACTIVITY_HLT`) that are taken away. */
  readonly without?: readonly string[];
  /** Offers also what is refused and what lacks its CPU feature: for tests of the checks, never for a machine. */
  readonly everything?: boolean;
}

/** Masks of one word of controls, int32. */
export interface ControlCapability {
  /** Bits that must be 1 (the TRUE_ MSR's view). */
  readonly must: number;
  /** Bits that must be 1 for software that knows no TRUE_ MSRs. */
  readonly oldMust: number;
  /** Bits that may be 1. */
  readonly may: number;
}

/** Everything that the VMX capability MSRs say, as int32 numbers; derived from the tables and the CPU. */
export interface VmxCapabilities {
  readonly controls: Readonly<Record<ControlGroupKey, ControlCapability>>;
  readonly revision: number;
  readonly basicHi: number;
  readonly miscLo: number;
  readonly eptVpidLo: number;
  readonly eptVpidHi: number;
  readonly cr0Fixed0: number;
  readonly cr0Fixed1: number;
  readonly cr4Fixed0: number;
  readonly cr4Fixed1: number;
  /** High half of IA32_VMX_CR4_FIXED1: bit 0 is FRED. */
  readonly cr4Fixed1Hi: number;
  /** Bits of the high half of CR3 that linear-address masking uses. */
  readonly cr3LamHi: number;
  /** Bits of IA32_SPEC_CTRL that the CPU has. */
  readonly specCtrlBits: number;
  readonly vmcsEnum: number;
  /** Bits that must be zero in the high half of a physical address. */
  readonly reservedPhysicalHi: number;
  /** MAXPHYADDR in bits. */
  readonly physicalBits: number;
  /** Bits of the high half of a linear address that must repeat its sign are those from here on: 15, or 24 with 57-bit addresses. */
  readonly canonicalShift: number;
  /** Most CR3-target values, and most entries that an MSR list should have. */
  readonly cr3Targets: number;
  readonly msrListLimit: number;
  /** Whether each field exists, by ordinal. */
  readonly fieldExists: Uint8Array;
  readonly has: (feature: string) => boolean;
}

/** Masks of IA32_VMX_EPT_VPID_CAP by name, each in its half. */
export const EptVpid = Object.fromEntries(eptVpidRows.map(([key, bit]) => [key, 1 << (bit & 31)])) as Readonly<
  Record<(typeof eptVpidRows)[number][0], number>
>;
/** Masks of the yes-or-no bits of IA32_VMX_MISC. */
export const Misc = Object.fromEntries(miscRows.map(([key, bit]) => [key, 1 << bit])) as Readonly<Record<(typeof miscRows)[number][0], number>>;

/** High half of IA32_VMX_BASIC: size of the region, memory type WB, INS/OUTS information, TRUE_ MSRs, injection of exceptions without regard to their error code. */
export const Basic = {
  TYPE_WB: 6 << (50 - 32),
  INS_OUTS: 1 << (54 - 32),
  TRUE_CONTROLS: 1 << (55 - 32),
  ANY_ERROR_CODE: 1 << (56 - 32),
  NESTED_EXCEPTION: 1 << (58 - 32),
} as const;

/** The core of a CPU by EAX of CPUID leaf 1. */
export function generationOf(signature: number): Generation {
  const family = (signature >>> 8) & 15;
  const model = ((signature >>> 4) & 15) | ((signature >>> 12) & 0xf0);
  if (family !== 6) return 'newest';
  return generations.find((generation) => coreModels[generation]?.includes(model)) ?? 'newest';
}

/** Names that `without` may have. */
function allNames(): Set<string> {
  const groups: readonly (readonly [string, readonly ControlRow[]])[] = [
    ...Object.values(controlGroups).map((group): readonly [string, readonly ControlRow[]] => [group.key, group.rows]),
    ['ept', eptVpidRows],
    ['misc', miscRows],
  ];
  return new Set(groups.flatMap(([key, rows]) => rows.map((row) => `${key}.${row[0]}`)));
}

function offers(options: CapabilityOptions, group: string, row: ControlRow): boolean {
  if (options.without?.includes(`${group}.${row[0]}`)) return false;
  if (options.everything === true) return true;
  const facts = row[3];
  if (facts?.refused !== undefined || (facts?.feature !== undefined && !facts.feature.split('|').some(options.has))) return false;
  return generations.indexOf(facts?.since ?? 'Penryn') <= generations.indexOf(options.generation ?? 'newest');
}

const maskWhere = (rows: readonly ControlRow[], group: string, options: CapabilityOptions, high = false): number =>
  rows.reduce((mask, row) => (row[1] >= 32 === high && offers(options, group, row) ? mask | (1 << (row[1] & 31)) : mask), 0);

function controlCapability(group: ControlGroup, options: CapabilityOptions): ControlCapability {
  return { must: group.reservedOnes, oldMust: default1Of(group), may: maskWhere(group.rows, group.key, options) | default1Of(group) };
}

type Masks = Record<ControlGroupKey, ControlCapability>;

/** Takes away what makes no sense without something else that is not offered. */
function dropOrphans(masks: Masks, ept: boolean): void {
  const drop = (key: ControlGroupKey, bits: number): void => {
    masks[key] = { ...masks[key], may: masks[key].may & ~bits };
  };
  const lacks = (key: ControlGroupKey, bits: number): boolean => (masks[key].may & bits) === 0;
  if (!ept) drop('proc2', Proc2.ENABLE_EPT);
  if (lacks('proc2', Proc2.ENABLE_EPT)) {
    drop(
      'proc2',
      Proc2.UNRESTRICTED_GUEST | Proc2.ENABLE_PML | Proc2.EPT_VIOLATION_VE | Proc2.MODE_BASED_EXECUTE_CONTROL | Proc2.SUB_PAGE_WRITE_PERMISSIONS,
    );
    drop('proc3', Proc3.ENABLE_HLAT | Proc3.EPT_PAGING_WRITE_CONTROL | Proc3.GUEST_PAGING_VERIFICATION);
    drop('vmfunc', VmFunction.EPTP_SWITCHING);
  }
  if (lacks('proc1', Proc1.USE_TPR_SHADOW)) {
    drop('proc2', Proc2.VIRTUALIZE_X2APIC_MODE | Proc2.APIC_REGISTER_VIRTUALIZATION | Proc2.VIRTUAL_INTERRUPT_DELIVERY);
    drop('proc3', Proc3.IPI_VIRTUALIZATION);
  }
  if (lacks('proc2', Proc2.VIRTUAL_INTERRUPT_DELIVERY)) drop('proc3', Proc3.APIC_TIMER_VIRTUALIZATION);
  if (lacks('proc2', Proc2.VIRTUAL_INTERRUPT_DELIVERY) || lacks('exit', Exit.ACKNOWLEDGE_INTERRUPT)) drop('pin', Pin.PROCESS_POSTED_INTERRUPTS);
  if (lacks('pin', Pin.ACTIVATE_PREEMPTION_TIMER)) drop('exit', Exit.SAVE_PREEMPTION_TIMER);
  if (lacks('entry', Entry.LOAD_FRED)) drop('exit2', Exit2.LOAD_FRED | Exit2.SAVE_FRED);
  if (masks.vmfunc.may === 0) drop('proc2', Proc2.ENABLE_VM_FUNCTIONS);
  if (lacks('proc2', Proc2.ENABLE_VM_FUNCTIONS)) drop('vmfunc', -1);
  if (masks.exit2.may === 0) drop('exit', Exit.ACTIVATE_SECONDARY_CONTROLS);
  if (lacks('exit', Exit.ACTIVATE_SECONDARY_CONTROLS)) drop('exit2', -1);
  if (masks.proc3.may === 0) drop('proc1', Proc1.ACTIVATE_TERTIARY_CONTROLS);
  if (lacks('proc1', Proc1.ACTIVATE_TERTIARY_CONTROLS)) drop('proc3', -1);
  if (masks.proc2.may === 0) drop('proc1', Proc1.ACTIVATE_SECONDARY_CONTROLS);
  if (lacks('proc1', Proc1.ACTIVATE_SECONDARY_CONTROLS)) drop('proc2', -1);
}

function exists(field: Field, masks: Masks): boolean {
  if (field.needs === undefined) return true;
  const [group, key] = field.needs.split('.') as [ControlGroupKey, string];
  const row = controlGroups[group]?.rows.find((candidate: ControlRow) => candidate[0] === key) as ControlRow | undefined;
  return row !== undefined && (masks[group].may & (1 << row[1])) !== 0;
}

/** Derives what a CPU announces; throws `VmxError` (`bad-option`) for a name in `without` that is none. */
export function createCapabilities(options: CapabilityOptions): VmxCapabilities {
  const names = allNames();
  const unknown = options.without?.find((name) => !names.has(name));
  if (unknown !== undefined)
    throw new VmxError('bad-option', `'${unknown}' is no VMX capability; names look like proc2.ENABLE_EPT, ept.WALK_5, misc.ACTIVITY_HLT`);
  const masks = Object.fromEntries(Object.values(controlGroups).map((group) => [group.key, controlCapability(group, options)])) as Masks;
  const eptVpidLo = maskWhere(eptVpidRows, 'ept', options);
  dropOrphans(masks, (eptVpidLo & EptVpid.WALK_4) !== 0 && (eptVpidLo & EptVpid.TYPE_WB) !== 0);
  const hasEpt = (masks.proc2.may & Proc2.ENABLE_EPT) !== 0;
  const hasVpid = (masks.proc2.may & Proc2.ENABLE_VPID) !== 0;
  const fieldExists = Uint8Array.from(fields, (field) => (options.everything === true || exists(field, masks) ? 1 : 0));
  return {
    controls: masks,
    revision: VMCS_REVISION,
    basicHi:
      VMCS_BYTES | Basic.TYPE_WB | Basic.INS_OUTS | Basic.TRUE_CONTROLS | Basic.ANY_ERROR_CODE | (options.has('fred') ? Basic.NESTED_EXCEPTION : 0),
    miscLo: maskWhere(miscRows, 'misc', options) | (lacksTimer(masks) ? 0 : MISC.TIMER_SHIFT) | (MISC.CR3_TARGETS << 16) | (MISC.MSR_LIST_CODE << 25),
    eptVpidLo: hasEpt ? eptVpidLo : 0,
    eptVpidHi: hasVpid ? maskWhere(eptVpidRows, 'ept', options, true) : 0,
    cr0Fixed0: Cr0.PE | Cr0.NE | Cr0.PG,
    cr0Fixed1: -1,
    cr4Fixed0: Cr4.VMXE,
    cr4Fixed1: options.cr4 | Cr4.VMXE,
    cr4Fixed1Hi: options.has('fred') ? 1 : 0,
    cr3LamHi: options.has('lam') ? 0x6000_0000 : 0,
    specCtrlBits: specCtrlFeatures.reduce((mask, [feature, bits]) => (options.has(feature) ? mask | bits : mask), 0),
    vmcsEnum: highestFieldIndex((field) => fieldExists[field.ordinal] === 1) << 1,
    reservedPhysicalHi: options.physicalBits >= 64 ? 0 : ~(2 ** (options.physicalBits - 32) - 1),
    physicalBits: options.physicalBits,
    canonicalShift: options.has('la57') ? 24 : 15,
    cr3Targets: MISC.CR3_TARGETS,
    msrListLimit: (MISC.MSR_LIST_CODE + 1) * 512,
    fieldExists,
    has: options.has,
  };
}

const lacksTimer = (masks: Masks): boolean => (masks.pin.may & Pin.ACTIVATE_PREEMPTION_TIMER) === 0;
