import { Code } from '@nestvm/emit';
import { type Effects, effectsOf, type Range } from '@nestvm/emit/backends';
import { Gpr } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import type { Context } from '../../src/context.js';
import type { Emitter } from '../../src/emitter.js';
import { operandsOf } from '../../src/instruction.js';
import { meanings } from '../../src/meanings.js';
import { setStackPointer, stackLinear, stackPointer } from '../../src/stack.js';
import { excusedOperands, excusedWrites } from './exceptions.js';
import { locationOf, SIGNATURE, writeForm } from './form-code.js';
import { type Form, forms } from './forms.js';
import { effectsRules } from './rules.js';

function effectsOfForm(form: Form, emitter: Emitter = meanings[form.row.mnemonic]!): Effects {
  const code = new Code(SIGNATURE);
  writeForm(code, form, emitter);
  return effectsOf(code, effectsRules(form));
}

/** What of a form is done before its last way to leave; exceptions aside, nothing. */
function lateWrites(form: Form, emitter?: Emitter): string[] {
  return effectsOfForm(form, emitter).late.map(({ write, leaving }) => `${write} before ${leaving}`);
}

/** How a form uses the registers that it names, where that is not what its row declares. */
function misusedOperands(form: Form, emitter?: Emitter): string[] {
  const effects = effectsOfForm(form, emitter);
  // Left to TypeScript in full, or in its unusual cases.
  if (effects.calls.has('flow.system')) return [];
  const wrong: string[] = [];
  for (const [i, spec] of form.row.operands.entries()) {
    const place = locationOf(form, spec);
    if (place === null || spec.access === 'none') continue;
    const touches = ({ offset, bytes }: Range): boolean => offset < place.offset + place.bytes && offset + bytes > place.offset;
    const [read, written] = [effects.reads.some(touches), effects.writes.some(touches) || effects.writesAnywhere];
    const say = (what: string): void => void wrong.push(`operand ${i + 1} (${spec.method}${spec.type}:${spec.access}) is ${what}`);
    if (spec.access.includes('r') && !read) say('not read');
    if (!spec.access.includes('r') && read) say('read');
    if (spec.access.includes('w') && !written) say('not written');
    if (!spec.access.includes('w') && written) say('written');
  }
  return wrong;
}

/** Runs a check over all forms; the complaints that no exception covers, and the exceptions that cover nothing. */
function survey(
  check: (form: Form) => string[],
  exceptions: readonly { mnemonic: RegExp; complaint: RegExp }[],
): { complaints: string[]; idle: string[] } {
  const used = new Set<object>();
  const complaints: string[] = [];
  for (const form of forms) {
    for (const complaint of check(form)) {
      const exception = exceptions.find((e) => e.mnemonic.test(form.row.mnemonic) && e.complaint.test(complaint));
      if (exception) used.add(exception);
      else complaints.push(`${form.name}: ${complaint}`);
    }
  }
  return { complaints, idle: exceptions.filter((e) => !used.has(e)).map((e) => String(e.mnemonic)) };
}

const formOf = (mnemonic: string): Form => forms.find((form) => form.row.mnemonic === mnemonic && form.facts.long)!;

describe('every row in every form', () => {
  it('has no architectural effect before its last possible fault', { timeout: 900_000 }, () => {
    expect(survey(lateWrites, excusedWrites)).toEqual({ complaints: [], idle: [] });
    console.log(`effects: ${forms.length} forms of ${new Set(forms.map(({ row }) => row)).size} rows are precise`);
  });

  it('uses the registers that it names as its row declares', { timeout: 900_000 }, () => {
    expect(survey(misusedOperands, excusedOperands)).toEqual({ complaints: [], idle: [] });
  });
});

describe('rows that end their block', () => {
  it('go on by themselves, since no record follows them', () => {
    const fallOff = forms.filter((form) => form.row.endsBlock && !writeForm(new Code(SIGNATURE), form, meanings[form.row.mnemonic]!).ended);
    expect([...new Set(fallOff.map(({ row }) => row.mnemonic))]).toEqual([]);
  });
});

describe('the effects suite can fail', () => {
  const wrongPush: Emitter = (x: Context) => {
    const moved = stackPointer(x).sub(8);
    setStackPointer(x, moved);
    x.engine.store(x, 64, stackLinear(x, moved, 8, 1), x.gpr(64, Gpr.RAX));
  };

  it('sees a PUSH that moves RSP before its store', () => {
    expect(lateWrites(formOf('PUSH'))).toEqual([]);
    expect(lateWrites(formOf('PUSH'), wrongPush)).toEqual(['state[32] before guest.write']);
  });

  it('sees a PUSH that pushes another register', () => {
    expect(misusedOperands(formOf('PUSH'), wrongPush)).toEqual(['operand 1 (Zv:r) is not read']);
  });

  it('sees an ADD whose destination is never written, and one that writes its source', () => {
    const [keepNothing, swap]: Emitter[] = [
      (x) => void operandsOf(x).map((o) => o.read()),
      (x) => {
        const [a, b] = operandsOf(x);
        const sum = a!.read().add(b!.read());
        a!.write(sum);
        b!.write(sum);
      },
    ];
    const form = forms.find(({ row, facts }) => row.mnemonic === 'ADD' && row.code.opcode === 1 && facts.long && !facts.memory)!;
    expect(misusedOperands(form, keepNothing)).toEqual(['operand 1 (Ev:rw) is not written']);
    expect(misusedOperands(form, swap)).toEqual(['operand 2 (Gv:r) is written']);
  });
});
