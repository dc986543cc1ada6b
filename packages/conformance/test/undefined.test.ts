import { readdirSync, readFileSync } from 'node:fs';
import { Decoder, DecoderOptions, RflagsBits } from 'iced-x86';
import { describe, expect, it } from 'vitest';
import { readVectors, undefinedFlags } from '../src/index.js';

const root = new URL('../../../vectors/', import.meta.url);
const [folder] = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());
const BITS: readonly (readonly [number, number])[] = [
  [RflagsBits.CF, 1],
  [RflagsBits.PF, 4],
  [RflagsBits.AF, 0x10],
  [RflagsBits.ZF, 0x40],
  [RflagsBits.SF, 0x80],
  [RflagsBits.OF, 0x800],
];

/** Flags that iced-x86's tables call undefined after an instruction. */
function undefinedByIced(code: Uint8Array, mode: number): number {
  const decoder = new Decoder(mode, code, DecoderOptions.None);
  const instruction = decoder.decode();
  const flags = instruction.rflagsUndefined;
  instruction.free();
  decoder.free();
  return BITS.reduce((sum, [from, to]) => ((flags & from) !== 0 ? sum | to : sum), 0);
}

describe('the table of undefined flags', () => {
  it.each(['general-64', 'general-32', 'bits-64'])('excuses no flag that another table defines: %s', async (name) => {
    const { file, forms } = await readVectors(readFileSync(new URL(`${folder!.name}/${name}.vec.gz`, root)));
    let excused = 0;
    for (const form of forms) {
      const mnemonic = form.name.split(' ', 1)[0]!;
      // Those of shifts depend on the count.
      const mine = undefinedFlags(mnemonic, null);
      if (mine === 0) continue;
      excused++;
      expect(mine & ~undefinedByIced(form.cases[0]!.code, file.mode), form.name).toBe(0);
    }
    expect(excused).toBeGreaterThan(10);
  });
});
