import { decodeInto, Instruction } from '@nestvm/decoder';
import { opcodeRows } from '@nestvm/isa';
import { expect, it } from 'vitest';
import { Engine } from '../src/engine.js';
import { Interpreter } from '../src/executor.js';
import { factsOf, handlerKey } from '../src/interpreter/facts.js';
import { commonSequences, type Keys } from '../src/interpreter/sequences.js';
import { createDeterministicRandom } from '../src/ports/random.js';
import { MODE, word } from '../src/words.js';
import { At, Board } from './support/board.js';

const HLT = 0xf4;
/** Loads and stores through R8 and the stack, so that the TLB knows their pages: mov r9, [r8]; mov [r8], r9; push r9; pop r9. */
const WARM = [0x4d, 0x8b, 0x08, 0x4d, 0x89, 0x08, 0x41, 0x51, 0x41, 0x59];
const random = createDeterministicRandom(7);
const pick = (count: number): number => (random.next() >>> 0) % count;

/** A board whose handlers halt, with an engine that joins instructions, or not. */
function machine(joins: boolean): { board: Board; executor: Interpreter; joined: () => number } {
  const board = new Board();
  for (let vector = 0; vector < 0x40; vector++) board.longGate(vector, {});
  new Uint8Array(board.arena.memory.buffer, board.ram + At.HANDLER, 0x400).fill(HLT);
  const engine = new Engine(board.arena, board.memory, { recordBytes: 1 << 18 });
  const { handlers } = engine;
  // Before what is counted: the handlers ask themselves when the first code of 64 bits comes.
  handlers.slotFor(0, 1 << 7);
  const joinOf = handlers.joinOf.bind(handlers);
  let found = 0;
  handlers.joinOf = (first, second) => {
    const slot = joins ? joinOf(first, second) : 0;
    if (slot !== 0) found++;
    return slot;
  };
  return { board, executor: new Interpreter(board.cpu, engine), joined: () => found };
}

/** Bytes of an instruction of a form, its registers and numbers by chance; accesses are near R8. */
function encode(key: number, mode: number): number[] {
  const { row, memory, indexed, segment, operandSize } = factsOf(key, opcodeRows);
  const { code } = row;
  const insn = new Instruction();
  for (let attempt = 0; attempt < 4000; attempt++) {
    const rex = 0x40 | (operandSize === 64 && !row.mode64.endsWith('64') ? 8 : 0) | pick(8) | (memory ? 1 : 0);
    const reg = code.reg >= 0 ? code.reg : pick(8);
    const bytes: number[] = segment === 'base' ? [0x64] : [];
    if (operandSize === 16) bytes.push(0x66);
    if (rex !== 0x40 || attempt % 2 === 0) bytes.push(memory && indexed ? rex | 2 : rex);
    if (code.map !== '') bytes.push(0x0f);
    bytes.push(code.zOperand ? code.opcode | pick(8) : code.opcode);
    if (code.hasModRm) bytes.push(...(memory ? [0x40 | (reg << 3) | (indexed ? 4 : 0)] : [0xc0 | (reg << 3) | pick(8)]));
    // [r8 + r10 * 2^n + disp8]
    if (memory && indexed) bytes.push((pick(4) << 6) | (2 << 3));
    if (memory && code.hasModRm) bytes.push(pick(0x60));
    for (let i = 0; i < 8; i++) bytes.push(i === 0 ? [0, 1, pick(0x60)][pick(3)]! : 0);
    const length = decodeInto(insn, Uint8Array.from([...bytes, 0, 0, 0, 0]), 0, bytes.length, 64);
    if (length > 0 && handlerKey(insn, mode) === key && !touches(insn, row.operands, 4)) return bytes.slice(0, length);
  }
  throw new Error(`no bytes for ${row.mnemonic} ${code.opcode.toString(16)} ${operandSize}`);
}

/** Whether an instruction names a register: the stack pointer is left alone. */
function touches(insn: Instruction, operands: readonly { readonly method: string }[], register: number): boolean {
  const named = operands.map(({ method }) =>
    method === 'G' ? insn.reg : method === 'Z' ? insn.rm : method === 'E' && insn.mod === 3 ? insn.rm : -1,
  );
  return named.includes(register);
}

interface Case {
  readonly code: readonly number[];
  readonly registers: readonly bigint[];
  readonly flags: number;
}

/** Runs a case to its halt; gives all that it may have changed. */
function outcome({ board, executor }: ReturnType<typeof machine>, { code, registers, flags }: Case): string {
  const { cpu } = board;
  board.long();
  cpu.w[word('activity')] = 0;
  const bytes = new Uint8Array(board.arena.memory.buffer);
  const data = bytes.subarray(board.ram + At.DATA, board.ram + At.DATA + 0x1000);
  const stack = bytes.subarray(board.ram + At.STACK0 - 0x400, board.ram + At.STACK0 + 0x400);
  data.forEach((_, i) => void (data[i] = i * 37));
  new BigUint64Array(stack.buffer, stack.byteOffset, 0x100).fill(BigInt(At.CODE + 0x800));
  const page = new Uint8Array(0x1000).fill(HLT);
  page.set(code);
  board.memory.write(At.CODE, page);
  registers.forEach((value, n) => n !== 4 && cpu.setGpr(n, value));
  cpu.writeRflags(flags);
  const before = executor.retired;
  const stop = executor.run(100);
  const gprs = registers.map((_, n) => cpu.gpr(n).toString(16)).join(' ');
  const memory = [data, stack].map((part) => Buffer.from(part).toString('base64')).join(' ');
  return `${stop} ${executor.retired - before} ${cpu.rip.toString(16)} ${cpu.readRflags().toString(16)} ${gprs} ${memory}`;
}

function chance(keys: Keys, mode: number): Case {
  const value = (): bigint =>
    [0n, 1n, 0xffffffffffffffffn, 0x80000000n, (BigInt(random.next() >>> 0) << 32n) | BigInt(random.next() >>> 0)][pick(5)]!;
  const registers = Array.from({ length: 16 }, value);
  registers[8] = BigInt(At.DATA + 0x400);
  registers[10] = BigInt(pick(0x40));
  const isWarm = pick(4) !== 0;
  return {
    code: [...(isWarm ? WARM : []), ...keys.flatMap((key) => encode(key, mode))],
    registers,
    flags: 0x2 | ((random.next() >>> 0) & 0x8d5),
  };
}

it('several instructions by one handler do what each does by its own', () => {
  const [both, alone] = [machine(true), machine(false)];
  const mode = both.board.long().cpu.w[MODE]!;
  const sequences = commonSequences(opcodeRows).map((halves) => halves.flat());
  const narrow = sequences.filter((keys) => keys.every((key) => factsOf(key, opcodeRows).canonicalBits === 48));
  expect(narrow.length).toBeGreaterThan(300);
  for (const keys of narrow) {
    const found = both.joined();
    for (let round = 0; round < 8; round++) {
      const one = chance(keys, mode);
      const [a, b] = [outcome(both, one), outcome(alone, one)];
      if (a !== b) expect(`${one.code.join()} ${a}`).toBe(`${one.code.join()} ${b}`);
    }
    expect(both.joined()).toBeGreaterThan(found);
  }
});
