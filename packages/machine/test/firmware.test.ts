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

describe('flash', () => {
  const make = (stored: [number, number[]][] = []): Machine =>
    createMachine({
      board: 'q35',
      cpu: 'max',
      memoryBytes: 4 << 20,
      flash: [
        { file: { name: 'code', bytes: ROM }, readOnly: true },
        { file: { name: 'variables', bytes: new Uint8Array(0x2000).fill(0xff) }, onStore: (offset, bytes) => void stored.push([offset, [...bytes]]) },
      ],
    });
  const VARIABLES = 2 ** 32 - ROM.length - 0x2000;

  it('is read as ROM, and programmed by commands', () => {
    const stored: [number, number[]][] = [];
    const { memory, cpus } = make(stored);
    expect([memory.read8(0xffff0), memory.read8(0xfffffff0), memory.read32(VARIABLES), cpus.length]).toEqual([0xea, 0xea, 0xffffffff, 1]);
    memory.write8(VARIABLES + 5, 0x10);
    memory.write8(VARIABLES + 5, 0x42);
    expect(memory.read8(VARIABLES + 5)).toBe(0x80);
    memory.write8(VARIABLES, 0xff);
    expect([memory.read8(VARIABLES + 5), stored]).toEqual([0x42, [[5, [0x42]]]]);
    memory.write8(0xfffffff0, 0x10);
    memory.write8(0xfffffff0, 0);
    memory.write8(0xfffffff0, 0xff);
    expect(memory.read8(0xfffffff0)).toBe(0xea);
  });

  it('is in snapshots, counts as written, and is kept when one is loaded', () => {
    const stored: [number, number[]][] = [];
    const machine = make(stored);
    const { migratable, memory } = machine;
    const names = migratable.ram().map(({ name }) => name);
    const at = names.indexOf('flash1');
    expect(names.slice(-2)).toEqual(['flash0', 'flash1']);
    migratable.dirty.start();
    memory.write8(VARIABLES + 0x1001, 0x40);
    memory.write8(VARIABLES + 0x1001, 7);
    expect([...migratable.dirty.take()[at]!]).toEqual([2]);
    stored.length = 0;
    migratable.ram()[at]!.bytes.fill(3);
    migratable.forgetCaches();
    expect([stored.length, stored[0]?.[1].length, stored[0]?.[1][0]]).toEqual([1, 0x2000, 3]);
  });

  it('is refused beside other firmware, and in sizes that no flash has', () => {
    const base = { board: 'pc', cpu: 'max', memoryBytes: 4 << 20 } as const;
    const file = { name: 'x', bytes: ROM };
    expect(() => createMachine({ ...base, firmware: file, flash: [{ file }] })).toThrow(/one of them/);
    expect(() => createMachine({ ...base, flash: [{ file: { name: 'odd', bytes: new Uint8Array(100) } }] })).toThrow(/whole number/);
    expect(() => createMachine({ ...base, flash: [{ file: { name: 'big', bytes: new Uint8Array(17 << 20) } }] })).toThrow(/no more room/);
  });
});
