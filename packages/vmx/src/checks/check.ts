import type { EntryCheck, EntryCheckStatus } from '@nestvm/cpu';
import { fieldNamed } from '../fields/layout.js';
import type { FieldName } from '../fields/table.js';
import type { Condition } from './condition.js';
import type { EntryContext } from './context.js';

/** What a failed check does: a fault, VMfail, a VM exit in place of the entry, or a failed VM entry (an exit with bit 31 of the reason set). */
export interface Failure {
  readonly kind: 'fault' | 'VMfailInvalid' | 'VMfailValid' | 'root exit' | 'entry failure';
  /** Vector, VM-instruction error or basic exit reason. */
  readonly number: number;
  /** Exit qualification of an entry failure; -1: the number of the entry in the MSR-load list. */
  readonly qualification: number;
}

/** The sections of the manual that own the checks, in the order in which they are made here. */
export const checkGroups = {
  pre: { title: 'SDM Vol. 3, "VMLAUNCH/VMRESUME—Launch/Resume Virtual Machine"', failure: { kind: 'VMfailInvalid', number: 0, qualification: 0 } },
  smm: { title: 'SDM Vol. 3, "VM Entries that Return from SMM"', failure: { kind: 'VMfailValid', number: 16, qualification: 0 } },
  execution: {
    title: 'SDM Vol. 3, "VM-Execution Control Fields" (checks on VMX controls)',
    failure: { kind: 'VMfailValid', number: 7, qualification: 0 },
  },
  exit: { title: 'SDM Vol. 3, "VM-Exit Control Fields" (checks on VMX controls)', failure: { kind: 'VMfailValid', number: 7, qualification: 0 } },
  entry: { title: 'SDM Vol. 3, "VM-Entry Control Fields" (checks on VMX controls)', failure: { kind: 'VMfailValid', number: 7, qualification: 0 } },
  hostRegisters: {
    title: 'SDM Vol. 3, "Checks on Host Control Registers, MSRs, and SSP"',
    failure: { kind: 'VMfailValid', number: 8, qualification: 0 },
  },
  hostSegments: {
    title: 'SDM Vol. 3, "Checks on Host Segment and Descriptor-Table Registers"',
    failure: { kind: 'VMfailValid', number: 8, qualification: 0 },
  },
  addressSize: { title: 'SDM Vol. 3, "Checks Related to Address-Space Size"', failure: { kind: 'VMfailValid', number: 8, qualification: 0 } },
  guestRegisters: {
    title: 'SDM Vol. 3, "Checks on Guest Control Registers, Debug Registers, and MSRs"',
    failure: { kind: 'entry failure', number: 33, qualification: 0 },
  },
  guestSegments: { title: 'SDM Vol. 3, "Checks on Guest Segment Registers"', failure: { kind: 'entry failure', number: 33, qualification: 0 } },
  guestTables: {
    title: 'SDM Vol. 3, "Checks on Guest Descriptor-Table Registers"',
    failure: { kind: 'entry failure', number: 33, qualification: 0 },
  },
  guestRip: { title: 'SDM Vol. 3, "Checks on Guest RIP, RFLAGS, and SSP"', failure: { kind: 'entry failure', number: 33, qualification: 0 } },
  guestNonRegister: { title: 'SDM Vol. 3, "Checks on Guest Non-Register State"', failure: { kind: 'entry failure', number: 33, qualification: 0 } },
  link: {
    title: 'SDM Vol. 3, "Checks on Guest Non-Register State" (VMCS link pointer)',
    failure: { kind: 'entry failure', number: 33, qualification: 4 },
  },
  pdptes: {
    title: 'SDM Vol. 3, "Checks on Guest Page-Directory-Pointer-Table Entries"',
    failure: { kind: 'entry failure', number: 33, qualification: 2 },
  },
  msrLoad: { title: 'SDM Vol. 3, "Loading MSRs"', failure: { kind: 'entry failure', number: 34, qualification: -1 } },
} as const satisfies Readonly<Record<string, { readonly title: string; readonly failure: Failure }>>;

/** The key of a section of checks. */
export type CheckGroup = keyof typeof checkGroups;

/** A row of the table of VM-entry checks. */
export interface VmxCheck extends EntryCheck<EntryContext> {
  readonly group: CheckGroup;
  readonly failure: Failure;
  /** Fields that the row depends on, those of its condition included. */
  readonly reads: readonly FieldName[];
  /** Fields whose values an explanation shows. */
  readonly shows: readonly FieldName[];
  /** Depends on more than fields of the VMCS: made on every entry. */
  readonly volatile: boolean;
}

/** What a row says beside its id. */
export interface CheckSpec {
  readonly subject?: string;
  readonly when?: Condition;
  readonly rule: string;
  /** Fields that `ok` reads. */
  readonly fields: readonly FieldName[];
  readonly ok: (c: EntryContext) => boolean;
  /** Breaks the rule where the condition holds. */
  readonly breaks?: (c: EntryContext) => void;
  /** What to add to the values in an explanation. */
  readonly say?: (c: EntryContext) => string;
  readonly hint?: string;
  readonly failure?: Partial<Failure>;
  readonly volatile?: boolean;
  readonly status?: EntryCheckStatus;
}

/** What a failure looks like to the guest, in words. */
export function formatFailure(failure: Failure): string {
  const { kind, number, qualification } = failure;
  if (kind === 'fault') return number === 6 ? '#UD' : '#GP(0)';
  if (kind === 'VMfailInvalid') return 'VMfailInvalid';
  if (kind === 'VMfailValid') return `VMfailValid, VM-instruction error ${number}`;
  if (kind === 'root exit') return `VM exit, reason ${number} (20 for VMLAUNCH, 24 for VMRESUME)`;
  return `VM-entry failure, exit reason ${hexOf(0x8000_0000 + number, 8)}, qualification ${qualification < 0 ? 'the number of the entry' : qualification}`;
}

const hexOf = (value: number, digits: number): string => value.toString(16).toUpperCase().padStart(digits, '0');

/** Digits of a field's value by width. */
const DIGITS = [4, 16, 8, 16] as const;

/** A field with its encoding and value, as explanations print it. */
function showField(c: EntryContext, name: FieldName): string {
  const field = fieldNamed(name);
  const digits = DIGITS[field.width]!;
  const low = hexOf(c.lo(field.word) >>> 0, 8);
  const value = digits === 16 ? hexOf(c.hi(field.word) >>> 0, 8) + low : low.slice(8 - digits);
  return `${field.title} [${hexOf(field.encoding, 4)}h] = 0x${value}`;
}

const STATUS: Readonly<Record<Condition['needs'], EntryCheckStatus>> = { nothing: 'checked', feature: 'when offered', refused: 'not offered' };

/** Makes a row. */
export function check(group: CheckGroup, id: string, spec: CheckSpec): VmxCheck {
  const { title, failure: ofGroup } = checkGroups[group];
  const { when, fields, breaks } = spec;
  const failure: Failure = { ...ofGroup, ...spec.failure };
  return {
    id,
    group,
    title,
    failure,
    subject: spec.subject ?? fields.map((name) => fieldNamed(name).title).join(', '),
    condition: when?.text ?? 'always',
    rule: spec.rule,
    result: formatFailure(failure),
    status: spec.status ?? STATUS[when?.needs ?? 'nothing'],
    reads: [...new Set([...(when?.reads ?? []), ...fields])],
    shows: fields,
    volatile: spec.volatile ?? false,
    ok: spec.ok,
    say: (c) => {
      const values = fields.map((name) => showField(c, name)).join(', ');
      const more = spec.say?.(c) ?? `expected: ${spec.rule}`;
      return values === '' ? more : `${values}; ${more}`;
    },
    ...(when === undefined ? {} : { applies: when.test }),
    ...(spec.hint === undefined ? {} : { hint: spec.hint }),
    ...(breaks === undefined
      ? {}
      : {
          mutate: (c: EntryContext) => {
            when?.arrange(c);
            breaks(c);
          },
        }),
  };
}
