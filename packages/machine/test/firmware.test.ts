import { describe, expect, it } from 'vitest';
import { createMachine, type Machine } from '../src/index.js';

const ROM = new Uint8Array(0x20000).fill(0xf4);
ROM[0x1fff0] = 0xea;

const make = (board: 'pc' | 'q35'): Machine =>
  createMachine({ board, cpu: 'max', memoryBytes: 4 << 20, firmware: { name: 'rom', bytes: ROM }, vga: { memoryBytes: 1 << 20 } });

const PAM = { pc: 0x59, q35: 0x90 } as const;
const SMRAM = { pc: 0x72, q35: 0x9d } as const;

describe.each(['pc', 'q35'] as const)('a bare %s', (board) => {
  it('shadows ROM by RAM as the PAM registers say', () => {
    const { memory, platform } = make(board);
    const bridge = platform.pci!.functions[0]!;
    const pam = (value: number): void => bridge.writeConfig(PAM[board], 1, value);
    expect([memory.read8(0xffff0), memory.read8(0xfffffff0), memory.read8(0xc0000)]).toEqual([0xea, 0xea, 0xff]);
    memory.write8(0xffff0, 1);
    expect(memory.read8(0xffff0)).toBe(0xea);
    pam(0x20);
    memory.write8(0xffff0, 2);
    expect(memory.read8(0xffff0)).toBe(0xea);
    pam(0x10);
    memory.write8(0xffff0, 3);
    expect(memory.read8(0xffff0)).toBe(2);
    pam(0x30);
    memory.write8(0xffff0, 4);
    expect([memory.read8(0xffff0), memory.read8(0xfffffff0)]).toEqual([4, 0xea]);
    pam(0);
    expect(memory.read8(0xffff0)).toBe(0xea);
  });

  it('shows SMRAM when it is open, and never after it was locked', () => {
    const { memory, platform } = make(board);
    const bridge = platform.pci!.functions[0]!;
    const smram = (value: number): void => bridge.writeConfig(SMRAM[board], 1, value);
    smram(0x4a);
    memory.write32(0xa8000, 0x12345678);
    expect(memory.read32(0xa8000)).toBe(0x12345678);
    smram(0x0a);
    expect(memory.read32(0xa8000)).not.toBe(0x12345678);
    smram(0x1a);
    smram(0x4a);
    expect([memory.read32(0xa8000) === 0x12345678, bridge.readConfig(SMRAM[board], 1)]).toEqual([false, 0x1a]);
  });

  it('keeps SMRAM, shadow RAM and video memory in snapshots', () => {
    const names = make(board)
      .migratable.ram()
      .map(({ name }) => name);
    expect(names).toEqual(['ram@0', 'ram@a0000', 'ram@c0000', 'video']);
  });
});
