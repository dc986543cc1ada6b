import { oneByte } from './one-byte.js';
import { parseTables } from './notation.js';
import { threeByte38, threeByte3a } from './three-byte.js';
import { twoByteVector } from './two-byte-vector.js';
import { twoByte } from './two-byte.js';
import { vex0f, vex0f38, vex0f3a } from './vex.js';
import { x87 } from './x87.js';

const tables = [oneByte, x87, twoByte, twoByteVector, threeByte38, threeByte3a, vex0f, vex0f38, vex0f3a] as const;

/** Every mnemonic of the opcode rows. */
export type Mnemonic = (typeof tables)[number]['lines'][number][1];

/** All rows of all opcode maps. */
export const opcodeRows = parseTables<Mnemonic>(tables);
