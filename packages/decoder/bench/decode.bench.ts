// Decode rate against iced-x86 on the same bytes, in turns in one process: pnpm --filter @nestvm/decoder bench
import { Decoder, DecoderOptions, Instruction as IcedInstruction } from 'iced-x86';
import { decodeInto, Instruction } from '../src/index.js';
import { randomBytes } from '../test/byte-strings.js';

/** Kernel-like code: the commonest encodings of a Linux boot in about their shares. */
const COMMON = [
  '890424',
  '8b542404',
  '31d2',
  '8d4c2408',
  '01c1',
  '39f0',
  '83c410',
  '750a',
  '7410',
  'e8d4c7ffff',
  '0fb602',
  '85c0',
  'e9920b0000',
  '0f845f020000',
  'c3',
  '48c1cb07',
  '83f806',
  'c1e810',
  '03442408',
  '41c1c010',
  '84d2',
  '0f1f00',
  '488b4708',
  '4889c7',
  '5b',
  '55',
  '4154',
  '488d742410',
  '48833d1000000000',
  '0f1f440000',
  'f3a4',
  '660f6f07',
  'f30f7f06',
  '4c89e7',
  '65488b042528000000',
].map((text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16)));

function commonCode(bytes: number): Uint8Array {
  const code = new Uint8Array(bytes);
  let at = 0;
  for (let seed = 12345; at < bytes - 16; seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) {
    const one = COMMON[(seed >>> 16) % COMMON.length] as Uint8Array;
    code.set(one, at);
    at += one.length;
  }
  return code.fill(0x90, at);
}

function ourRate(code: Uint8Array): { count: number; ms: number } {
  const insn = new Instruction();
  const start = performance.now();
  let count = 0;
  for (let at = 0; at < code.length; count++) {
    const length = decodeInto(insn, code, at, code.length - at, 64);
    at += length < 0 ? 1 : length;
  }
  return { count, ms: performance.now() - start };
}

function icedRate(code: Uint8Array): { count: number; ms: number } {
  const decoder = new Decoder(64, code, DecoderOptions.None);
  const insn = new IcedInstruction();
  const start = performance.now();
  let count = 0;
  for (; decoder.canDecode; count++) {
    decoder.decodeOut(insn);
    if (insn.isInvalid) decoder.position = decoder.position - insn.length + 1;
  }
  const ms = performance.now() - start;
  decoder.free();
  insn.free();
  return { count, ms };
}

function run(name: string, code: Uint8Array): void {
  const best = { ours: 0, iced: 0 };
  for (let round = 0; round < 7; round++) {
    const a = ourRate(code);
    const b = icedRate(code);
    best.ours = Math.max(best.ours, a.count / a.ms / 1000);
    best.iced = Math.max(best.iced, b.count / b.ms / 1000);
  }
  console.log(`${name}: nestvm ${best.ours.toFixed(1)} M/s, iced-x86 ${best.iced.toFixed(1)} M/s, ratio ${(best.ours / best.iced).toFixed(2)}`);
}

run('common code', commonCode(1 << 20));
run('random bytes', new Uint8Array([...randomBytes(32768, 5)][0] as Uint8Array));
