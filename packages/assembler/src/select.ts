import type { OpcodeRow } from '@nestvm/isa';
import type { EncodeContext, Encoding } from './encode.js';
import { encodeForm } from './encode.js';
import { AssemblerError } from './errors.js';
import type { NamedRows } from './names.js';
import { findName } from './names.js';
import type { Operand } from './operand.js';
import { naturalSize, shapesOf } from './shapes.js';

const JCXZ_PREFIX = 0x67;
const MOST_NEGATIVE = 0x80;

function candidates(named: NamedRows, operands: readonly Operand[], context: EncodeContext): Encoding[] {
  const found: Encoding[] = [];
  for (const row of named.rows) {
    // A string name with a size has one row for `v` operands; sizes that the mode lacks give no shape.
    for (const shape of shapesOf(row, context.mode, named.operandSize)) {
      const encoding = encodeForm(row, operands, shape, context);
      const sized = encoding === null ? null : withAddressSize(encoding, named.addressSize, context);
      if (sized !== null) found.push(sized);
    }
  }
  return found;
}

/** JCXZ chooses its counter by address size, which no operand says. */
function withAddressSize(encoding: Encoding, addressSize: number, context: EncodeContext): Encoding | null {
  if (addressSize === 0 || addressSize === context.mode) return encoding;
  if (addressSize !== (context.mode === 32 ? 16 : 32)) return null;
  const [opcode, displacement] = encoding.bytes as [number, number];
  // The displacement counts from the end, which the prefix moves by one.
  if (displacement === MOST_NEGATIVE) return null;
  return { ...encoding, bytes: [JCXZ_PREFIX, opcode, (displacement - 1) & 0xff] };
}

/** Several memory sizes fit and nothing says which: only the size without prefixes of PUSH and its kin may be assumed. */
function isAmbiguous(found: readonly Encoding[], context: EncodeContext): boolean {
  const sizes = new Set(found.map((encoding) => encoding.guessedBits));
  if (sizes.size < 2) return false;
  return !found.every((encoding) => hasDefault(encoding.row, context));
}

const hasDefault = (row: OpcodeRow, { mode }: EncodeContext): boolean =>
  row.mode64 === 'default64' || (row.mode64 === 'force64' && naturalSize(row, mode) === 64);

const MAX_LENGTH = 15;

/**
 * The shortest encoding of an instruction that is at least `minimum` bytes long; of equals the first in the order of the opcode rows.
 * Throws `AssemblerError` (`unknown-mnemonic`, `no-such-form`, `ambiguous-size`); `describe` gives the instruction's text for the message.
 */
export function selectEncoding(
  name: string,
  operands: readonly Operand[],
  context: EncodeContext,
  minimum: number,
  describe: () => string,
): Encoding {
  const named = findName(name);
  if (named === undefined)
    throw new AssemblerError(
      'unknown-mnemonic',
      `${name}: no such instruction; names are the manual's, in lower case, with a size letter for string instructions`,
    );
  const found = candidates(named, operands, context).filter((encoding) => encoding.bytes.length <= MAX_LENGTH);
  if (found.length === 0) {
    throw new AssemblerError(
      'no-such-form',
      `${describe()}: ${name} does not take these operands in ${context.mode}-bit code; check register sizes, ranges, and whether the mode has it`,
    );
  }
  if (isAmbiguous(found, context))
    throw new AssemblerError('ambiguous-size', `${describe()}: the size of the memory operand is open; say byte ptr, word ptr, dword ptr …`);
  let best: Encoding | undefined;
  for (const encoding of found)
    if (encoding.bytes.length >= minimum && (best === undefined || encoding.bytes.length < best.bytes.length)) best = encoding;
  return best ?? (found[found.length - 1] as Encoding);
}
