import { type Code, defineFunction, type FunctionDefinition } from '@nestvm/emit';
import type { OpcodeRow } from '@nestvm/isa';
import { Context, type Facts, type Meanings } from '@nestvm/semantics';
import { COMMON_SEQUENCES } from './common-sequences.js';
import { InterpreterEngine, recordFields } from './engine.js';
import { HANDLER } from './entering.js';
import { checksTarget, factsOf, packKey } from './facts.js';
import { type FlagMemory, KnownFlags, leavesFlags, replacesFlags } from './known-flags.js';
import { Record as DecodedRecord } from './record.js';

/** A form of an instruction with the slot of its handler. */
export interface Placed {
  readonly key: number;
  readonly slot: number;
}

/** Keys of instructions one behind the other. */
export type Keys = readonly number[];

/** Keys of an instruction that `common-sequences.ts` names, in plain 64-bit code: one, or two where the width of canonical addresses matters. */
function keysOf(text: string, rowOf: ReadonlyMap<string, OpcodeRow>): number[] {
  const [, name, size, form] = /^(\w+ \w+) (16|32|64)(\w*)$/.exec(text)!;
  const row = rowOf.get(name!)!;
  const has = (letter: string): boolean => form!.includes(letter);
  const facts = { id: row.id, operandSize: Number(size) as 16 | 32 | 64, memory: has('m'), indexed: has('i'), based: has('b') };
  return (checksTarget(row) ? [false, true] : [false]).map((la57) => packKey({ ...facts, la57 }));
}

/** What is worth a handler of its own: pairs of instructions, and of pairs that came before in the list. */
export function commonSequences(rows: readonly OpcodeRow[]): [Keys, Keys][] {
  const legacy = rows.filter((row) => row.encoding === 'legacy' && row.mode64 !== 'invalid');
  const rowOf = new Map(legacy.map((row) => [`${row.mnemonic} ${row.code.opcode.toString(16)}`, row]));
  const each = (text: string): Keys[] => {
    const parts = text.split(' + ').map((part) => keysOf(part, rowOf));
    // Only the last of several may end in a target.
    const before = parts.slice(0, -1).map(([key]) => key!);
    return parts.at(-1)!.map((key) => [...before, key]);
  };
  return COMMON_SEQUENCES.flatMap(([first, followers]) =>
    each(first).flatMap((a) => followers.flatMap((text) => each(text).map((b): [Keys, Keys] => [a, b]))),
  );
}

/** Whether somebody may see the flags that an instruction sets, when those are known that follow it. */
function areSeen(followers: readonly Facts[]): boolean {
  const next = followers.find((facts) => !leavesFlags(facts));
  return next === undefined || !replacesFlags(next);
}

/**
 * The code of some instructions in one function, at the first one's record. Where an access misses the TLB, the handler of that instruction alone takes over, which
 * has the slow paths; nothing of the instruction has changed anything by then, and the next record's handler is asked for anew afterwards.
 */
export function sequenceHandler(parts: readonly Placed[], rows: readonly OpcodeRow[], meanings: Meanings): FunctionDefinition {
  const facts = parts.map(({ key }) => factsOf(key, rows));
  return defineFunction(`s${parts.map(({ slot }) => slot).join('_')}`, HANDLER, (code: Code) => {
    const memory: FlagMemory = { conditions: [] };
    const write = ({ slot }: Placed, i: number): Context => {
      const { mnemonic } = facts[i]!.row;
      const offset = i * DecodedRecord.BYTES;
      const fields = recordFields(code, code.param(0, 32), offset);
      const engine = new InterpreterEngine({ offset, alone: slot });
      const options = { mnemonic, seen: areSeen(facts.slice(i + 1)) };
      const x = new Context(code, code.param(1, 32), facts[i]!, fields, engine, (home) => new KnownFlags(home, memory, options));
      meanings[mnemonic]!(x);
      return x;
    };
    const last = parts.map(write).at(-1)!;
    if (!last.ended) last.engine.next(last);
  });
}
