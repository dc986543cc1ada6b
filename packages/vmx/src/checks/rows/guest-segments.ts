import { Entry } from '../../controls/controls.js';
import { F } from '../../fields/layout.js';
import type { FieldName } from '../../fields/table.js';
import type { VmxCheck } from '../check.js';
import { check } from '../check.js';
import type { Condition } from '../condition.js';
import { all, given, off, on } from '../condition.js';
import type { EntryContext } from '../context.js';
import { arrangeRealMode } from './exit-entry.js';
import { guestFred, ia32eGuest, isUnrestricted } from './guest-registers.js';
import { canonicalField } from './state-rules.js';

const G = 'guestSegments';
const VM = 1 << 17;
const UNUSABLE = 1 << 16;

type Seg = 'ES' | 'CS' | 'SS' | 'DS' | 'FS' | 'GS' | 'LDTR' | 'TR';
const six: readonly Seg[] = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS'];
const data: readonly Seg[] = ['DS', 'ES', 'FS', 'GS'];

const selectorOf = (s: Seg): FieldName => `GUEST_${s}_SELECTOR`;
const baseOf = (s: Seg): FieldName => `GUEST_${s}_BASE`;
const limitOf = (s: Seg): FieldName => `GUEST_${s}_LIMIT`;
const rightsOf = (s: Seg): FieldName => `GUEST_${s}_ACCESS_RIGHTS`;
/** The words of a segment's fields: rows must not look them up by name when they run. */
const wordsOf = (s: Seg) => ({ selector: F[selectorOf(s)], base: F[baseOf(s)], limit: F[limitOf(s)], rights: F[rightsOf(s)] }) as const;
const AR = Object.fromEntries([...six, ...(['LDTR', 'TR'] as const)].map((s) => [s, F[rightsOf(s)]])) as Readonly<Record<Seg, number>>;
const CS = AR.CS;
const SS = AR.SS;
const dpl = (rights: number): number => (rights >>> 5) & 3;

const v86: Condition = given('guest RFLAGS.VM = 1', ['GUEST_RFLAGS'], (c) => (c.lo(F.GUEST_RFLAGS) & VM) !== 0, arrangeV86);
const notV86: Condition = given('guest RFLAGS.VM = 0', ['GUEST_RFLAGS'], (c) => (c.lo(F.GUEST_RFLAGS) & VM) === 0);
function usable(s: Seg): Condition {
  const word = AR[s];
  return given(`${s} is usable`, [rightsOf(s)], (c) => (c.lo(word) & UNUSABLE) === 0, s === 'LDTR' ? (c) => c.set(word, 0x82) : undefined);
}
const always: Condition = given('always', [], () => true);
const usableInUse = Object.fromEntries(
  [...six, 'LDTR' as const].map((s) => [s, s === 'LDTR' || s === 'CS' ? usable(s) : all(notV86, usable(s))]),
) as Readonly<Record<Seg, Condition>>;
/** CS and TR are always usable. */
const present = (s: Seg): Condition => (s === 'CS' ? notV86 : s === 'TR' ? always : usableInUse[s]);
const restricted = all(notV86, off('proc2', 'UNRESTRICTED_GUEST'));
const csType = (text: string, test: (type: number) => boolean, rights: number): Condition =>
  all(
    notV86,
    given(
      `CS type is ${text}`,
      [rightsOf('CS')],
      (c) => test(c.lo(CS) & 15),
      (c) => c.set(CS, (c.lo(CS) & ~15) | rights),
    ),
  );

/** A 32-bit guest in virtual-8086 mode with the segments that it must have. */
export function arrangeV86(c: EntryContext): void {
  c.set(F.ENTRY_CONTROLS, c.entry & ~Entry.IA32E_MODE_GUEST);
  c.set(F.GUEST_RFLAGS, 0x2 | VM);
  c.set(F.GUEST_IA32_EFER, 0x801);
  c.set(F.GUEST_RIP, 0x100);
  for (const s of six) {
    c.set(F[selectorOf(s)], 0x100);
    c.set(F[baseOf(s)], 0x1000);
    c.set(F[limitOf(s)], 0xffff);
    c.set(AR[s], 0xf3);
  }
}

/** A rule on one word. */
const onWord =
  (word: number, rule: (value: number) => boolean) =>
  (c: EntryContext): boolean =>
    rule(c.lo(word));

function baseFollowsSelector(s: Seg): (c: EntryContext) => boolean {
  const { base, selector } = wordsOf(s);
  return (c) => c.lo(base) === (c.lo(selector) & 0xffff) << 4 && c.hi(base) === 0;
}

function dplCoversRpl(s: Seg): (c: EntryContext) => boolean {
  const { rights, selector } = wordsOf(s);
  return (c) => dpl(c.lo(rights)) >= (c.lo(selector) & 3);
}

function granular(s: Seg, rule: (limit: number, byPages: boolean) => boolean): (c: EntryContext) => boolean {
  const { limit, rights } = wordsOf(s);
  return (c) => rule(c.lo(limit), (c.lo(rights) & 0x8000) !== 0);
}

const lower = (s: Seg): string => s.toLowerCase();

/** A row about the access rights of a segment. */
function rights(
  id: string,
  s: Seg,
  when: Condition,
  rule: string,
  ok: (ar: number) => boolean,
  breaks: (ar: number) => number,
  subject?: string,
): VmxCheck {
  const word = AR[s];
  return check(G, id, {
    ...(when === always ? {} : { when }),
    ...(subject === undefined ? {} : { subject }),
    fields: [rightsOf(s)],
    rule,
    ok: (c) => ok(c.lo(word)),
    breaks: (c) => c.set(word, breaks(c.lo(word))),
  });
}

const selectors: readonly VmxCheck[] = [
  check(G, 'g.tr.ti', {
    fields: [selectorOf('TR')],
    rule: 'TI (bit 2) is 0',
    ok: (c) => (c.lo(F.GUEST_TR_SELECTOR) & 4) === 0,
    breaks: (c) => c.set(F.GUEST_TR_SELECTOR, c.lo(F.GUEST_TR_SELECTOR) | 4),
  }),
  check(G, 'g.ldtr.ti', {
    when: present('LDTR'),
    fields: [selectorOf('LDTR')],
    rule: 'TI (bit 2) is 0',
    ok: (c) => (c.lo(F.GUEST_LDTR_SELECTOR) & 4) === 0,
    breaks: (c) => c.set(F.GUEST_LDTR_SELECTOR, 0x2c),
  }),
  check(G, 'g.ss.rpl', {
    when: restricted,
    fields: [selectorOf('SS'), selectorOf('CS')],
    rule: 'the RPLs of SS and CS are equal',
    ok: (c) => ((c.lo(F.GUEST_SS_SELECTOR) ^ c.lo(F.GUEST_CS_SELECTOR)) & 3) === 0,
    breaks: (c) => c.set(F.GUEST_CS_SELECTOR, c.lo(F.GUEST_CS_SELECTOR) ^ 3),
  }),
];

const v86Rows: readonly VmxCheck[] = [
  ...six.map((s) =>
    check(G, `g.v86.${lower(s)}.base`, {
      when: v86,
      fields: [baseOf(s), selectorOf(s)],
      rule: 'the base is the selector × 16',
      ok: baseFollowsSelector(s),
      breaks: (c) => c.set(F[baseOf(s)], c.lo(F[baseOf(s)]) + 16),
    }),
  ),
  ...six.map((s) =>
    check(G, `g.v86.${lower(s)}.limit`, {
      when: v86,
      fields: [limitOf(s)],
      rule: 'is 0000FFFFH',
      ok: onWord(F[limitOf(s)], (limit) => limit === 0xffff),
      breaks: (c) => c.set(F[limitOf(s)], 0x1_ffff),
    }),
  ),
  ...six.map((s) =>
    rights(
      `g.v86.${lower(s)}.ar`,
      s,
      v86,
      'is 000000F3H',
      (value) => value === 0xf3,
      () => 0x93,
    ),
  ),
];

const canonicalBase = (s: Seg): VmxCheck =>
  check(G, `g.${lower(s)}.basecanon`, {
    ...(s === 'TR' ? {} : { when: s === 'LDTR' ? present(s) : notV86 }),
    fields: [baseOf(s)],
    rule: 'is a canonical address',
    ok: canonicalField(baseOf(s)),
    breaks: (c) => c.set(F[baseOf(s)], 0, 0x1234_0000),
  });
const lowBase = (s: Seg): VmxCheck =>
  check(G, `g.${lower(s)}.base32`, {
    when: present(s),
    fields: [baseOf(s)],
    rule: 'bits 63:32 are 0',
    ok: onWord(F[baseOf(s)] + 1, (high) => high === 0),
    breaks: (c) => c.set(F[baseOf(s)], c.lo(F[baseOf(s)]), 1),
  });
const bases: readonly VmxCheck[] = [...(['TR', 'FS', 'GS', 'LDTR'] as const).map(canonicalBase), ...(['CS', 'SS', 'DS', 'ES'] as const).map(lowBase)];

const types: readonly VmxCheck[] = [
  check(G, 'g.cs.type', {
    when: notV86,
    fields: [rightsOf('CS'), 'PRIMARY_CONTROLS', 'SECONDARY_CONTROLS'],
    subject: 'CS access rights',
    rule: 'the type is 9, 11, 13 or 15 (or 3 with “unrestricted guest” = 1)',
    ok: (c) => {
      const type = c.lo(CS) & 15;
      return (type & 9) === 9 || (type === 3 && isUnrestricted(c));
    },
    breaks: (c) => c.set(CS, (c.lo(CS) & ~15) | 10),
  }),
  rights(
    'g.ss.type',
    'SS',
    present('SS'),
    'the type is 3 or 7',
    (v) => (v & 11) === 3,
    (v) => (v & ~15) | 1,
  ),
  ...data.flatMap((s) => [
    rights(
      `g.${lower(s)}.accessed`,
      s,
      present(s),
      'accessed (bit 0) is 1',
      (v) => (v & 1) !== 0,
      (v) => v & ~1,
    ),
    rights(
      `g.${lower(s)}.readable`,
      s,
      present(s),
      'readable (bit 1) is 1 if it is a code segment (bit 3)',
      (v) => (v & 8) === 0 || (v & 2) !== 0,
      (v) => (v & ~15) | 9,
    ),
  ]),
  ...six.map((s) =>
    rights(
      `g.${lower(s)}.s`,
      s,
      present(s),
      'S (bit 4) is 1',
      (v) => (v & 0x10) !== 0,
      (v) => v & ~0x10,
    ),
  ),
];

const privileges: readonly VmxCheck[] = [
  rights(
    'g.cs.dpl3',
    'CS',
    all(
      on('proc2', 'UNRESTRICTED_GUEST'),
      csType('3', (type) => type === 3, 3),
    ),
    'DPL (bits 6:5) is 0',
    (v) => dpl(v) === 0,
    (v) => v | 0x60,
  ),
  check(G, 'g.cs.dplnc', {
    when: csType('9 or 11', (type) => (type & 13) === 9, 11),
    fields: [rightsOf('CS'), rightsOf('SS')],
    rule: 'the DPLs of CS and SS are equal',
    ok: (c) => dpl(c.lo(CS)) === dpl(c.lo(SS)),
    breaks: (c) => c.set(CS, c.lo(CS) | 0x60),
  }),
  check(G, 'g.cs.dplc', {
    when: csType('13 or 15', (type) => (type & 13) === 13, 15),
    fields: [rightsOf('CS'), rightsOf('SS')],
    rule: 'the DPL of CS is at most the DPL of SS',
    ok: (c) => dpl(c.lo(CS)) <= dpl(c.lo(SS)),
    breaks: (c) => c.set(CS, c.lo(CS) | 0x60),
  }),
  check(G, 'g.ss.dplrpl', {
    when: restricted,
    fields: [rightsOf('SS'), selectorOf('SS')],
    rule: 'the DPL of SS is its RPL',
    ok: (c) => dpl(c.lo(SS)) === (c.lo(F.GUEST_SS_SELECTOR) & 3),
    breaks: (c) => {
      c.set(SS, c.lo(SS) | 0x60);
      c.set(CS, c.lo(CS) | 0x60);
    },
  }),
  check(G, 'g.ss.dpl0', {
    when: all(
      notV86,
      given(
        'CS type is 3 or guest CR0.PE = 0',
        [rightsOf('CS'), 'GUEST_CR0'],
        (c) => (c.lo(CS) & 15) === 3 || (c.lo(F.GUEST_CR0) & 1) === 0,
        (c) => {
          on('proc2', 'UNRESTRICTED_GUEST').arrange(c);
          arrangeRealMode(c);
        },
      ),
    ),
    fields: [rightsOf('SS')],
    rule: 'DPL (bits 6:5) is 0',
    ok: (c) => dpl(c.lo(SS)) === 0,
    breaks: (c) => {
      c.set(SS, c.lo(SS) | 0x60);
      c.set(CS, c.lo(CS) | 0x60);
    },
  }),
  ...data.map((s) =>
    check(G, `g.${lower(s)}.dpl`, {
      when: all(
        restricted,
        given(
          `${s} is usable and its type is 0 to 11`,
          [rightsOf(s)],
          onWord(AR[s], (value) => (value & UNUSABLE) === 0 && (value & 15) < 12),
        ),
      ),
      fields: [rightsOf(s), selectorOf(s)],
      rule: 'the DPL is at least the RPL',
      ok: dplCoversRpl(s),
      breaks: (c) => c.set(F[selectorOf(s)], c.lo(F[selectorOf(s)]) | 3),
    }),
  ),
  check(G, 'g.fred.ssdpl', {
    when: guestFred,
    fields: [rightsOf('SS')],
    rule: 'DPL (bits 6:5) is 0 or 3',
    ok: (c) => dpl(c.lo(SS)) === 0 || dpl(c.lo(SS)) === 3,
    breaks: (c) => {
      for (const s of ['CS', 'SS'] as const) {
        c.set(AR[s], c.lo(AR[s]) | 0x20);
        c.set(F[selectorOf(s)], c.lo(F[selectorOf(s)]) | 1);
      }
    },
  }),
  check(G, 'g.fred.csl', {
    when: all(
      guestFred,
      given('SS.DPL = 0', [rightsOf('SS')], (c) => dpl(c.lo(SS)) === 0),
    ),
    fields: [rightsOf('CS')],
    rule: 'L (bit 13) is 1',
    ok: (c) => (c.lo(CS) & 0x2000) !== 0,
    breaks: (c) => {
      c.set(CS, (c.lo(CS) & ~0x2000) | 0x4000);
      c.set(F.GUEST_RIP, 0x1000);
    },
  }),
];

const presence: readonly VmxCheck[] = [
  ...six.map((s) =>
    rights(
      `g.${lower(s)}.p`,
      s,
      present(s),
      'P (bit 7) is 1',
      (v) => (v & 0x80) !== 0,
      (v) => v & ~0x80,
    ),
  ),
  ...six.map((s) =>
    rights(
      `g.${lower(s)}.rsvdlo`,
      s,
      present(s),
      'bits 11:8 are 0',
      (v) => (v & 0xf00) === 0,
      (v) => v | 0x100,
    ),
  ),
  ...six.map((s) =>
    rights(
      `g.${lower(s)}.rsvdhi`,
      s,
      present(s),
      'bits 31:17 are 0',
      (v) => v >>> 17 === 0,
      (v) => v | 0x2_0000,
    ),
  ),
  rights(
    'g.cs.db',
    'CS',
    all(
      notV86,
      ia32eGuest,
      given('CS.L = 1', [rightsOf('CS')], (c) => (c.lo(CS) & 0x2000) !== 0),
    ),
    'D/B (bit 14) is 0',
    (v) => (v & 0x4000) === 0,
    (v) => v | 0x4000,
  ),
];

const granularity = (s: Seg): VmxCheck[] => [
  check(G, `g.${lower(s)}.glow`, {
    ...(s === 'TR' ? {} : { when: present(s) }),
    fields: [limitOf(s), rightsOf(s)],
    rule: 'G (bit 15) is 0 if any of limit bits 11:0 is 0',
    ok: granular(s, (limit, byPages) => (limit & 0xfff) === 0xfff || !byPages),
    breaks: (c) => {
      c.set(F[limitOf(s)], 0xffffe);
      c.set(AR[s], c.lo(AR[s]) | 0x8000);
    },
  }),
  check(G, `g.${lower(s)}.ghigh`, {
    ...(s === 'TR' ? {} : { when: present(s) }),
    fields: [limitOf(s), rightsOf(s)],
    rule: 'G (bit 15) is 1 if any of limit bits 31:20 is 1',
    ok: granular(s, (limit, byPages) => limit >>> 20 === 0 || byPages),
    breaks: (c) => {
      c.set(F[limitOf(s)], 0x10_0fff);
      c.set(AR[s], c.lo(AR[s]) & ~0x8000);
    },
  }),
];

/** What TR and LDTR share. */
const system = (s: 'TR' | 'LDTR'): VmxCheck[] => [
  rights(
    `g.${lower(s)}.s`,
    s,
    present(s),
    'S (bit 4) is 0',
    (v) => (v & 0x10) === 0,
    (v) => v | 0x10,
  ),
  rights(
    `g.${lower(s)}.p`,
    s,
    present(s),
    'P (bit 7) is 1',
    (v) => (v & 0x80) !== 0,
    (v) => v & ~0x80,
  ),
  rights(
    `g.${lower(s)}.rsvdlo`,
    s,
    present(s),
    'bits 11:8 are 0',
    (v) => (v & 0xf00) === 0,
    (v) => v | 0x100,
  ),
  rights(
    `g.${lower(s)}.rsvdhi`,
    s,
    present(s),
    'bits 31:17 are 0',
    (v) => v >>> 17 === 0,
    (v) => v | 0x2_0000,
  ),
  ...granularity(s),
];

const systemRows: readonly VmxCheck[] = [
  check(G, 'g.tr.type', {
    fields: [rightsOf('TR'), 'ENTRY_CONTROLS'],
    subject: 'TR access rights',
    rule: 'the type is 11 (or 3, if the guest is not in IA-32e mode)',
    ok: (c) => (c.lo(AR.TR) & 15) === 11 || ((c.lo(AR.TR) & 15) === 3 && !ia32eGuest.test(c)),
    breaks: (c) => c.set(AR.TR, (c.lo(AR.TR) & ~15) | 9),
    hint: 'a busy TSS: after LTR the descriptor has type 11',
  }),
  rights(
    'g.ldtr.type',
    'LDTR',
    usable('LDTR'),
    'the type is 2',
    (v) => (v & 15) === 2,
    (v) => (v & ~15) | 3,
  ),
  ...system('TR'),
  ...system('LDTR'),
  rights(
    'g.tr.usable',
    'TR',
    always,
    'is usable (bit 16 is 0)',
    (v) => (v & UNUSABLE) === 0,
    (v) => v | UNUSABLE,
  ),
];

/** Checks on guest segment registers. */
export const guestSegmentRows: readonly VmxCheck[] = [
  ...selectors,
  ...v86Rows,
  ...bases,
  ...types,
  ...privileges,
  ...presence,
  ...six.flatMap(granularity),
  ...systemRows,
];
