import { asm16 } from '@nestvm/assembler';
import { expect, it } from 'vitest';
import { createMachine, type MachineOptions } from '../src/index.js';

const ROM_BYTES = 0x20000;

/** A bzImage whose real-mode part writes the first letter of its command line to port 0xe9, then ends the run. */
function bzImage(): Uint8Array {
  const bytes = new Uint8Array(5 * 512 + 64).fill(0x5a, 5 * 512);
  const view = new DataView(bytes.buffer);
  bytes[0x1f1] = 4;
  view.setUint16(0x1fe, 0xaa55, true);
  view.setUint32(0x1f4, 4, true);
  view.setUint32(0x202, 0x53726448, true);
  view.setUint16(0x206, 0x020c, true);
  bytes[0x211] = 1;
  view.setUint32(0x22c, 0x37ffffff, true);
  view.setUint32(0x238, 2047, true);
  view.setUint32(0x258, 0x100000, true);
  view.setUint32(0x260, 0x1000, true);
  bytes.set(asm16((a) => a.text('jmp 0x68')).bytes, 0x200);
  const code = asm16((a) =>
    a.text('mov esi, dword ptr [0x228]\n shr esi, 4\n mov es, si\n mov al, byte ptr es:[0]\n out 0xe9, al\n mov al, 3\n out 0xf4, al\n hlt'),
  );
  bytes.set(code.bytes, 0x268);
  return bytes;
}

/** A BIOS that brings a file of the firmware configuration device, an option ROM, to 0x80000 and enters its bootstrap entry vector. */
function bios(key: number): Uint8Array {
  const bytes = new Uint8Array(ROM_BYTES);
  const code = asm16((a) =>
    a.text(`
      mov ax, 0x8000
      mov es, ax
      mov ss, ax
      mov sp, 0xf000
      xor di, di
      mov cx, 0x400
      mov dx, 0x510
      mov ax, ${key}
      out dx, ax
      inc dx
      rep insb
      push es
      push word ptr es:[0x36]
      retf`),
  );
  bytes.set(code.bytes, 0x10000);
  bytes.set([0xea, 0, 0, 0, 0xf0], 0x1fff0);
  return bytes;
}

it('has a BIOS start a kernel by an option ROM', async () => {
  const said: number[] = [];
  const options = (key: number): MachineOptions => ({
    board: 'pc',
    cpu: 'max',
    memoryBytes: 8 << 20,
    firmware: { name: 'bios', bytes: bios(key) },
    kernel: { name: 'kernel', bytes: bzImage() },
    modules: [{ name: 'initrd', bytes: Uint8Array.of(1, 2, 3) }],
    commandLine: 'Quiet',
    debugConsole: { port: 0xe9, sink: { write: (byte) => void said.push(byte) } },
    debugExit: { iobase: 0xf4, iosize: 4 },
  });
  const { ports } = createMachine(options(0));
  const bytesOf = (key: number, count: number): number[] => {
    ports.write(0x510, 2, key);
    return Array.from({ length: count }, () => ports.read(0x511, 1));
  };
  const [, , , count = 0] = bytesOf(0x19, 4);
  const directory = bytesOf(0x19, 4 + 64 * count).slice(4);
  const entries = Array.from({ length: count }, (_, i) => directory.slice(64 * i, 64 * i + 64));
  const rom = entries.find((entry) => String.fromCharCode(...entry.slice(8)).startsWith('genroms/'))!;
  const key = (rom[4]! << 8) | rom[5]!;
  const bytes = bytesOf(key, 512);
  expect([bytes.slice(0, 3), bytes.reduce((sum, byte) => sum + byte, 0) & 0xff]).toEqual([[0x55, 0xaa, 1], 0]);
  const machine = createMachine(options(key));
  expect(await machine.run()).toEqual({ kind: 'exit', status: 7 });
  expect(String.fromCharCode(...said)).toBe('Q');
  expect(machine.memory.read8(0x100003)).toBe(0x5a);
  expect(machine.memory.read32(machine.memory.read32(0x10218)) & 0xffffff).toBe(0x030201);
});

it('starts no other kernel by firmware', () => {
  const kernel = { name: 'k', bytes: new Uint8Array(4096) };
  expect(() => createMachine({ board: 'pc', cpu: 'max', memoryBytes: 8 << 20, firmware: { name: 'bios', bytes: bios(0) }, kernel })).toThrow(
    /bzImage/,
  );
});
