/** Whether a row can fail here: made on every entry, made when the CPU model offers what it is about, or never reached because that is not offered. */
export type EntryCheckStatus = 'checked' | 'when offered' | 'not offered';

/**
 * One consistency check of VM entry (VMX) or VMRUN (SVM), as a row of a table. `C` is what the extension shows to its checks: the control structure and the
 * processor around it. `applies` and `ok` are pure, allocate nothing and use no BigInt; `say` runs only for explanations.
 */
export interface EntryCheck<C> {
  /** Stable name, used in documents, tests and messages. */
  readonly id: string;
  /** Where the manual says so, by title. */
  readonly title: string;
  /** What is checked: fields or registers, in words. */
  readonly subject: string;
  /** When, in words. */
  readonly condition: string;
  /** What must hold, in words. */
  readonly rule: string;
  /** What a violation causes, in words. */
  readonly result: string;
  readonly status: EntryCheckStatus;
  /** Whether the row is looked at; always when left out. */
  readonly applies?: (c: C) => boolean;
  /** Whether the rule holds. */
  readonly ok: (c: C) => boolean;
  /** One sentence about a violation, with the values found and expected. */
  readonly say: (c: C) => string;
  /** What usually causes it. */
  readonly hint?: string;
  /** Breaks this check, and as few others as possible, in a valid structure: gives the row its test. */
  readonly mutate?: (c: C) => void;
}

/** Index of the first row that fails, or -1; allocates nothing. */
export function firstFailure<C>(rows: readonly EntryCheck<C>[], c: C): number {
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!;
    if ((row.applies === undefined || row.applies(c)) && !row.ok(c)) return i;
  }
  return -1;
}

/** Every row that fails, in the order of the table. */
export function allFailures<C>(rows: readonly EntryCheck<C>[], c: C): EntryCheck<C>[] {
  return rows.filter((row) => (row.applies === undefined || row.applies(c)) && !row.ok(c));
}

/** A failed row in lines of text: what, values, manual, hint. */
export function explainFailure<C>(row: EntryCheck<C>, c: C): string[] {
  const lines = [`${row.id}: ${row.say(c)}`, `  rule: ${row.rule}${row.condition === 'always' ? '' : ` (when: ${row.condition})`}; ${row.title}`];
  if (row.hint !== undefined) lines.push(`  hint: ${row.hint}`);
  return lines;
}

/** One feature of a hypervisor extension, as the reference page lists it. */
export interface NestedFeature {
  readonly group: string;
  readonly name: string;
  /** Y: works and is offered (by models that have it); P: partly; N: not offered. */
  readonly status: 'Y' | 'P' | 'N';
  /** The test that shows it (file, or file and name), for Y and P; why not, for N. */
  readonly evidence: string;
}
