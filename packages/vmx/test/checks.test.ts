import { describe, expect, it } from 'vitest';
import type { EntryContext } from '../src/checks/context.js';
import { bitsLookedAt } from '../src/checks/remembered.js';
import { createRemembered, firstBefore, firstFailure, firstMsrFailure, readMsrEntry, sectionsOfField, vmEntryChecks } from '../src/checks/table.js';
import { explainEntry, failedChecks } from '../src/explain/explain.js';
import { F, FieldArea, fieldAtWord, fieldNamed, fields, VmcsHeader } from '../src/fields/layout.js';
import { createRandom } from './random.js';
import { createWorld, resetWorld } from './world.js';

const c = createWorld();
const ids = (context: EntryContext): string[] => [...new Set(failedChecks(context).map((found) => found.check.id))];

/** Remembers nothing. */
const FORGETFUL = createRemembered().map(() => ({ knows: () => false, keep: () => undefined }));

/** What an entry reports: one check, found by the fast evaluator. */
function entryFailure(context: EntryContext): string | undefined {
  const before = firstBefore(context) ?? firstFailure(context, FORGETFUL);
  if (before !== undefined) return before.id;
  for (let i = 0; i < Math.min(600, context.lo(F.ENTRY_MSR_LOAD_COUNT) >>> 0); i++) {
    readMsrEntry(context, context.lo(F.ENTRY_MSR_LOAD_ADDRESS), context.hi(F.ENTRY_MSR_LOAD_ADDRESS), i);
    const failed = firstMsrFailure(context);
    if (failed !== undefined) return failed.id;
  }
  return undefined;
}

/** Checks that cannot be broken alone: what else fails with them, by the sense of the rules. */
const TOGETHER: Readonly<Record<string, readonly string[]>> = {
  'pidtab.width': ['pidtab.last'],
  'exit.msrstore.width': ['exit.msrstore.last'],
  'exit.msrload.width': ['exit.msrload.last'],
  'entry.msrload.width': ['entry.msrload.last', 'msr.rsvd'],
  'entry.msrload.last': ['msr.rsvd'],
  'entry.smm': ['g.int.smi'],
  'entry.smmboth': ['smm.execvmxon'],
  'as.lma0.guest': ['as.h32.guest'],
  'as.lma1.host': ['as.h32.guest', 'as.h32.rip'],
  'as.h32.guest': ['as.lma0.guest'],
  'g.32.fred': ['g.fred.csl'],
  'link.width': ['link.rev', 'link.shadow'],
};

describe('the table of VM-entry checks', () => {
  it('has the rows of each section', () => {
    const counts: Record<string, number> = {};
    for (const row of vmEntryChecks) counts[row.group] = (counts[row.group] ?? 0) + 1;
    expect(counts).toEqual({
      pre: 9,
      smm: 4,
      execution: 77,
      exit: 10,
      entry: 22,
      hostRegisters: 34,
      hostSegments: 15,
      addressSize: 10,
      guestRegisters: 44,
      guestSegments: 102,
      guestTables: 4,
      guestRip: 10,
      guestNonRegister: 27,
      link: 6,
      pdptes: 5,
      msrLoad: 8,
    });
  });

  it('lets a valid VMCS pass, and says so', () => {
    resetWorld(c);
    expect(ids(c)).toEqual([]);
    expect(entryFailure(c)).toBeUndefined();
    const lines: string[] = [];
    explainEntry(c, (line) => lines.push(line));
    expect(lines).toEqual(['vmx: no VM-entry check fails']);
  });

  it('names in `reads` every field that a row of the VMCS depends on', () => {
    const touched = new Set<number>();
    const missing: string[] = [];
    const traced = new Proxy(c.i32, {
      get: (target, key) => {
        if (typeof key === 'string' && /^\d+$/.test(key)) touched.add(Number(key) - c.base);
        return Reflect.get(target, key) as unknown;
      },
    });
    const view = Object.create(c, { i32: { value: traced } }) as EntryContext;
    for (const row of vmEntryChecks.filter((candidate) => !candidate.volatile && candidate.group !== 'smm')) {
      for (const arrange of [() => undefined, () => row.mutate!(c)]) {
        resetWorld(c);
        arrange();
        touched.clear();
        // The capabilities are the mutated ones: `view` inherits them from `c`.
        if (row.applies?.(view) ?? true) row.ok(view);
        for (const word of touched) {
          const field = fieldAtWord(word);
          if (field !== undefined && !row.reads.includes(field.name)) missing.push(`${row.id} reads ${field.name}`);
        }
      }
    }
    expect(missing).toEqual([]);
  });
});

describe('each check is broken by its own mutation', () => {
  it.each(vmEntryChecks)('$id', (row) => {
    resetWorld(c);
    row.mutate!(c);
    const found = ids(c);
    expect(found).toContain(row.id);
    expect(found.filter((id) => id !== row.id)).toEqual(TOGETHER[row.id] ?? []);
    if (row.group !== 'smm') expect(found).toContain(entryFailure(c));
    const [first] = failedChecks(c);
    for (const line of first!.lines) expect(line).not.toMatch(/undefined|NaN|\[object/);
  });
});

describe('sections that are known to hold', () => {
  it('are skipped only while that changes nothing', () => {
    const random = createRandom(7);
    const remembered = createRemembered();
    const writable = fields.filter((field) => field.area !== FieldArea.READ_ONLY);
    resetWorld(c);
    for (let step = 0; step < 20_000; step++) {
      if (step % 40 === 0) resetWorld(c);
      const field = writable[random.below(writable.length)]!;
      const donor = vmEntryChecks[random.below(vmEntryChecks.length)]!;
      // Half of the steps write a field as VMWRITE does, the others write as a mutation does, which tells of all sections.
      if (random.below(2) === 0) {
        c.i32[c.base + field.word] = field.width === 0 ? random.word() & 0xffff : random.word();
        if (field.width === 1 || field.width === 3) c.i32[c.base + field.word + 1] = random.below(3) - 1;
        c.i32[c.base + VmcsHeader.CLEAN_GROUPS]! &= ~sectionsOfField[field.ordinal]!;
      } else if (random.below(20) === 0 && !donor.volatile && donor.group !== 'smm') {
        const { capabilities } = c;
        donor.mutate!(c);
        if (c.capabilities !== capabilities) c.capabilities = capabilities;
        c.inSmm = false;
      } else {
        resetField(field.word);
      }
      const clean = c.i32[c.base + VmcsHeader.CLEAN_GROUPS]!;
      const quick = firstFailure(c, remembered)?.id;
      c.i32[c.base + VmcsHeader.CLEAN_GROUPS] = 0;
      expect(firstFailure(c, FORGETFUL)?.id, `step ${step}, ${field.name}, clean ${clean.toString(16)}`).toBe(quick);
      c.i32[c.base + VmcsHeader.CLEAN_GROUPS] = clean & c.i32[c.base + VmcsHeader.CLEAN_GROUPS]!;
    }
  });
});

describe('bits of fields that a section is said not to look at', () => {
  it.each(Object.entries(bitsLookedAt))('change nothing: %s', (group, masks) => {
    const random = createRandom(3);
    const rows = vmEntryChecks.filter((row) => row.group === group && !row.volatile);
    const judge = (): boolean[] => rows.map((row) => row.applies?.(c) === false || row.ok(c));
    for (let step = 0; step < 2000; step++) {
      resetWorld(c);
      const { capabilities } = c;
      rows[random.below(rows.length)]!.mutate!(c);
      c.capabilities = capabilities;
      const before = judge();
      for (const [name, [lo, hi]] of Object.entries(masks)) {
        const { word } = fieldNamed(name);
        c.i32[c.base + word]! ^= random.word() & ~lo;
        c.i32[c.base + word + 1]! ^= random.word() & ~hi;
      }
      expect(judge()).toEqual(before);
    }
  });
});

const valid = createWorld();

/** Puts the value of a valid VMCS back, as VMWRITE does. */
function resetField(word: number): void {
  c.i32[c.base + word] = valid.i32[valid.base + word]!;
  c.i32[c.base + word + 1] = valid.i32[valid.base + word + 1]!;
  c.i32[c.base + VmcsHeader.CLEAN_GROUPS]! &= ~sectionsOfField[fieldAtWord(word)!.ordinal]!;
}

describe('a VMCS of random values', () => {
  it('never makes the checks throw, and both evaluators agree', () => {
    const random = createRandom(11);
    let agreed = 0;
    for (let step = 0; step < 30_000; step++) {
      if (step % 100 === 0) resetWorld(c);
      const field = fields[random.below(fields.length)]!;
      c.set(field.word, random.word(), random.below(4) === 0 ? random.word() : 0);
      const fast = firstFailure(c, FORGETFUL)?.id;
      if (step % 10 !== 0) continue;
      const all = failedChecks(c).filter((found) => !['pre', 'smm', 'msrLoad'].includes(found.check.group));
      expect(all.some((found) => found.check.id === fast)).toBe(fast !== undefined);
      expect(all.length === 0).toBe(fast === undefined);
      agreed++;
    }
    expect(agreed).toBe(3000);
  });
});
