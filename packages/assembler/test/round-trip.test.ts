import { decodeInto, Instruction } from '@nestvm/decoder';
import { formatIntel } from '@nestvm/decoder/format';
import type { OpcodeRow } from '@nestvm/isa';
import { opcodeRows } from '@nestvm/isa';
import { expect, it } from 'vitest';
import type { CodeBits, Operand, Shape } from '../src/index.js';
import { assemble, encodeForm, shapesOf } from '../src/index.js';
import type { Form } from './generate.js';
import { createRandom, randomOperands } from './generate.js';

const ROUNDS = 4;
const forms = (row: OpcodeRow): Form[] =>
  row.code.mod === 'any' && row.code.hasModRm && !row.code.modIgnored ? ['register', 'memory'] : [row.code.mod === 'memory' ? 'memory' : 'register'];
const hexOf = (bytes: Iterable<number>): string => [...bytes].map((b) => b.toString(16).padStart(2, '0')).join(' ');
const describe = (row: OpcodeRow, shape: Shape, operands: readonly Operand[]): string =>
  `${row.mnemonic} ${row.encoding} ${row.code.opcode.toString(16)} ${shape.mode}/${shape.operandSize}/${shape.vectorLength} ${JSON.stringify(operands, (_, v: unknown) => (typeof v === 'bigint' ? Number(v) : v))}`;

interface Case {
  readonly row: OpcodeRow;
  readonly shape: Shape;
  readonly operands: readonly Operand[];
  readonly bytes: Uint8Array;
}

/** Every row in every mode, shape and form that has an encoding, with random operands. */
function* cases(seed: number): Generator<Case> {
  const random = createRandom(seed);
  for (const row of opcodeRows) {
    for (const mode of [16, 32, 64] as const)
      for (const shape of shapesOf(row, mode))
        for (const form of forms(row))
          for (let i = 0; i < ROUNDS; i++) {
            const operands = randomOperands(row, shape, form, random);
            if (operands === null) continue;
            const encoding = encodeForm(row, operands, shape, { mode, at: 0n, resolve: () => 0n, prefixes: {} });
            if (encoding !== null) yield { row, shape, operands, bytes: Uint8Array.from(encoding.bytes) };
          }
  }
}

const insn = new Instruction();
/** What the decoder refuses though the fields can be written: gathers whose registers meet, complex products onto a source. */
const mayRefuse = (row: OpcodeRow): boolean =>
  row.operands.some((spec) => spec.method === 'MV') || /^VF[C]?MULC[PS]H$/.test(row.mnemonic) || /^VFC?MADDC[PS]H$/.test(row.mnemonic);

it('decode(encode(x)) is x, for every row, mode, shape and form', () => {
  const met = new Set<number>();
  const wrong = new Map<string, string>();
  let count = 0;
  for (const { row, shape, operands, bytes } of cases(0x1234567)) {
    count++;
    const length = decodeInto(insn, bytes, 0, bytes.length, shape.mode);
    if (length < 0 && mayRefuse(row)) continue;
    if (length !== bytes.length || insn.row.id !== row.id) {
      wrong.set(
        `${row.mnemonic} ${row.id}`,
        `${describe(row, shape, operands)} → ${hexOf(bytes)} → ${length} ${length > 0 ? insn.row.mnemonic : ''}`,
      );
      continue;
    }
    if (row.operands.some((spec) => ['v', 'y', 'z', 'p'].includes(spec.type)) && insn.operandSize !== shape.operandSize)
      wrong.set(`${row.mnemonic} ${row.id}`, `${describe(row, shape, operands)} → ${hexOf(bytes)} has size ${insn.operandSize}`);
    met.add(row.id);
  }
  console.log(`assembler: ${count} encodings of ${met.size} of ${opcodeRows.length} rows decode to themselves; ${wrong.size} wrong`);
  expect([...wrong.values()]).toEqual([]);
  expect(
    opcodeRows
      .filter((row) => !met.has(row.id))
      .map((row) => `${row.mnemonic} ${row.encoding} ${row.code.map} ${row.code.opcode.toString(16)} /${row.code.reg}`),
  ).toEqual([]);
});

/** Texts that leave something out: sizes of immediates alone, address sizes without registers, far pointers' sizes. */
function isTextAmbiguous(mode: CodeBits): boolean {
  const { row } = insn;
  if (insn.base === 16 && insn.index === 16 && insn.hasModRm && insn.mod !== 3 && insn.addressSize !== mode) return true;
  if (row.operands.some((spec) => spec.method === 'O' && insn.addressSize !== mode)) return true;
  return false;
}

it('text of every encoding assembles to an instruction with the same text', () => {
  const wrong = new Map<string, string>();
  let count = 0;
  let skipped = 0;
  for (const { row, shape, bytes } of cases(0x7654321)) {
    if (decodeInto(insn, bytes, 0, bytes.length, shape.mode) < 0) continue;
    if (isTextAmbiguous(shape.mode)) {
      skipped++;
      continue;
    }
    const text = formatIntel(insn);
    count++;
    let again: string;
    try {
      const out = assemble(text, { mode: shape.mode }).bytes;
      again = decodeInto(insn, out, 0, out.length, shape.mode) < 0 ? `#UD ${hexOf(out)}` : formatIntel(insn);
    } catch (error) {
      again = String(error);
    }
    if (again.replaceAll('st(0)', 'st') !== text.replaceAll('st(0)', 'st'))
      wrong.set(`${row.mnemonic} ${row.id}`, `${shape.mode}: ${text} (${hexOf(bytes)}) became ${again}`);
  }
  console.log(`assembler: ${count} texts read back, ${skipped} left out; ${wrong.size} wrong`);
  expect([...wrong.values()]).toEqual([]);
});
