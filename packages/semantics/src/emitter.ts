import type { Context } from './context.js';

/** The meaning of one mnemonic: writes the code of one instruction. */
export type Emitter = (x: Context) => void;

/** Meanings by mnemonic. */
export type Meanings = Readonly<Record<string, Emitter>>;
