import { type Code, defineFunction, type FunctionDefinition } from '@nestvm/emit';
import type { OpcodeRow } from '@nestvm/isa';
import { Context, type Facts, type Meanings } from '@nestvm/semantics';
import { COMMON_PAIRS } from './common-pairs.js';
import { InterpreterEngine, recordFields } from './engine.js';
import { checksTarget, factsOf, packKey } from './facts.js';
import { type FlagMemory, KnownFlags, replacesFlags } from './known-flags.js';
import { Record as DecodedRecord } from './record.js';
import { HANDLER } from './runtime.js';

/** A form of an instruction with the slot of its handler. */
export interface Placed {
  readonly key: number;
  readonly slot: number;
}

/** Keys of what `common-pairs.ts` names, in plain 64-bit code: one, or two where the width of canonical addresses matters. */
function keysOf(text: string, rowOf: ReadonlyMap<string, OpcodeRow>): number[] {
  const [, name, size, form] = /^(\w+ \w+) (16|32|64)(\w*)$/.exec(text)!;
  const row = rowOf.get(name!)!;
  const has = (letter: string): boolean => form!.includes(letter);
  const facts = { id: row.id, operandSize: Number(size) as 16 | 32 | 64, memory: has('m'), indexed: has('i'), based: has('b') };
  return (checksTarget(row) ? [false, true] : [false]).map((la57) => packKey({ ...facts, la57 }));
}

/** Keys of the pairs that are worth a handler of their own. */
export function commonPairs(rows: readonly OpcodeRow[]): [number, number][] {
  const legacy = rows.filter((row) => row.encoding === 'legacy' && row.mode64 !== 'invalid');
  const rowOf = new Map(legacy.map((row) => [`${row.mnemonic} ${row.code.opcode.toString(16)}`, row]));
  return Object.entries(COMMON_PAIRS).flatMap(([first, followers]) =>
    keysOf(first, rowOf).flatMap((a) => followers.flatMap((text) => keysOf(text, rowOf).map((b): [number, number] => [a, b]))),
  );
}

/**
 * The code of two instructions in one function, at the first one's record. Where an access misses the TLB, the handler of that instruction alone takes over, which
 * has the slow paths; nothing of the instruction has changed anything by then, and the next record's handler is asked for anew afterwards.
 */
export function pairHandler(first: Placed, second: Placed, rows: readonly OpcodeRow[], meanings: Meanings): FunctionDefinition {
  const factsOfBoth = [first, second].map(({ key }) => factsOf(key, rows)) as [Facts, Facts];
  return defineFunction(`p${first.slot}_${second.slot}`, HANDLER, (code: Code) => {
    const memory: FlagMemory = { conditions: [] };
    const write = (facts: Facts, slot: number, offset: number, seen: boolean): Context => {
      const { mnemonic } = facts.row;
      const fields = recordFields(code, code.param(0, 32), offset);
      const engine = new InterpreterEngine({ offset, alone: slot });
      const x = new Context(code, code.param(1, 32), facts, fields, engine, (home) => new KnownFlags(home, memory, { mnemonic, seen }));
      meanings[mnemonic]!(x);
      return x;
    };
    write(factsOfBoth[0], first.slot, 0, !replacesFlags(factsOfBoth[1]));
    const x = write(factsOfBoth[1], second.slot, DecodedRecord.BYTES, true);
    if (!x.ended) x.engine.next(x);
  });
}
