import { evex0f, evex0f38, evex0f3a, evexMap5, evexMap6 } from './evex.js';
import { oneByte } from './one-byte.js';
import { parseTables } from './notation.js';
import { threeByte38, threeByte3a } from './three-byte.js';
import { twoByteVector } from './two-byte-vector.js';
import { twoByte } from './two-byte.js';
import { vex0f, vex0f38, vex0f3a, vexMap7 } from './vex.js';
import { x87 } from './x87.js';

const implemented = [oneByte, x87, twoByte, twoByteVector, threeByte38, threeByte3a, vex0f, vex0f38, vex0f3a, vexMap7] as const;
const decodedOnly = [evex0f, evex0f38, evex0f3a, evexMap5, evexMap6] as const;
const tables = [...implemented, ...decodedOnly] as const;

/** Every mnemonic of the opcode rows. */
export type Mnemonic = (typeof tables)[number]['lines'][number][1];

/** The mnemonics of legacy and VEX rows; AVX-512 is decoded, but no CPU model offers it yet. */
export type LegacyOrVexMnemonic = (typeof implemented)[number]['lines'][number][1];

/** All rows of all opcode maps. What differs from the printed maps is listed in deviations.ts. */
export const opcodeRows = parseTables<Mnemonic>(tables);
