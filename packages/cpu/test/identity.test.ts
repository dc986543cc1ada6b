import { describe, expect, it } from 'vitest';
import { Engine } from '../src/engine.js';
import { Interpreter } from '../src/executor.js';
import { Outcome } from '../src/outcome.js';
import { At, Board } from './support/board.js';

const CF = 1;
const ZF = 0x40;
const ARITHMETIC = 0x8d5;

/** Runs 64-bit code that ends in HLT on a CPU model; `vector` is where the IDT was entered, -1 for nowhere. */
function run(model: string, ...code: number[]): { board: Board; vector: number } {
  const board = new Board(model).long(0);
  const { cpu } = board;
  // SSE, AVX and their state enabled, as far as the model has them.
  cpu.set64('cr4', cpu.features.xsave ? 0x406a0n : 0x6a0n);
  for (let i = 0; i < 32; i++) board.longGate(i);
  board.memory.write(At.HANDLER, new Uint8Array(512).fill(0xf4));
  board.memory.write(At.CODE, Uint8Array.from([...code, 0xf4]));
  cpu.setGpr(0, 0x1122334455667788n);
  cpu.setGpr(1, 0n);
  const executor = new Interpreter(cpu, new Engine(board.arena, board.memory, { recordBytes: 1 << 16 }));
  executor.run(1000);
  const handler = Number(cpu.rip) - 1 - At.HANDLER;
  return { board, vector: handler >= 0 && handler < 512 ? handler / 16 : -1 };
}

describe('instructions that a model does not have', () => {
  it.each([
    ['POPCNT', 'Conroe', [0xf3, 0x48, 0x0f, 0xb8, 0xc1]],
    ['PCMPESTRI', 'Penryn', [0x66, 0x0f, 0x3a, 0x61, 0xc1, 0]],
    ['AESENC', 'Nehalem', [0x66, 0x0f, 0x38, 0xdc, 0xc1]],
    ['RDRAND', 'SandyBridge', [0x48, 0x0f, 0xc7, 0xf0]],
    ['RDSEED', 'Haswell', [0x48, 0x0f, 0xc7, 0xf8]],
    ['ADCX', 'Haswell', [0x66, 0x48, 0x0f, 0x38, 0xf6, 0xc1]],
    ['ANDN', 'IvyBridge', [0xc4, 0xe2, 0xf0, 0xf2, 0xc1]],
    ['MOVBE', 'SandyBridge', [0x0f, 0x38, 0xf0, 0x01]],
    ['RDFSBASE', 'SandyBridge', [0xf3, 0x48, 0x0f, 0xae, 0xc0]],
    ['EXTRQ', 'max,-sse4a', [0x66, 0x0f, 0x78, 0xc0, 4, 4]],
    ['SHA1MSG1', 'Skylake-Server', [0x0f, 0x38, 0xc9, 0xc1]],
    ['RDTSCP', 'Conroe', [0x0f, 0x01, 0xf9]],
    ['XGETBV', 'Nehalem', [0x0f, 0x01, 0xd0]],
    ['RDPKRU', 'Haswell', [0x0f, 0x01, 0xee]],
    ['INVPCID', 'SandyBridge', [0x66, 0x0f, 0x38, 0x82, 0x01]],
    ['MONITOR', 'EPYC,-monitor', [0x0f, 0x01, 0xc8]],
    ['SERIALIZE', 'Icelake-Server', [0x0f, 0x01, 0xe8]],
    ['CLZERO', 'EPYC-v1', [0x0f, 0x01, 0xfc]],
    ['an EVEX form', 'SapphireRapids', [0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc1]],
  ])('%s is #UD on %s', (_name, model, code) => {
    expect(run(model, ...code).vector).toBe(6);
  });

  it('TZCNT and LZCNT are BSF and BSR there', () => {
    for (const [code, newer, older] of [
      // Of 0: 64 with CF, or the destination as it was with ZF.
      [
        [0xf3, 0x48, 0x0f, 0xbc, 0xc1],
        [64n, CF],
        [0x1122334455667788n, ZF],
      ],
      [
        [0xf3, 0x48, 0x0f, 0xbd, 0xc1],
        [64n, CF],
        [0x1122334455667788n, ZF],
      ],
      // mov cl, 0x10: leading zeros, or the place of the bit.
      [
        [0xb1, 0x10, 0xf3, 0x48, 0x0f, 0xbd, 0xc1],
        [59n, 0],
        [4n, 0],
      ],
    ] as const) {
      for (const [model, expected] of [
        ['Haswell', newer],
        ['Nehalem', older],
      ] as const) {
        const { cpu } = run(model, ...code).board;
        expect([cpu.gpr(0), cpu.readRflags() & (CF | ZF)], `${model} ${code.join()}`).toEqual([...expected]);
      }
    }
  });
});

describe('what AMD models add', () => {
  it('CLZERO clears the line around rAX', () => {
    const board = new Board('EPYC-Milan').long(0);
    const { cpu } = board;
    board.memory.write(At.DATA, new Uint8Array(256).fill(0x5a));
    cpu.setGpr(0, BigInt(At.DATA + 0x7f));
    expect(board.execute(0x0f, 0x01, 0xfc)).toBe(Outcome.NEXT);
    const line = board.quads(At.DATA, 32);
    expect(line).toEqual(line.map((_, i) => (i >= 8 && i < 16 ? 0n : 0x5a5a5a5a5a5a5a5an)));
    board.unmap(At.DATA);
    expect(board.faults(0x0f, 0x01, 0xfc)).toBe('14:2');
  });

  it('EFER.FFXSR keeps FXSAVE and FXRSTOR away from XMM, at level 0 in 64-bit mode', () => {
    for (const [cpl, expected] of [
      [0, 0n],
      [3, 0x1234n],
    ] as const) {
      const board = new Board('EPYC').long(cpl);
      const { cpu } = board;
      cpu.set64('efer', cpu.get64('efer') | 0x4000n);
      cpu.setGpr(0, BigInt(At.DATA));
      cpu.set64('vec', 0x1234n, 0);
      expect(board.execute(0x0f, 0xae, 0x00)).toBe(Outcome.NEXT);
      expect(board.quads(At.DATA + 160, 1)).toEqual([expected]);
      board.view.setBigUint64(At.DATA + 160, 0x77n, true);
      expect(board.execute(0x0f, 0xae, 0x08)).toBe(Outcome.NEXT);
      expect(cpu.get64('vec', 0)).toBe(cpl === 0 ? 0x1234n : 0x77n);
    }
  });
});

it('WBNOINVD is WBINVD on a model without it', () => {
  for (const model of ['Icelake-Server', 'Haswell']) expect(run(model, 0xf3, 0x0f, 0x09).vector).toBe(-1);
});

describe('random numbers', () => {
  it.each([
    ['RDRAND', 0xf0],
    ['RDSEED', 0xf8],
  ])('%s fills 16, 32 and 64 bits, sets CF and clears the other flags', (_name, modrm) => {
    const board = new Board().long(3);
    const { cpu } = board;
    const seen = new Set<bigint>();
    for (let i = 0; i < 100; i++) {
      cpu.writeRflags(0x2 | ARITHMETIC);
      cpu.setGpr(0, 0x1122334455667788n);
      expect(board.execute(0x0f, 0xc7, modrm)).toBe(Outcome.NEXT);
      expect([cpu.gpr(0) >> 32n, cpu.readRflags() & ARITHMETIC]).toEqual([0n, CF]);
      board.execute(0x66, 0x0f, 0xc7, modrm);
      expect(cpu.gpr(0) >> 32n).toBe(0n);
      board.execute(0x48, 0x0f, 0xc7, modrm);
      seen.add(cpu.gpr(0));
    }
    expect(seen.size).toBe(100);
  });
});

describe('protection keys', () => {
  it('RDPKRU and WRPKRU want CR4.PKE and zeros beside the value', () => {
    const board = new Board().long(3);
    const { cpu } = board;
    const [rdpkru, wrpkru] = [
      [0x0f, 0x01, 0xee],
      [0x0f, 0x01, 0xef],
    ] as const;
    expect(board.faults(...rdpkru)).toBe('6');
    cpu.set64('cr4', cpu.get64('cr4') | (1n << 22n));
    cpu.setGpr(1, 0n);
    cpu.setGpr(2, 0n);
    cpu.setGpr(0, 0x55555554n);
    expect(board.execute(...wrpkru)).toBe(Outcome.NEXT);
    cpu.setGpr(0, -1n);
    cpu.setGpr(2, -1n);
    expect(board.faults(...wrpkru)).toBe('13:0');
    expect(board.execute(...rdpkru)).toBe(Outcome.NEXT);
    expect([cpu.gpr(0), cpu.gpr(2)]).toEqual([0x55555554n, 0n]);
    cpu.setGpr(1, 1n);
    expect(board.faults(...rdpkru)).toBe('13:0');
  });
});
