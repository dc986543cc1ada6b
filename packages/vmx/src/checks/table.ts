import { VmxError } from '../errors.js';
import { fieldNamed, fields, VmcsHeader } from '../fields/layout.js';
import type { CheckGroup, VmxCheck } from './check.js';
import { checkGroups } from './check.js';
import type { EntryContext } from './context.js';
import { RememberedSection, readsOf } from './remembered.js';
import { beforeRows, smmRows } from './rows/before.js';
import { executionRows } from './rows/execution.js';
import { entryRows, exitRows } from './rows/exit-entry.js';
import { guestRegisterRows } from './rows/guest-registers.js';
import { guestSegmentRows } from './rows/guest-segments.js';
import { guestNonRegisterRows, guestRipRows, guestTableRows } from './rows/guest-state.js';
import { addressSizeRows, hostRegisterRows, hostSegmentRows } from './rows/host.js';
import { linkRows, pdpteRows } from './rows/links.js';
import { msrLoadRows } from './rows/msr-load.js';

/** Every VM-entry check, in the order in which they are made: before the VMCS is looked at, controls, host state, guest state, MSR list. */
export const vmEntryChecks: readonly VmxCheck[] = [
  ...beforeRows,
  ...smmRows,
  ...executionRows,
  ...exitRows,
  ...entryRows,
  ...hostRegisterRows,
  ...hostSegmentRows,
  ...addressSizeRows,
  ...guestRegisterRows,
  ...guestSegmentRows,
  ...guestTableRows,
  ...guestRipRows,
  ...guestNonRegisterRows,
  ...linkRows,
  ...pdpteRows,
  ...msrLoadRows,
];

/** The sections that are made on the VMCS as a whole, each with a bit in the CLEAN_GROUPS word of the VMCS. */
const SECTIONS: readonly CheckGroup[] = (Object.keys(checkGroups) as CheckGroup[]).filter(
  (group) => group !== 'pre' && group !== 'smm' && group !== 'msrLoad',
);
const ALL_CLEAN = 2 ** SECTIONS.length - 1;

/** Rows with one condition, which is asked once; the functions are apart from the rows, whose shapes differ. */
interface Bucket {
  readonly applies: ((c: EntryContext) => boolean) | undefined;
  readonly ok: readonly ((c: EntryContext) => boolean)[];
  readonly rows: readonly VmxCheck[];
}

interface Section {
  readonly bit: number;
  readonly rows: readonly VmxCheck[];
  readonly reads: ReturnType<typeof readsOf>;
  /** Rows that depend on fields of the VMCS only. */
  readonly stable: readonly Bucket[];
  /** Rows that depend on the processor or on memory as well. */
  readonly volatile: readonly Bucket[];
}

function bucketsOf(rows: readonly VmxCheck[]): Bucket[] {
  const conditions = [...new Set(rows.map((row) => row.applies))];
  return conditions.map((applies) => {
    const same = rows.filter((row) => row.applies === applies);
    return { applies, ok: same.map((row) => row.ok), rows: same };
  });
}

const sections: readonly Section[] = SECTIONS.map((group, index) => {
  const rows = vmEntryChecks.filter((row) => row.group === group);
  const stable = rows.filter((row) => !row.volatile);
  return {
    bit: 1 << index,
    rows: stable,
    reads: readsOf(group, stable),
    stable: bucketsOf(stable),
    volatile: bucketsOf(rows.filter((row) => row.volatile)),
  };
});

/** Sections that a field belongs to, by the field's ordinal: what VMWRITE must clear in CLEAN_GROUPS. */
export const sectionsOfField = new Int32Array(fields.length);
for (const [index, section] of sections.entries())
  for (const row of section.rows) for (const name of row.reads) sectionsOfField[fieldNamed(name).ordinal]! |= 1 << index;

if (new Set(vmEntryChecks.map((row) => row.id)).size !== vmEntryChecks.length)
  throw new VmxError('bad-table', 'two VM-entry checks have the same id; rename one');

function firstOf(buckets: readonly Bucket[], c: EntryContext): VmxCheck | undefined {
  for (let b = 0; b < buckets.length; b++) {
    const { applies, ok, rows } = buckets[b]!;
    if (applies !== undefined && !applies(c)) continue;
    for (let i = 0; i < ok.length; i++) if (!ok[i]!(c)) return rows[i];
  }
  return undefined;
}

const beforeBuckets = bucketsOf(beforeRows);
const msrBuckets = bucketsOf(msrLoadRows);

/** The first check that VMLAUNCH or VMRESUME fails before it looks at the controls. */
export const firstBefore = (c: EntryContext): VmxCheck | undefined => firstOf(beforeBuckets, c);

type Memory = Pick<RememberedSection, 'knows' | 'keep'>;

/** A memory of what has passed, for one vCPU; see {@link firstFailure}. */
export const createRemembered = (): readonly RememberedSection[] => sections.map(({ reads }) => new RememberedSection(reads));

/**
 * The first check of controls, host state and guest state that fails, or undefined. Skips sections that held before and whose fields were not written
 * since, or whose fields hold what has passed before, and notes those that hold now. Allocates nothing.
 */
export function firstFailure(c: EntryContext, remembered: readonly Memory[]): VmxCheck | undefined {
  const at = c.base + VmcsHeader.CLEAN_GROUPS;
  const clean = c.i32[at]! & ALL_CLEAN;
  for (let i = 0; clean !== ALL_CLEAN && i < sections.length; i++) {
    const section = sections[i]!;
    if ((clean & section.bit) !== 0 || remembered[i]!.knows(c)) continue;
    if (firstOf(section.stable, c) !== undefined) return firstInOrder(c);
    remembered[i]!.keep(c);
  }
  if (firstVolatile(c) !== undefined) return firstInOrder(c);
  c.i32[at] = ALL_CLEAN;
  return undefined;
}

/** The same, section by section: which of several failures comes first. */
function firstInOrder(c: EntryContext): VmxCheck | undefined {
  const at = c.base + VmcsHeader.CLEAN_GROUPS;
  let clean = c.i32[at]!;
  for (let i = 0; i < sections.length; i++) {
    const section = sections[i]!;
    let failed = (clean & section.bit) === 0 ? firstOf(section.stable, c) : undefined;
    if (failed === undefined) {
      clean |= section.bit;
      failed = firstOf(section.volatile, c);
    }
    if (failed !== undefined) {
      c.i32[at] = clean & ALL_CLEAN;
      return failed;
    }
  }
  c.i32[at] = ALL_CLEAN;
  return undefined;
}

const volatileBuckets = bucketsOf(vmEntryChecks.filter((row) => row.volatile && SECTIONS.includes(row.group)));
const firstVolatile = (c: EntryContext): VmxCheck | undefined => firstOf(volatileBuckets, c);

/** The first check that an entry of the VM-entry MSR-load list fails; the entry is in the `msr…` properties of the context. */
export const firstMsrFailure = (c: EntryContext): VmxCheck | undefined => firstOf(msrBuckets, c);

/** Reads entry `number` (from 0) of the VM-entry MSR-load list into the `msr…` properties of the context, from RAM; all ones elsewhere. */
export function readMsrEntry(c: EntryContext, addressLo: number, addressHi: number, number: number): void {
  const lo = (addressLo >>> 0) + 16 * number;
  const at = lo >= 0x1_0000_0000 ? lo - 0x1_0000_0000 : lo;
  const hi = lo >= 0x1_0000_0000 ? addressHi + 1 : addressHi;
  c.msrIndex = c.physicalWord(at, hi);
  c.msrReserved = c.physicalWord(at + 4, hi);
  c.msrLo = c.physicalWord(at + 8, hi);
  c.msrHi = c.physicalWord(at + 12, hi);
}
