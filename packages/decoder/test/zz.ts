import { Decoder, DecoderOptions, FormatterSyntax, Instruction as IcedInstruction } from 'iced-x86';
import { Instruction, decodeInto } from '../src/index.js';
import { formatAtt } from '../src/format/index.js';
import { sweepBytes } from './byte-strings.js';
import { canonical, createIcedFormatter } from './text-rules.js';
const bits = Number(process.argv[2]) as 64; const space = process.argv[3] as 'legacy'; const every = Number(process.argv[4]);
const f = createIcedFormatter(FormatterSyntax.Gas); const iced = new IcedInstruction(); const ours = new Instruction();
const groups = new Map<string, { n: number; example: string }>(); let total = 0;
const norm = (t: string, i: Instruction): string => canonical(t, i).replace(/%es:\((%[er]?di)\)/, '($1)').replace(/^rep(n?e?) /, '').replace(/,\)/,')');
for (const buffer of sweepBytes(bits, space, every)) {
  const decoder = new Decoder(bits, buffer, DecoderOptions.None);
  for (let offset = 0; offset < buffer.length; offset += 32) {
    const length = decodeInto(ours, buffer, offset, 32, bits); if (length < 0) continue;
    decoder.position = offset; decoder.ip = 0x1000n; decoder.decodeOut(iced); if (iced.isInvalid) continue;
    const a = norm(formatAtt(ours, { rip: 0x1000n }), ours), b = norm(f.format(iced), ours); total++;
    if (a !== b) { const g = groups.get(ours.row.mnemonic) ?? { n: 0, example: `${[...buffer.subarray(offset, offset + length)].map((x) => x.toString(16).padStart(2, '0')).join('')}: ours ${a} | iced ${b}` }; g.n++; groups.set(ours.row.mnemonic, g); }
  }
  decoder.free();
}
const list = [...groups].sort((x, y) => y[1].n - x[1].n);
console.log(bits, total, 'differ', list.reduce((s, x) => s + x[1].n, 0), list.length);
for (const [m, g] of list.slice(0, 90)) console.log(g.n, m, g.example);
