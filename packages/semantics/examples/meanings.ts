import { opcodeRows } from '@nestvm/isa';
import { alu, type Meanings, meanings } from '@nestvm/semantics';

const names = new Set<string>(opcodeRows.filter((row) => row.encoding !== 'evex').map((row) => row.mnemonic));
const emitted = [...names].filter((name) => name in meanings);
console.log(`${emitted.length} of ${names.size} mnemonics have an emitter`);

// An instruction of one's own: DEST ← DEST AND NOT SRC, with the flags of a logical operation.
const own: Meanings = {
  ...meanings,
  AND_NOT: alu(
    (a, b) => a.and(b.not()),
    (x, result) => x.flags.logic(result),
  ),
};
console.log('AND_NOT' in own);
