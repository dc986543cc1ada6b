import { describe, expect, it } from 'vitest';
import { X87Machine } from './x87-machine.js';

const NAMES = [
  'FADD_0',
  'FADD_i',
  'FADDP_i',
  'FMUL_0',
  'FMULP_i',
  'FSUB_0',
  'FSUB_i',
  'FSUBP_i',
  'FSUBR_0',
  'FSUBRP_i',
  'FDIV_0',
  'FDIVP_i',
  'FDIVR_0',
  'FDIVRP_i',
  'FUCOMI_i',
  'FCOMIP_i',
  'FLD_i',
  'FXCH_i',
  'FSTP_i',
  'FCHS',
];
/** As after FNINIT; and with denormal operands unmasked, which has all go the long way. */
const USUAL = 0x37f;
const LONG_WAY = 0x37d;
const CASES = 3000;
const machine = new X87Machine(NAMES);

/** Numbers from 0 up to a bound, the same each time. */
function createRandom(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}

/** A significand with bit 63 set: any, or one with long runs of equal bits, where carries go far. */
function significand(random: (bound: number) => number): bigint {
  const any = (BigInt(random(2 ** 32)) << 32n) | BigInt(random(2 ** 32));
  const run = (1n << BigInt(random(64))) - 1n;
  const bits = [any, run, ~run, run ^ (1n << BigInt(random(64))), 0n][random(5)]!;
  return BigInt.asUintN(64, bits | (1n << 63n));
}

const put = (n: number, se: number, bits: bigint): void => {
  const bytes = new DataView(new ArrayBuffer(10));
  bytes.setBigUint64(0, bits, true);
  bytes.setUint16(8, se, true);
  machine.register(n).set(new Uint8Array(bytes.buffer));
};

describe.each(NAMES)('%s between registers', (name) => {
  it('comes to the same in the usual and in the long way', () => {
    const random = createRandom(NAMES.indexOf(name) + 1);
    for (let i = 0; i < CASES; i++) {
      const exponent = [random(0x7ffe) + 1, 0x3fff, random(3) + 1, 0x7ffe - random(3)][random(4)]!;
      const other = random(8) === 0 ? random(0x7ffe) + 1 : Math.min(0x7ffe, Math.max(1, exponent + random(135) - 67));
      const [a, b] = [significand(random), random(8) === 0 ? undefined : significand(random)];
      const [signA, signB] = [random(2) << 15, random(2) << 15];
      const status = [0, 0x4700, 0x20][random(3)]!;
      const tags = random(20) === 0 ? 0xfe : 0x03;
      const outcome = (control: number): string => {
        machine.set('fcw', control);
        machine.set('fsw', status);
        machine.set('ftop', 0);
        machine.set('ftag', tags);
        machine.set('flagAux', 0);
        put(0, exponent | signA, a);
        put(1, other | signB, b ?? a);
        put(7, 0, 0n);
        machine.run(name);
        const registers = [0, 1, 7].map((n) => Buffer.from(machine.register(n)).toString('hex'));
        return [machine.get('fsw').toString(16), machine.get('ftop'), machine.get('ftag').toString(16), machine.flags(), ...registers].join(' ');
      };
      const given = `${name} ${a.toString(16)} ${(exponent | signA).toString(16)} ${(b ?? a).toString(16)} ${(other | signB).toString(16)}`;
      expect(outcome(USUAL), given).toBe(outcome(LONG_WAY));
    }
  });
});
