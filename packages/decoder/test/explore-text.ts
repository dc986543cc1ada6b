import { Decoder, DecoderOptions, Instruction as IcedInstruction } from 'iced-x86';
import { canonical, createIcedFormatter } from './text-rules.js';
import { Instruction, decodeInto } from '../src/index.js';
import { formatIntel } from '../src/format/index.js';
import { sweepBytes } from './sweep.js';
import type { Bits } from './witness.js';

const f = createIcedFormatter();
const bits = Number(process.argv[2] ?? 64) as Bits; const space = process.argv[3] ?? 'legacy'; const stride = Number(process.argv[4] ?? 97); const max = Number(process.argv[5] ?? 60);
const iced = new IcedInstruction(); const ours = new Instruction();
const groups = new Map<string, { n: number; example: string }>(); let total = 0; let k = 0;
for (const buffer of sweepBytes(bits, space)) {
  const decoder = new Decoder(bits, buffer, DecoderOptions.None);
  for (let offset = 0; offset + 32 <= buffer.length; offset += 32) {
    if (k++ % stride !== 0) continue;
    const length = decodeInto(ours, buffer, offset, 32, bits);
    if (length < 0) continue;
    decoder.position = offset; decoder.ip = 0x1000n; decoder.decodeOut(iced);
    const a = canonical(formatIntel(ours, { rip: 0x1000n }), ours); const b = canonical(f.format(iced), ours);
    total++;
    if (a !== b) { const g = groups.get(ours.row.mnemonic) ?? { n: 0, example: `${[...buffer.subarray(offset, offset + length)].map((x) => x.toString(16).padStart(2, '0')).join('')}: ours ${a} | iced ${b}` }; g.n++; groups.set(ours.row.mnemonic, g); }
  }
  decoder.free();
}
const list = [...groups].sort((x, y) => y[1].n - x[1].n);
console.log(bits, total, 'differ', list.reduce((s, x) => s + x[1].n, 0), list.length);
for (const [m, g] of list.slice(0, max)) console.log(g.n, m, g.example);
