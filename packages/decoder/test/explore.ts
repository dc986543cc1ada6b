// Prints how we differ from iced on the sweep: pnpm exec tsx --conditions=@nestvm/source test/explore.ts [bits] [max]
import { Decoder, DecoderOptions, Instruction as IcedInstruction } from 'iced-x86';
import { Instruction, decodeInto } from '../src/index.js';
import { compareResults } from './witness.js';
import type { Bits } from './witness.js';
import { sweepBytes } from './sweep.js';

const iced = new IcedInstruction();
const ours = new Instruction();
const bits = Number(process.argv[2] ?? 64) as Bits;
const max = Number(process.argv[3] ?? 60);
const space = process.argv[4] ?? 'legacy';
const groups = new Map<string, { n: number; example: string }>();
let total = 0;
const t0 = Date.now();
for (const buffer of sweepBytes(bits, space)) {
  const decoder = new Decoder(bits, buffer, DecoderOptions.None);
  for (let offset = 0; offset + 32 <= buffer.length; offset += 32) {
    decoder.position = offset; decoder.ip = 0x1000n;
    decoder.decodeOut(iced);
    total++;
    const length = decodeInto(ours, buffer, offset, 32, bits);
    const d = compareResults(ours, length, iced, bits);
    if (d !== null) {
      const g = groups.get(d) ?? { n: 0, example: [...buffer.subarray(offset, offset + 16)].map((x) => x.toString(16).padStart(2, '0')).join('') };
      g.n++; groups.set(d, g);
    }
  }
  decoder.free();
}
const list = [...groups].sort((a, b) => b[1].n - a[1].n);
console.log(`${bits}: ${total} in ${Date.now() - t0} ms, ${list.reduce((s, x) => s + x[1].n, 0)} differ in ${list.length} groups`);
for (const [k, g] of list.slice(0, max)) console.log(g.n, g.example, k);
