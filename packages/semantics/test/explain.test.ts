import { opcodeRows } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { explainInstruction, SemanticsError } from '../src/index.js';
import { forms } from './effects/forms.js';

const formOf = (mnemonic: string, memory: boolean, size = 32) =>
  forms.find(
    ({ row, facts }) => row.mnemonic === mnemonic && facts.long && facts.memory === memory && facts.operandSize === size && facts.rep === 0,
  )!;

describe('explainInstruction', () => {
  it('says what XCHG does in four lines', () => {
    const form = forms.find(
      ({ row, facts }) => row.mnemonic === 'XCHG' && row.code.opcode === 0x87 && facts.long && !facts.memory && facts.operandSize === 32,
    )!;
    const lines = explainInstruction(form.facts);
    expect(lines.slice(0, 2)).toEqual(['t0 = ECX', 't1 = EBX']);
    expect(lines.slice(-2).map((line) => line.slice(0, 5))).toEqual(['RBX ←', 'RCX ←']);
  });

  it('shows faults where they are raised', () => {
    expect(explainInstruction(formOf('DIV', false).facts).join('\n')).toMatch(/if .*\n {2}fault\(0\)\n {2}return/);
  });

  it('explains every row that has an emitter', () => {
    const first = new Map(forms.map((form) => [form.row, form]));
    const silent = new Set(['NOP', 'CLDEMOTE', 'RDSSP', 'SERIALIZE', 'FNENI', 'FNDISI', 'FNSETPM']);
    for (const { row, facts } of first.values()) {
      const lines = explainInstruction(facts);
      const doesNothing = lines.length === 0;
      expect(doesNothing && !silent.has(row.mnemonic) && !/^(PREFETCH|ENDBR|[LMS]FENCE)/.test(row.mnemonic), row.mnemonic).toBe(false);
    }
  });

  it('refuses what is not an emitter', () => {
    const row = opcodeRows.find(({ mnemonic }) => mnemonic === 'CPUID')!;
    expect(() => explainInstruction({ ...formOf('XCHG', false).facts, row })).toThrow(SemanticsError);
  });
});
