import { VmxError } from '../errors.js';
import type { FieldName } from '../fields/table.js';
import type { ControlRow } from './table.js';
import { entryRows, exitRows, pinRows, primaryRows, secondaryExitRows, secondaryRows, tertiaryRows, vmFunctionRows } from './table.js';

/** The bits of a table of controls, as masks by key. */
export type Bits<Rows extends readonly ControlRow[]> = { readonly [Key in Rows[number][0]]: number };

/** A word of controls: where it is in the VMCS, its capability MSRs, its bits. */
export interface ControlGroup {
  /** Short name, used in `Field.needs` and in messages. */
  readonly key: 'pin' | 'proc1' | 'proc2' | 'proc3' | 'exit' | 'exit2' | 'entry' | 'vmfunc';
  readonly title: string;
  readonly field: FieldName;
  /** Name of the capability MSR and, if there is one, of its TRUE_ sibling. */
  readonly msr: string;
  readonly trueMsr?: string;
  readonly rows: readonly ControlRow[];
  /** Reserved bits that read as must-be-1. */
  readonly reservedOnes: number;
}

function bitsOf<const Rows extends readonly ControlRow[]>(rows: Rows): Bits<Rows> {
  const bits: Record<string, number> = {};
  let seen = 0;
  for (const [key, bit] of rows) {
    if ((seen & (1 << bit)) !== 0 || key in bits)
      throw new VmxError('bad-table', `control ${key}: bit ${bit} or the name is there twice; correct controls/table.ts`);
    seen |= 1 << bit;
    bits[key] = 1 << bit;
  }
  // A copy: an object that grew key by key is a hash table in V8, which entries and exits would search at each look.
  return { ...bits } as Bits<Rows>;
}

/** Masks of the pin-based controls (int32, like those of all groups). */
export const Pin = bitsOf(pinRows);
/** Masks of the primary processor-based controls. */
export const Proc1 = bitsOf(primaryRows);
/** Masks of the secondary processor-based controls. */
export const Proc2 = bitsOf(secondaryRows);
/** Masks of the tertiary processor-based controls, low half. */
export const Proc3 = bitsOf(tertiaryRows);
/** Masks of the primary VM-exit controls. */
export const Exit = bitsOf(exitRows);
/** Masks of the secondary VM-exit controls, low half. */
export const Exit2 = bitsOf(secondaryExitRows);
/** Masks of the VM-entry controls. */
export const Entry = bitsOf(entryRows);
/** Masks of the VM-function controls, low half. */
export const VmFunction = bitsOf(vmFunctionRows);

const maskOf = (...bits: readonly number[]): number => bits.reduce((mask, bit) => mask | (1 << bit), 0);

/** Every word of controls. The reserved ones are those of SDM Vol. 3, "Reserved Controls and Default Settings". */
export const controlGroups = {
  pin: {
    key: 'pin',
    title: 'pin-based VM-execution controls',
    field: 'PIN_CONTROLS',
    msr: 'IA32_VMX_PINBASED_CTLS',
    trueMsr: 'IA32_VMX_TRUE_PINBASED_CTLS',
    rows: pinRows,
    reservedOnes: maskOf(1, 2, 4),
  },
  proc1: {
    key: 'proc1',
    title: 'primary processor-based VM-execution controls',
    field: 'PRIMARY_CONTROLS',
    msr: 'IA32_VMX_PROCBASED_CTLS',
    trueMsr: 'IA32_VMX_TRUE_PROCBASED_CTLS',
    rows: primaryRows,
    reservedOnes: maskOf(1, 4, 5, 6, 8, 13, 14, 26),
  },
  proc2: {
    key: 'proc2',
    title: 'secondary processor-based VM-execution controls',
    field: 'SECONDARY_CONTROLS',
    msr: 'IA32_VMX_PROCBASED_CTLS2',
    rows: secondaryRows,
    reservedOnes: 0,
  },
  proc3: {
    key: 'proc3',
    title: 'tertiary processor-based VM-execution controls',
    field: 'TERTIARY_CONTROLS',
    msr: 'IA32_VMX_PROCBASED_CTLS3',
    rows: tertiaryRows,
    reservedOnes: 0,
  },
  exit: {
    key: 'exit',
    title: 'primary VM-exit controls',
    field: 'EXIT_CONTROLS',
    msr: 'IA32_VMX_EXIT_CTLS',
    trueMsr: 'IA32_VMX_TRUE_EXIT_CTLS',
    rows: exitRows,
    reservedOnes: maskOf(0, 1, 3, 4, 5, 6, 7, 8, 10, 11, 13, 14, 16, 17),
  },
  exit2: {
    key: 'exit2',
    title: 'secondary VM-exit controls',
    field: 'SECONDARY_EXIT_CONTROLS',
    msr: 'IA32_VMX_EXIT_CTLS2',
    rows: secondaryExitRows,
    reservedOnes: 0,
  },
  entry: {
    key: 'entry',
    title: 'VM-entry controls',
    field: 'ENTRY_CONTROLS',
    msr: 'IA32_VMX_ENTRY_CTLS',
    trueMsr: 'IA32_VMX_TRUE_ENTRY_CTLS',
    rows: entryRows,
    reservedOnes: maskOf(0, 1, 3, 4, 5, 6, 7, 8, 12),
  },
  vmfunc: {
    key: 'vmfunc',
    title: 'VM-function controls',
    field: 'VM_FUNCTION_CONTROLS',
    msr: 'IA32_VMX_VMFUNC',
    rows: vmFunctionRows,
    reservedOnes: 0,
  },
} as const satisfies Readonly<Record<ControlGroup['key'], ControlGroup>>;

/** The key of a group of controls. */
export type ControlGroupKey = ControlGroup['key'];

/** Bits of the default1 class: must be 1 for software that does not know the TRUE_ MSRs. */
export const default1Of = (group: ControlGroup): number =>
  group.rows.reduce((mask, [, bit, , facts]) => (facts?.default1 === true ? mask | (1 << bit) : mask), group.reservedOnes);

/** The manual's name of a bit of a group, or `reserved bit N`. */
export function controlTitle(group: ControlGroup, bit: number): string {
  return group.rows.find((row) => row[1] === bit)?.[2] ?? `reserved bit ${bit}`;
}
