import type { ControlGroupKey } from '../controls/controls.js';
import { controlGroups, controlTitle } from '../controls/controls.js';
import type { ControlRow } from '../controls/table.js';
import { F, fieldNamed } from '../fields/layout.js';
import type { FieldName } from '../fields/table.js';
import { arrangeControl, setControl } from './arrange.js';
import type { CheckGroup, CheckSpec, VmxCheck } from './check.js';
import { check } from './check.js';
import type { Condition, KeyOf } from './condition.js';
import { controlOf } from './condition.js';
import type { EntryContext } from './context.js';

/** What rules let their rows add. */
export type Extra = Pick<CheckSpec, 'hint' | 'failure' | 'status' | 'volatile' | 'subject'>;

const TWO_32 = 0x1_0000_0000;

/** Whether a linear address is canonical for the width that the CPU has. */
export function isCanonical(c: EntryContext, hi: number): boolean {
  const top = hi >> c.capabilities.canonicalShift;
  return top === 0 || top === -1;
}

/** Whether the high half of a physical address stays within MAXPHYADDR. */
export const isPhysical = (c: EntryContext, hi: number): boolean => (hi & c.capabilities.reservedPhysicalHi) === 0;

/** The low bits of a field must be 0. */
export function aligned(group: CheckGroup, id: string, field: FieldName, bits: number, when?: Condition, extra: Extra = {}): VmxCheck {
  const word = F[field];
  const mask = 2 ** bits - 1;
  return check(group, id, {
    ...extra,
    ...(when === undefined ? {} : { when }),
    fields: [field],
    rule: `bits ${bits - 1}:0 are 0`,
    ok: (c) => (c.lo(word) & mask) === 0,
    breaks: (c) => c.set(word, (c.lo(word) & ~mask) | 1, c.hi(word)),
  });
}

/** No bit of a field may be beyond MAXPHYADDR. */
export function withinWidth(group: CheckGroup, id: string, field: FieldName, when?: Condition, extra: Extra = {}): VmxCheck {
  const word = F[field];
  return check(group, id, {
    ...extra,
    ...(when === undefined ? {} : { when }),
    fields: [field],
    rule: 'no bit is beyond MAXPHYADDR',
    ok: (c) => isPhysical(c, c.hi(word)),
    breaks: (c) => c.set(word, c.lo(word), c.hi(word) | (1 << 30)),
    say: (c) => `physical addresses have ${c.capabilities.physicalBits} bits here (CPUID leaf 80000008H)`,
  });
}

/** A field must be a canonical address. */
export function canonical(group: CheckGroup, id: string, field: FieldName, when?: Condition, extra: Extra = {}): VmxCheck {
  const word = F[field];
  return check(group, id, {
    ...extra,
    ...(when === undefined ? {} : { when }),
    fields: [field],
    rule: 'is a canonical address',
    ok: (c) => isCanonical(c, c.hi(word)),
    breaks: (c) => c.set(word, c.lo(word), 0x1234_0000),
    say: (c) => `bits 63:${c.capabilities.canonicalShift + 32} must all be equal`,
  });
}

/** Bits of a field must be 0. */
export function zeroBits(
  group: CheckGroup,
  id: string,
  field: FieldName,
  mask: readonly [lo: number, hi: number],
  rule: string,
  when?: Condition,
  extra: Extra = {},
): VmxCheck {
  const word = F[field];
  const [lo, hi] = mask;
  return check(group, id, {
    ...extra,
    ...(when === undefined ? {} : { when }),
    fields: [field],
    rule,
    ok: (c) => (c.lo(word) & lo) === 0 && (c.hi(word) & hi) === 0,
    breaks: (c) => (lo === 0 ? c.set(word, c.lo(word), c.hi(word) | (hi & -hi)) : c.set(word, c.lo(word) | (lo & -lo), c.hi(word))),
  });
}

/** Where the condition holds, a control must be 1 (or 0). */
export function requires<G extends ControlGroupKey>(
  group: CheckGroup,
  id: string,
  when: Condition,
  target: G,
  key: KeyOf<G>,
  value = true,
  extra: Extra = {},
): VmxCheck {
  const { mask, title, reads, needs } = controlOf(target, key);
  return check(group, id, {
    ...(needs === 'refused' && value ? { status: 'not offered' as const } : {}),
    subject: controlGroups[target].title,
    ...extra,
    when,
    fields: reads,
    rule: `“${title}” is ${value ? 1 : 0}`,
    ok: value ? (c) => (c[target] & mask) !== 0 : (c) => (c[target] & mask) === 0,
    breaks: (c) => {
      if (value) {
        setControl(c, target, key, false);
        return;
      }
      arrangeControl(c, target, key, true);
      when.arrange(c);
      setControl(c, target, key, true);
    },
    say: (c) =>
      `bit ${31 - Math.clz32(mask)} (“${title}”) of the ${controlGroups[target].title} must be ${value ? 1 : 0} with ${when.text}; it is ${(c[target] & mask) === 0 ? 0 : 1}`,
  });
}

/** Bits in words, with the manual's names. */
function nameBits(group: ControlGroupKey, bits: number): string {
  const names: string[] = [];
  for (let bit = 0; bit < 32; bit++) if ((bits & (1 << bit)) !== 0) names.push(`bit ${bit} (“${controlTitle(controlGroups[group], bit)}”)`);
  return names.join(', ');
}

/** Every bit that the capability MSR wants is 1. */
export function mustBeOne(group: CheckGroup, id: string, target: ControlGroupKey, when?: Condition): VmxCheck {
  const { field, msr } = controlGroups[target];
  const row = controlGroups[target] as { readonly trueMsr?: string };
  const word = F[field];
  const name = row.trueMsr ?? msr;
  return check(group, id, {
    ...(when === undefined ? {} : { when }),
    fields: [field],
    rule: `every bit that is 1 in ${name}[31:0] is 1`,
    ok: (c) => (~c.lo(word) & c.capabilities.controls[target].must) === 0,
    breaks: (c) => breakMust(c, target, word),
    say: (c) => `must be 1: ${nameBits(target, ~c.lo(word) & c.capabilities.controls[target].must)}; see ${name}[31:0]`,
    hint: `start from the low half of ${name} and OR in the controls that you want`,
  });
}

/** A group without bits that must be 1 gets one, so that its row can be seen to fail. */
function breakMust(c: EntryContext, target: ControlGroupKey, word: number): void {
  const capability = c.capabilities.controls[target];
  if (capability.must === 0)
    c.capabilities = { ...c.capabilities, controls: { ...c.capabilities.controls, [target]: { ...capability, must: 4, may: capability.may | 4 } } };
  const { must } = c.capabilities.controls[target];
  c.set(word, c.lo(word) & ~(must & -must));
}

/** No bit that the capability MSR forbids is 1. */
export function mayBeOne(group: CheckGroup, id: string, target: ControlGroupKey, when?: Condition, width: 32 | 64 = 32): VmxCheck {
  const { field, msr } = controlGroups[target];
  const row = controlGroups[target] as { readonly trueMsr?: string; readonly rows: readonly ControlRow[] };
  const word = F[field];
  const name = row.trueMsr ?? msr;
  const half = width === 32 ? '[63:32]' : '';
  return check(group, id, {
    ...(when === undefined ? {} : { when }),
    fields: [field],
    rule: `no bit is 1 that is 0 in ${name}${half}`,
    ok: (c) => (c.lo(word) & ~c.capabilities.controls[target].may) === 0 && c.hi(word) === 0,
    breaks: (c) => breakMay(c, target, word),
    say: (c) =>
      `must be 0: ${nameBits(target, c.lo(word) & ~c.capabilities.controls[target].may) || 'bits 63:32'}; this CPU model does not offer them: ${name}${half}`,
    hint: `AND the controls that you want with ${width === 32 ? 'the high half of ' : ''}${name}`,
  });
}

/** Takes away a bit that nothing else depends on and sets it. */
function breakMay(c: EntryContext, target: ControlGroupKey, word: number): void {
  const capability = c.capabilities.controls[target];
  const { rows, reservedOnes } = controlGroups[target];
  const reserved = Array.from({ length: 32 }, (_, bit) => bit).find(
    (bit) => (reservedOnes & (1 << bit)) === 0 && !rows.some((row: ControlRow) => row[1] === bit),
  )!;
  c.capabilities = {
    ...c.capabilities,
    controls: { ...c.capabilities.controls, [target]: { ...capability, may: capability.may & ~(1 << reserved) } },
  };
  c.set(word, c.lo(word) | (1 << reserved), c.hi(word));
}

/** An address field plus an offset must be within MAXPHYADDR. */
export function lastWithinWidth(
  group: CheckGroup,
  id: string,
  field: FieldName,
  more: {
    readonly field: FieldName;
    readonly text: string;
    readonly offset: (c: EntryContext) => number;
    readonly arrange?: (c: EntryContext) => void;
  },
  when: Condition,
): VmxCheck {
  const word = F[field];
  return check(group, id, {
    when,
    subject: `${fieldNamed(field).title} + ${more.text}`,
    fields: [field, more.field],
    rule: `the last byte is within MAXPHYADDR`,
    ok: (c) => (c.hi(word) >>> 0) * TWO_32 + (c.lo(word) >>> 0) + more.offset(c) < 2 ** c.capabilities.physicalBits,
    breaks: (c) => {
      more.arrange?.(c);
      c.set(word, -16, ~c.capabilities.reservedPhysicalHi);
    },
  });
}
