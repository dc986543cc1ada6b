import { decodeInto, Instruction } from '@nestvm/decoder';
import { formatIntel } from '@nestvm/decoder/format';
import { Mode } from '@nestvm/isa';
import type { Machine } from '@nestvm/machine';
import { UsageError } from '../errors.js';

type Letter = 'x' | 'd' | 'u' | 'o' | 'c' | 'i';
const SIZES = { b: 1, h: 2, w: 4, g: 8 } as const;
const MOST = 4096;
const LONGEST_INSTRUCTION = 15;

/** What `x /FMT` says: how many, as what, of how many bytes. */
export interface ExamineFormat {
  readonly count: number;
  readonly letter: Letter;
  readonly bytes: 1 | 2 | 4 | 8;
}

/** Parses `/COUNT FORMAT SIZE` (`10xw`, `5i`, `s`izes b h w g); what is left out stays as in `before`. Throws `UsageError`. */
export function parseFormat(text: string, before: ExamineFormat): ExamineFormat {
  const match = /^(\d*)([xduoci]?)([bhwg]?)$/.exec(text);
  const count = match?.[1] ? Number(match[1]) : 1;
  if (!match || count < 1 || count > MOST)
    throw new UsageError(`/${text}: write /COUNT FORMAT SIZE: up to ${MOST}, one of x d u o c i, one of b h w g; for example /10xw or /5i`);
  return { count, letter: (match[2] || before.letter) as Letter, bytes: match[3] ? SIZES[match[3] as keyof typeof SIZES] : before.bytes };
}

/** One value as text of a fixed width. */
export function formatValue(value: bigint, letter: Letter, bytes: number): string {
  const bits = bytes * 8;
  switch (letter) {
    case 'd':
      return String(BigInt.asIntN(bits, value));
    case 'u':
      return String(value);
    case 'o':
      return `0${value.toString(8)}`;
    case 'c': {
      const code = Number(value & 0xffn);
      return code >= 32 && code < 127 ? `'${String.fromCharCode(code)}'` : `'\\x${code.toString(16).padStart(2, '0')}'`;
    }
    default:
      return `0x${value.toString(16).padStart(bytes * 2, '0')}`;
  }
}

/** Where bytes come from: how many of them could be read at an address. */
type ReadBytes = (address: bigint, into: Uint8Array) => number;

function readerOf(machine: Machine, cpu: number, physical: boolean): ReadBytes {
  const { inspector } = machine;
  return physical ? (address, into) => inspector.readPhysical(Number(address), into) : (address, into) => inspector.readLinear(cpu, address, into);
}

const hex = (address: bigint): string => address.toString(16).padStart(16, '0');

function valueLines(read: ReadBytes, address: bigint, { count, letter, bytes }: ExamineFormat): string[] {
  const buffer = new Uint8Array(count * bytes);
  const done = read(address, buffer);
  const view = new DataView(buffer.buffer);
  const perLine = letter === 'c' ? 8 : Math.max(1, 16 / bytes);
  const lines: string[] = [];
  for (let i = 0; i < count && (i + 1) * bytes <= done; i++) {
    let value = 0n;
    for (let byte = bytes - 1; byte >= 0; byte--) value = (value << 8n) | BigInt(view.getUint8(i * bytes + byte));
    const text = formatValue(value, letter, bytes);
    if (i % perLine === 0) lines.push(`${hex(address + BigInt(i * bytes))}: ${text}`);
    else lines[lines.length - 1] += ` ${text}`;
  }
  if (done < buffer.length) lines.push(`${hex(address + BigInt(done))}: cannot access memory`);
  return lines;
}

function instructionLines(read: ReadBytes, start: bigint, count: number, bits: 16 | 32 | 64): string[] {
  const insn = new Instruction();
  const lines: string[] = [];
  let address = start;
  for (let i = 0; i < count; i++) {
    const bytes = new Uint8Array(LONGEST_INSTRUCTION);
    const available = read(address, bytes);
    const length = available === 0 ? 0 : decodeInto(insn, bytes, 0, available, bits);
    const where = `0x${hex(address)}: `;
    if (length <= 0) return [...lines, `${where}${available === 0 ? 'cannot access memory' : '(no instruction)'}`];
    const shown = [...bytes.subarray(0, length)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    lines.push(`${where}${shown.padEnd(30)} ${formatIntel(insn, { rip: address })}`);
    address += BigInt(length);
  }
  return lines;
}

/** Bits of the code segment that a vCPU runs in. */
const codeBits = (mode: number): 16 | 32 | 64 => ((mode & Mode.LONG) !== 0 ? 64 : (mode & Mode.CODE32) !== 0 ? 32 : 16);

/** `x` (linear addresses of a vCPU) and `xp` (physical): memory as text. Devices are not asked: what is no RAM or ROM cannot be accessed. */
export function examine(machine: Machine, cpu: number, address: bigint, format: ExamineFormat, physical: boolean): string[] {
  const read = readerOf(machine, cpu, physical);
  if (format.letter !== 'i') return valueLines(read, address, format);
  return instructionLines(read, address, format.count, codeBits(machine.cpus[cpu]!.get32('mode')));
}
