import { vcpuState } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { Outcome } from '../src/outcome.js';
import { At, Board } from './support/board.js';

const AREA = At.DATA;
const XSAVE = [0x0f, 0xae, 0x23];
const XRSTOR = [0x0f, 0xae, 0x2b];
const XSAVEOPT = [0x0f, 0xae, 0x33];
const XSAVEC = [0x0f, 0xc7, 0x23];
const XSAVES = [0x0f, 0xc7, 0x2b];
const XRSTORS = [0x0f, 0xc7, 0x1b];
const FXSAVE = [0x48, 0x0f, 0xae, 0x03];
const FXRSTOR = [0x48, 0x0f, 0xae, 0x0b];

function prepared(): Board {
  const board = new Board().long(0);
  const { cpu } = board;
  cpu.set64('cr4', 0x4406a0n);
  cpu.set64('xcr0', 0x207n);
  cpu.setGpr(3, BigInt(AREA));
  cpu.setGpr(0, 0xffffffffn);
  cpu.setGpr(2, 0xffffffffn);
  return board;
}

/** Fills x87, vector and MXCSR state with distinct values. */
function fill(board: Board, seed: number): void {
  const { b, w } = board.cpu;
  for (let i = 0; i < 16; i++) for (let j = 0; j < 32; j++) b[vcpuState.offset.vec + 64 * i + j] = (seed + i * 7 + j * 13) & 0xff;
  for (let i = 0; i < 8; i++) for (let j = 0; j < 10; j++) b[vcpuState.offset.fpr + 16 * i + j] = (seed * 3 + i * 5 + j) & 0xff;
  w[vcpuState.offset.fcw / 4] = 0x27f;
  w[vcpuState.offset.fsw / 4] = 0x4100;
  w[vcpuState.offset.ftop / 4] = 5;
  w[vcpuState.offset.ftag / 4] = 0xa5;
  w[vcpuState.offset.fop / 4] = 0x123;
  board.cpu.set64('fip', 0x7fff12345678n);
  board.cpu.set64('fdp', 0x7fff9abcdef0n);
  board.cpu.set32('mxcsr', 0x3f80);
}

const registers = (board: Board): string => {
  const { b } = board.cpu;
  const part = (field: 'fpr' | 'vec' | 'fcw', length: number): string =>
    Buffer.from(b.subarray(vcpuState.offset[field], vcpuState.offset[field] + length)).toString('hex');
  return [
    part('fpr', 128),
    part('fcw', 20),
    part('vec', 16 * 64),
    board.cpu.get64('fip'),
    board.cpu.get64('fdp'),
    board.cpu.get32('mxcsr'),
    board.cpu.get32('pkru'),
  ].join(' ');
};

describe('saving and restoring state', () => {
  for (const [name, save, restore] of [
    ['XSAVE', XSAVE, XRSTOR],
    ['XSAVEOPT', XSAVEOPT, XRSTOR],
    ['XSAVEC', XSAVEC, XRSTOR],
    ['XSAVES', XSAVES, XRSTORS],
  ] as const) {
    it(`${name} keeps everything, used or not`, () => {
      for (const empty of [false, true]) {
        const board = prepared();
        const saves = (bytes: readonly number[]): number => board.execute(0x48, ...bytes);
        if (!empty) fill(board, 11);
        else {
          board.cpu.b.fill(0, vcpuState.offset.vec, vcpuState.offset.vec + 2048);
          board.cpu.set32('mxcsr', 0x1fa5);
        }
        board.cpu.set32('pkru', empty ? 0 : 0x55555554);
        const before = registers(board);
        expect(saves(save)).toBe(Outcome.NEXT);
        fill(board, 99);
        board.cpu.set32('pkru', 0x12340);
        expect(saves(restore)).toBe(Outcome.NEXT);
        expect(registers(board)).toBe(before);
      }
    });
  }

  it('FXSAVE keeps x87 in stack order and XMM', () => {
    const board = prepared();
    fill(board, 3);
    const before = registers(board);
    expect(board.execute(...FXSAVE)).toBe(Outcome.NEXT);
    expect(board.view.getUint16(AREA + 2, true)).toBe(0x4100 | (5 << 11));
    // ST0 is R5.
    expect(board.view.getUint8(AREA + 32)).toBe((9 + 25) & 0xff);
    board.cpu.b.fill(0xee, vcpuState.offset.fpr, vcpuState.offset.fpr + 128);
    for (let i = 0; i < 16; i++) board.cpu.b.fill(0xee, vcpuState.offset.vec + 64 * i, vcpuState.offset.vec + 64 * i + 16);
    board.cpu.set32('mxcsr', 0x1f80);
    expect(board.execute(...FXRSTOR)).toBe(Outcome.NEXT);
    const strip = (text: string): string => text.replace(/^[0-9a-f]+ /, '');
    expect(strip(registers(board))).toBe(strip(before));
  });

  it('writes only what RFBM asks for', () => {
    const board = prepared();
    fill(board, 1);
    for (let i = 0; i < 832; i++) board.view.setUint8(AREA + i, 0x77);
    board.view.setBigUint64(AREA + 512, 0n, true);
    board.cpu.setGpr(0, 4n);
    board.cpu.setGpr(2, 0n);
    expect(board.execute(...XSAVE)).toBe(Outcome.NEXT);
    expect(board.view.getUint8(AREA), 'x87').toBe(0x77);
    expect(board.view.getUint8(AREA + 160), 'XMM').toBe(0x77);
    expect(board.view.getUint32(AREA + 24, true), 'MXCSR goes with AVX too').toBe(0x3f80);
    expect(board.view.getUint8(AREA + 576)).toBe((1 + 16 * 13) & 0xff);
    expect(board.view.getBigUint64(AREA + 512, true)).toBe(4n);
  });

  it('refuses bad areas', () => {
    const board = prepared();
    expect(board.execute(...XSAVE)).toBe(Outcome.NEXT);
    board.cpu.setGpr(3, BigInt(AREA + 16));
    expect(board.faults(...XSAVE), 'alignment').toBe('13:0');
    expect(board.faults(...XRSTOR), 'alignment').toBe('13:0');
    board.cpu.setGpr(3, BigInt(AREA));
    const bad = (offset: number, value: bigint, instruction: readonly number[] = XRSTOR): string => {
      const old = board.view.getBigUint64(AREA + offset, true);
      board.view.setBigUint64(AREA + offset, value, true);
      const got = board.faults(...instruction);
      board.view.setBigUint64(AREA + offset, old, true);
      return got;
    };
    expect(bad(512, 8n), 'component that XCR0 lacks').toBe('13:0');
    expect(bad(520, 1n), 'XCOMP_BV of a standard area').toBe('13:0');
    expect(bad(528, 1n)).toBe('13:0');
    expect(bad(24, 0xffff0000n), 'MXCSR').toBe('13:0');
    expect(bad(512, 0n, XRSTORS), 'XRSTORS wants the compacted form').toBe('13:0');
    board.view.setBigUint64(AREA + 536, 1n, true);
    expect(board.execute(...XRSTOR), 'bytes 24 and up are not looked at').toBe(Outcome.NEXT);
    board.cpu.set64('cr0', 0x8005003bn);
    expect(board.faults(...XSAVE)).toBe('7');
    board.cpu.set64('cr4', 0x6a0n);
    expect(board.faults(...XSAVE)).toBe('6');
  });

  it('XSETBV wants x87, SSE before AVX, and level 0', () => {
    const board = prepared();
    const set = (value: bigint): string => {
      board.cpu.setGpr(1, 0n);
      board.cpu.setGpr(0, value);
      board.cpu.setGpr(2, 0n);
      return board.execute(0x0f, 0x01, 0xd1) === Outcome.FAULT ? board.fault : 'ok';
    };
    expect([set(7n), set(3n), set(1n), set(0x203n)]).toEqual(['ok', 'ok', 'ok', 'ok']);
    expect([set(0n), set(2n), set(5n), set(0xffn), set(0x400n)]).toEqual(['13:0', '13:0', '13:0', '13:0', '13:0']);
    expect(new Board().long(0).faults(0x0f, 0x01, 0xd1), 'without CR4.OSXSAVE').toBe('6');
  });

  it('LDMXCSR refuses reserved bits', () => {
    const board = prepared();
    board.view.setUint32(AREA, 0x10000, true);
    expect(board.execute(0x0f, 0xae, 0x13)).toBe(Outcome.FAULT);
    board.view.setUint32(AREA, 0xffbf, true);
    expect(board.execute(0x0f, 0xae, 0x13)).toBe(Outcome.NEXT);
    expect(board.execute(0x0f, 0xae, 0x1b)).toBe(Outcome.NEXT);
    expect(board.view.getUint32(AREA, true)).toBe(0xffbf);
  });
});
