import { decodeInto, Instruction } from '@nestvm/decoder';
import { formatAtt, formatIntel } from '@nestvm/decoder/format';

const code = Uint8Array.of(0x55, 0x48, 0x89, 0xe5, 0x8b, 0x05, 0x10, 0, 0, 0, 0xc3);
const insn = new Instruction();
for (let at = 0; at < code.length; at += insn.length) {
  if (decodeInto(insn, code, at, code.length - at, 64) < 0) break;
  console.log(formatIntel(insn, { rip: BigInt(0x1000 + at) }).padEnd(32), formatAtt(insn));
}
