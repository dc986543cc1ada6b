import type { ControlGroupKey } from '../controls/controls.js';
import { controlGroups } from '../controls/controls.js';
import type { ControlRow } from '../controls/table.js';
import { absentFeatures } from '../controls/table.js';
import type { FieldName } from '../fields/table.js';
import { arrangeControl } from './arrange.js';
import type { EntryContext } from './context.js';

/** When a check is made: in words, as a test, and how to bring it about in a valid VMCS. */
export interface Condition {
  readonly text: string;
  /** Fields that the test reads. */
  readonly reads: readonly FieldName[];
  readonly test: (c: EntryContext) => boolean;
  /** Makes the test true and the VMCS valid again; for the tests of the rows. */
  readonly arrange: (c: EntryContext) => void;
  /** The most special thing that the condition needs: nothing, a CPU feature, or a control that is refused. */
  readonly needs: 'nothing' | 'feature' | 'refused';
}

const RANK = { nothing: 0, feature: 1, refused: 2 } as const;

/** Fields that the value in force of a group of controls depends on. */
const readsOf: Readonly<Record<ControlGroupKey, readonly FieldName[]>> = {
  pin: ['PIN_CONTROLS'],
  proc1: ['PRIMARY_CONTROLS'],
  proc2: ['PRIMARY_CONTROLS', 'SECONDARY_CONTROLS'],
  proc3: ['PRIMARY_CONTROLS', 'TERTIARY_CONTROLS'],
  exit: ['EXIT_CONTROLS'],
  exit2: ['EXIT_CONTROLS', 'SECONDARY_EXIT_CONTROLS'],
  entry: ['ENTRY_CONTROLS'],
  vmfunc: ['PRIMARY_CONTROLS', 'SECONDARY_CONTROLS', 'VM_FUNCTION_CONTROLS'],
};

/** The keys of the controls of a group. */
export type KeyOf<G extends ControlGroupKey> = (typeof controlGroups)[G]['rows'][number][0];

/** A control by group and key, with what a table needs to know of it. */
export function controlOf<G extends ControlGroupKey>(
  group: G,
  key: KeyOf<G>,
): { mask: number; title: string; reads: readonly FieldName[]; needs: Condition['needs'] } {
  const row = controlGroups[group].rows.find((candidate: ControlRow) => candidate[0] === key) as ControlRow;
  const facts = row[3];
  const needs = facts?.refused !== undefined ? 'refused' : facts?.feature !== undefined && facts.feature in absentFeatures ? 'feature' : 'nothing';
  return { mask: 1 << row[1], title: row[2], reads: readsOf[group], needs };
}

/** One object for each control and value, so that the evaluator can ask once for all rows with the same condition. */
const known = new Map<string, Condition>();

function once(name: string, create: () => Condition): Condition {
  const found = known.get(name) ?? create();
  known.set(name, found);
  return found;
}

/** The control is 1. */
export const on = <G extends ControlGroupKey>(group: G, key: KeyOf<G>): Condition =>
  once(`${group}.${key}=1`, () => {
    const { mask, title, reads, needs } = controlOf(group, key);
    return { text: `“${title}” = 1`, reads, needs, test: (c) => (c[group] & mask) !== 0, arrange: (c) => arrangeControl(c, group, key, true) };
  });

/** The control is 0. */
export const off = <G extends ControlGroupKey>(group: G, key: KeyOf<G>): Condition =>
  once(`${group}.${key}=0`, () => {
    const { mask, title, reads } = controlOf(group, key);
    return {
      text: `“${title}” = 0`,
      reads,
      needs: 'nothing',
      test: (c) => (c[group] & mask) === 0,
      arrange: (c) => arrangeControl(c, group, key, false),
    };
  });

/** All of several conditions. */
export function all(...parts: readonly Condition[]): Condition {
  return {
    text: parts.map((part) => part.text).join(', '),
    reads: [...new Set(parts.flatMap((part) => part.reads))],
    needs: parts.reduce<Condition['needs']>((most, part) => (RANK[part.needs] > RANK[most] ? part.needs : most), 'nothing'),
    test: allTests(parts.map((part) => part.test)),
    arrange: (c) => {
      for (const part of parts) part.arrange(c);
    },
  };
}

/** No loop over closures where two or three are the rule. */
function allTests(tests: readonly Condition['test'][]): Condition['test'] {
  const [first, second, third] = tests;
  if (first !== undefined && second !== undefined && tests.length === 2) return (c) => first(c) && second(c);
  if (first !== undefined && second !== undefined && third !== undefined && tests.length === 3) return (c) => first(c) && second(c) && third(c);
  return (c) => tests.every((test) => test(c));
}

/** A condition on anything else. */
export function given(
  text: string,
  reads: readonly FieldName[],
  test: (c: EntryContext) => boolean,
  arrange: (c: EntryContext) => void = () => undefined,
  needs: Condition['needs'] = 'nothing',
): Condition {
  return { text, reads, test, arrange, needs };
}

/** The entry is made in SMM, which is refused before a valid VMCS matters: the dual-monitor treatment is not offered. */
export const inSmm: Condition = given(
  'in SMM',
  [],
  (c) => c.inSmm,
  (c) => void (c.inSmm = true),
  'refused',
);
