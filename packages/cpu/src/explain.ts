import type { Instruction } from '@nestvm/decoder';
import { Mode, opcodeRows } from '@nestvm/isa';
import { explainInstruction } from '@nestvm/semantics';
import { factsOf, handlerKey } from './interpreter/facts.js';

const MODES = { 16: 0, 32: Mode.CODE32 | Mode.STACK32 | Mode.FLAT, 64: Mode.LONG | Mode.CODE32 | Mode.STACK32 | Mode.FLAT } as const;

/**
 * What a decoded instruction does, as pseudo-code: the same meaning that the interpreter executes, in the mode it was decoded for (32-bit code with flat segments).
 * Throws `SemanticsError` (`no-meaning`) for one that is carried out in TypeScript.
 */
export const explainDecoded = (insn: Readonly<Instruction>): string[] => explainInstruction(factsOf(handlerKey(insn, MODES[insn.mode]), opcodeRows));
