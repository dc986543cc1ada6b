import { Decoder, DecoderOptions, Instruction as IcedInstruction } from 'iced-x86';
import { formatIntel } from '../src/format/index.js';
import { decodeInto, Instruction } from '../src/index.js';
import { STRIDE } from './byte-strings.js';
import { canonical, createIcedFormatter } from './text-rules.js';
import type { Bits } from './witness.js';
import { compareResults } from './witness.js';

/** What a comparison found. */
export interface WitnessReport {
  readonly strings: number;
  /** Strings that both take for an instruction. */
  readonly valid: number;
  /** Texts compared. */
  readonly texts: number;
  /** Unexplained differences with an example each, by kind. */
  readonly differences: ReadonlyMap<string, { count: number; readonly example: string }>;
  /** Ids of the rows that were met. */
  readonly rows: ReadonlySet<number>;
}

/** How to compare: the text of every `textEvery`-th valid instruction (0: none). */
export interface WitnessOptions {
  readonly textEvery: number;
}

const IP = 0x1000n;
const hexOf = (bytes: Uint8Array): string => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');

/** Decodes all strings with both decoders and compares validity, length, mnemonic, operands and (sampled) text. */
export function runWitness(buffers: Iterable<Uint8Array>, bits: Bits, options: WitnessOptions): WitnessReport {
  const iced = new IcedInstruction();
  const ours = new Instruction();
  const formatter = createIcedFormatter();
  const differences = new Map<string, { count: number; example: string }>();
  const rows = new Set<number>();
  let strings = 0;
  let valid = 0;
  let texts = 0;
  const note = (kind: string, buffer: Uint8Array, offset: number): void => {
    const entry = differences.get(kind);
    if (entry === undefined) differences.set(kind, { count: 1, example: hexOf(buffer.subarray(offset, offset + 16)) });
    else entry.count++;
  };
  for (const buffer of buffers) {
    const decoder = new Decoder(bits, buffer, DecoderOptions.MPX);
    for (let offset = 0; offset < buffer.length; offset += STRIDE) {
      decoder.position = offset;
      decoder.ip = IP;
      decoder.decodeOut(iced);
      const length = decodeInto(ours, buffer, offset, STRIDE, bits);
      strings++;
      const difference = compareResults(ours, length, iced, bits);
      if (difference !== null) note(difference, buffer, offset);
      if (length < 0 || difference !== null || iced.isInvalid) continue;
      rows.add(ours.row.id);
      valid++;
      if (options.textEvery === 0 || valid % options.textEvery !== 0) continue;
      texts++;
      if (canonical(formatIntel(ours, { rip: IP }), ours) !== canonical(formatter.format(iced), ours))
        note(`text of ${ours.row.mnemonic}`, buffer, offset);
    }
    decoder.free();
  }
  formatter.free();
  iced.free();
  return { strings, valid, texts, differences, rows };
}

/** One line of a report. */
export function formatReport(name: string, report: WitnessReport): string {
  const unexplained = [...report.differences.values()].reduce((sum, entry) => sum + entry.count, 0);
  return `${name}: ${report.strings} strings, ${report.valid} instructions, ${report.texts} texts, ${unexplained} unexplained`;
}
