import { explainDecoded } from '@nestvm/cpu';
import { DecodeStatus, decodeInto, Instruction } from '@nestvm/decoder';
import { formatAtt, formatIntel } from '@nestvm/decoder/format';
import { UsageError } from './errors.js';

const USAGE = "write 'nestvm explain [-16|-32|-64] BYTES'; for example nestvm explain 48 01 d8";

/** Bytes of `48 01 d8`, `4801d8`, `0x48,0x01` …; throws `UsageError`. */
function parseBytes(words: readonly string[]): Uint8Array {
  const text = words.join(' ').replaceAll(/0x|\\x|[\s,]/gi, '');
  if (text === '' || text.length % 2 !== 0 || !/^[0-9a-f]+$/i.test(text))
    throw new UsageError(`explain: '${words.join(' ')}' are no bytes; ${USAGE}`);
  return Uint8Array.from(Buffer.from(text, 'hex'));
}

/** The pseudo-code is that of a whole group of encodings: fixed registers stand where this one has its own. */
const STAND_INS =
  '# CX stands for the register of ModRM.reg or the opcode, BX for that of ModRM.rm, DX for that of VEX.vvvv, SI for the base, DI for the index';

/** Pseudo-code, or where the meaning is instead. */
function meaning(insn: Instruction): string[] {
  try {
    return explainDecoded(insn);
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'no-meaning') throw error;
    return ['(carried out in TypeScript: packages/cpu/src/system)'];
  }
}

/** `nestvm explain BYTES`: every instruction in both syntaxes, and what it does as Nestvm executes it. Throws `UsageError`. */
export function explainBytes(args: readonly string[]): string {
  const mode = /^-(16|32|64)$/.exec(args[0] ?? '');
  const bits = mode ? (Number(mode[1]) as 16 | 32 | 64) : 64;
  const bytes = parseBytes(mode ? args.slice(1) : args);
  const insn = new Instruction();
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += insn.length) {
    const length = decodeInto(insn, bytes, at, bytes.length - at, bits);
    const rest = [...bytes.subarray(at)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    if (length === DecodeStatus.NEED_MORE) throw new UsageError(`explain: ${rest}: the instruction needs more bytes`);
    if (length < 0)
      throw new UsageError(
        `explain: ${rest}: no instruction of ${bits}-bit code (${length === DecodeStatus.TOO_LONG ? '#GP: longer than 15 bytes' : '#UD'})`,
      );
    lines.push(
      `${rest.slice(0, length * 3 - 1).padEnd(24)} ${formatIntel(insn, { rip: BigInt(at) }).padEnd(32)} ${formatAtt(insn, { rip: BigInt(at) })}`,
    );
    lines.push(...meaning(insn).map((line) => `    ${line}`));
  }
  return `${[...lines, STAND_INS].join('\n')}\n`;
}
