import type { Instruction } from '@nestvm/decoder';

import { Outcome } from '../outcome.js';
import type { Vcpu } from '../vcpu.js';

import { Flag, fromInteger, INDEFINITE, isDenormal, isUnsupported, isZero, toInteger } from '../x87/float80.js';

import {
  type Body,
  control,
  ES_B,
  FCS,
  FCW,
  FDP,
  FDS,
  FIP,
  FOP,
  FSW,
  FTAG,
  FTOP,
  isEmpty,
  push,
  readMemory,
  readSt,
  storeBits,
  waiting,
  writeMemory,
  writeSt,
} from './x87-stack.js';

/** The environment as FNSTENV and FNSAVE write it (SDM Vol. 1, "Protected Mode x87 FPU State Image in Memory"): 14 or 28 bytes. */
function environment(cpu: Vcpu, wide: boolean): bigint {
  const { w } = cpu;
  let tags = 0;
  for (let n = 0; n < 8; n++) {
    const f = readSt(cpu, (n - w[FTOP]!) & 7);
    const tag = ((w[FTAG]! >>> n) & 1) === 0 ? 3 : isZero(f) ? 1 : f.exponent === 0x7fff || isDenormal(f) || isUnsupported(f) ? 2 : 0;
    tags |= tag << (2 * n);
  }
  const status = (w[FSW]! & ~0x3800) | (w[FTOP]! << 11);
  const fields = wide
    ? [
        w[FCW]! | 0xffff0000,
        status | 0xffff0000,
        tags | 0xffff0000,
        w[FIP]!,
        (w[FCS]! & 0xffff) | ((w[FOP]! & 0x7ff) << 16),
        w[FDP]!,
        (w[FDS]! & 0xffff) | 0xffff0000,
      ]
    : [w[FCW]!, status, tags, w[FIP]!, w[FCS]!, w[FDP]!, w[FDS]!];
  const bits = wide ? 32 : 16;
  return fields.reduceRight((sum, field) => (sum << BigInt(bits)) | BigInt.asUintN(bits, BigInt(field)), 0n);
}

function loadEnvironment(cpu: Vcpu, image: bigint, wide: boolean): void {
  const { w } = cpu;
  const field = (n: number): number => Number((image >> BigInt((wide ? 32 : 16) * n)) & (wide ? 0xffffffffn : 0xffffn));
  w[FCW] = (field(0) & 0x1f7f) | 0x40;
  const status = field(1);
  w[FTOP] = (status >>> 11) & 7;
  w[FSW] = (status & 0x477f) | ((status & ~w[FCW]! & 0x3f) !== 0 ? ES_B : 0);
  w[FTAG] = 0;
  for (let n = 0; n < 8; n++) if (((field(2) >>> (2 * n)) & 3) !== 3) w[FTAG] = w[FTAG]! | (1 << n);
  w[FIP] = field(3);
  w[FIP + 1] = 0;
  w[FCS] = field(4) & 0xffff;
  w[FOP] = wide ? (field(4) >>> 16) & 0x7ff : 0;
  w[FDP] = field(5);
  w[FDP + 1] = 0;
  w[FDS] = field(6) & 0xffff;
}

const isWide = (insn: Readonly<Instruction>): boolean => insn.operandSize !== 16;
const envBytes = (wide: boolean): number => (wide ? 28 : 14);

function initialize(cpu: Vcpu): void {
  const { w } = cpu;
  w[FCW] = 0x37f;
  for (const at of [FSW, FTOP, FTAG, FOP, FCS, FDS, FIP, FIP + 1, FDP, FDP + 1]) w[at] = 0;
}

export const FNSTENV: Body = (cpu, insn) => {
  const wide = isWide(insn);
  const keep = { fdp: cpu.w[FDP]!, high: cpu.w[FDP + 1]!, fds: cpu.w[FDS]! };
  const image = environment(cpu, wide);
  const done = writeMemory(cpu, insn, envBytes(wide), image);
  Object.assign(cpu.w, { [FDP]: keep.fdp, [FDP + 1]: keep.high, [FDS]: keep.fds });
  if (!done) return Outcome.FAULT;
  cpu.w[FCW] = cpu.w[FCW]! | 0x3f;
  cpu.w[FSW] = cpu.w[FSW]! & ~ES_B;
  return Outcome.NEXT;
};

export const FLDENV: Body = waiting((cpu, insn) => {
  const wide = isWide(insn);
  const image = readMemory(cpu, insn, envBytes(wide));
  if (image === null) return Outcome.FAULT;
  loadEnvironment(cpu, image, wide);
  return Outcome.NEXT;
}, true);

export const FNSAVE: Body = (cpu, insn) => {
  const wide = isWide(insn);
  let image = environment(cpu, wide);
  for (let i = 0; i < 8; i++) {
    const f = readSt(cpu, i);
    image |= ((BigInt((f.sign << 15) | f.exponent) << 64n) | f.significand) << BigInt(8 * (envBytes(wide) + 10 * i));
  }
  if (!writeMemory(cpu, insn, envBytes(wide) + 80, image)) return Outcome.FAULT;
  initialize(cpu);
  return Outcome.NEXT;
};

export const FRSTOR: Body = waiting((cpu, insn) => {
  const wide = isWide(insn);
  const image = readMemory(cpu, insn, envBytes(wide) + 80);
  if (image === null) return Outcome.FAULT;
  loadEnvironment(cpu, image, wide);
  const tags = cpu.w[FTAG]!;
  for (let i = 0; i < 8; i++) {
    const bits = image >> BigInt(8 * (envBytes(wide) + 10 * i));
    writeSt(cpu, i, { sign: Number((bits >> 79n) & 1n) as 0 | 1, exponent: Number((bits >> 64n) & 0x7fffn), significand: BigInt.asUintN(64, bits) });
  }
  cpu.w[FTAG] = tags;
  return Outcome.NEXT;
}, true);

/** Packed decimal: 18 digits and a sign. */
export const FBLD: Body = waiting((cpu, insn) => {
  const bits = readMemory(cpu, insn, 10);
  if (bits === null) return Outcome.FAULT;
  let value = 0n;
  for (let i = 17; i >= 0; i--) value = value * 10n + ((bits >> BigInt(4 * i)) & 15n);
  const f = fromInteger(value);
  return push(cpu, { value: { ...f, sign: Number((bits >> 79n) & 1n) as 0 | 1 }, flags: 0 });
});

export const FBSTP: Body = waiting((cpu, insn) => {
  const empty = isEmpty(cpu, 0);
  const f = empty ? INDEFINITE : readSt(cpu, 0);
  const whole = toInteger(f, 64, control(cpu));
  const magnitude = whole.value < 0n ? -whole.value : whole.value;
  const bad = (whole.flags & Flag.IE) !== 0 || magnitude >= 10n ** 18n;
  let bits = BigInt(f.sign) << 79n;
  let rest = magnitude;
  for (let i = 0; i < 18; i++) {
    bits |= (rest % 10n) << BigInt(4 * i);
    rest /= 10n;
  }
  return storeBits(cpu, insn, 10, bad ? { bits: 0xffffc000000000000000n, flags: Flag.IE } : { bits, flags: whole.flags }, empty, true);
});
