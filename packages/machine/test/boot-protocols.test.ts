import { asm32, asm64 } from '@nestvm/assembler';
import { describe, expect, it } from 'vitest';
import { type BoardName, boardNames, createMachine } from '../src/index.js';

/** Where each kernel lies; a bzImage is loaded there too. */
const LOAD = 0x100000;
const ROUTINES = `
puts: mov dx, 0x3f8
next: lodsb
 test al, al
 jz done
 out dx, al
 jmp next
done: mov al, 0x7c
 out dx, al
 ret
bytes: mov dx, 0x3f8
 rep outsb
 mov al, 0x7c
 out dx, al
 ret
end: mov al, 0x10
 out 0xf4, al
wrong: mov al, 1
 out 0xf4, al
`;

/** A raw multiboot kernel: header with addresses, then code that prints command line, modules and their command lines. */
function multiboot1(): Uint8Array {
  const flags = 0x10000;
  return asm32(
    (a) => {
      a.dd(0x1badb002, flags, -(0x1badb002 + flags), LOAD, LOAD, 0, 0, LOAD + 32);
      a.text(`start: mov esp, 0x80000
 cmp eax, 0x2badb002
 jne wrong
 mov esi, [ebx+16]
 call puts
 mov edi, [ebx+24]
 mov ebp, [ebx+20]
module: mov esi, [edi]
 mov ecx, [edi+4]
 sub ecx, esi
 call bytes
 mov esi, [edi+8]
 call puts
 add edi, 16
 dec ebp
 jnz module
 jmp end
${ROUTINES}`);
    },
    { origin: LOAD },
  ).bytes;
}

/** Likewise for multiboot 2: the tags are walked. */
function multiboot2(): Uint8Array {
  const length = 16 + 24 + 16 + 8;
  return asm32(
    (a) => {
      a.dd(0xe85250d6, 0, length, -(0xe85250d6 + length) >>> 0);
      a.dd(2, 24, LOAD, LOAD, 0, 0, 3, 12, LOAD + length, 0, 0, 8);
      a.text(`start: mov esp, 0x80000
 cmp eax, 0x36d76289
 jne wrong
 lea edi, [ebx+8]
tag: mov eax, [edi]
 test eax, eax
 jz end
 cmp eax, 1
 jne other
 lea esi, [edi+8]
 call puts
other: cmp dword ptr [edi], 3
 jne skip
 mov esi, [edi+8]
 mov ecx, [edi+12]
 sub ecx, esi
 call bytes
 lea esi, [edi+16]
 call puts
skip: mov eax, [edi+4]
 add eax, 7
 and eax, -8
 add edi, eax
 jmp tag
${ROUTINES}`);
    },
    { origin: LOAD },
  ).bytes;
}

/** A 64-bit ELF file with a PVH note, whose code reads the start info. */
function pvh(): Uint8Array {
  const header = 64 + 2 * 56;
  const noteBytes = 24;
  const text = asm32(
    (a) =>
      a.text(`start: mov esp, 0x80000
 cmp dword ptr [ebx], 0x336ec578
 jne wrong
 mov esi, [ebx+24]
 call puts
 mov edi, [ebx+16]
 mov esi, [edi]
 mov ecx, [edi+8]
 call bytes
 mov esi, [edi+16]
 call puts
 jmp end
${ROUTINES}`),
    { origin: LOAD },
  ).bytes;
  const file = new Uint8Array(header + noteBytes + text.length);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  for (const [at, value] of [
    [16, 2],
    [18, 62],
    [54, 56],
    [56, 2],
  ] as const)
    view.setUint16(at, value, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(LOAD), true);
  view.setBigUint64(32, 64n, true);
  const program = (at: number, type: number, offset: number, bytes: number): void => {
    view.setUint32(at, type, true);
    [offset, LOAD, LOAD, bytes, bytes, 4].forEach((value, i) => view.setBigUint64(at + 8 + 8 * i, BigInt(value), true));
  };
  program(64, 1, header + noteBytes, text.length);
  program(120, 4, header, noteBytes);
  [4, 8, 18].forEach((value, i) => view.setUint32(header + 4 * i, value, true));
  file.set([0x58, 0x65, 0x6e, 0], header + 12);
  view.setBigUint64(header + 16, BigInt(LOAD), true);
  file.set(text, header + noteBytes);
  return file;
}

/** A bzImage whose protected-mode code reads command line and initrd from the boot parameters. */
function linux(has64: boolean): Uint8Array {
  const SETUP = 0x600;
  const code32 = asm32(
    (a) =>
      a.text(`start: mov esp, 0x80000
 mov ebx, esi
 mov esi, [ebx+0x228]
 call puts
 mov esi, [ebx+0x218]
 mov ecx, [ebx+0x21c]
 call bytes
 jmp end
${ROUTINES}`),
    { origin: LOAD },
  ).bytes;
  const code64 = asm64(
    (a) =>
      a.text(`start: mov rsp, 0x80000
 mov rbx, rsi
 mov esi, [rbx+0x228]
 call puts
 mov esi, [rbx+0x218]
 mov ecx, [rbx+0x21c]
 call bytes
 jmp end
${ROUTINES}`),
    { origin: LOAD + 0x200 },
  ).bytes;
  const file = new Uint8Array(SETUP + 0x1000).fill(0xcc, SETUP);
  const view = new DataView(file.buffer);
  file[0x1f1] = 2;
  view.setUint32(0x1f4, 0x100, true);
  file.set([0x55, 0xaa, 0xeb, 0x6a, 0x48, 0x64, 0x72, 0x53, 0x0f, 0x02], 0x1fe);
  file[0x211] = 1;
  view.setUint32(0x214, LOAD, true);
  view.setUint32(0x22c, 0x7fffffff, true);
  view.setUint32(0x230, 0x1000, true);
  file.set([1, 0, has64 ? 3 : 0], 0x234);
  view.setUint32(0x238, 2047, true);
  view.setBigUint64(0x258, BigInt(LOAD), true);
  view.setUint32(0x260, 0x10000, true);
  file.set(has64 ? code64 : code32, has64 ? SETUP + 0x200 : SETUP);
  return file;
}

const text = (value: string): Uint8Array => Uint8Array.from(Buffer.from(value));

/** Boots a kernel with a command line and modules; what it printed, in parts. */
async function boot(board: BoardName, kernel: Uint8Array, modules: readonly string[]): Promise<string[]> {
  const out: number[] = [];
  const machine = createMachine({
    board,
    cpu: 'max',
    memoryBytes: 8 << 20,
    kernel: { name: 'kernel', bytes: kernel },
    commandLine: 'quiet x=1',
    modules: modules.map((name) => ({ name, bytes: text(`contents of ${name}`), commandLine: `${name} arg` })),
    serial: [{ write: (byte) => void out.push(byte) }],
    debugExit: { iobase: 0xf4, iosize: 4 },
    reboot: false,
  });
  expect(await machine.run()).toEqual({ kind: 'exit', status: 33 });
  return Buffer.from(out).toString('latin1').split('|').slice(0, -1);
}

describe.each(boardNames)('on board %s', (board) => {
  it('multiboot 1 gets its command line and two modules', async () => {
    expect(await boot(board, multiboot1(), ['a', 'b'])).toEqual(['kernel quiet x=1', 'contents of a', 'a arg', 'contents of b', 'b arg']);
  });

  it('multiboot 2 gets them in tags', async () => {
    const parts = await boot(board, multiboot2(), ['a', 'b']);
    expect(parts).toHaveLength(5);
    expect(parts.join(' ')).toContain('quiet x=1');
    for (const name of ['a', 'b']) expect(parts[parts.indexOf(`contents of ${name}`) + 1]).toBe(`${name} arg`);
  });

  it('PVH gets the start info', async () => {
    expect(await boot(board, pvh(), ['a'])).toEqual(['quiet x=1', 'contents of a', 'a arg']);
  });

  it.each([
    ['64-bit', true],
    ['32-bit', false],
  ])('the %s Linux protocol gets boot parameters', async (_name, has64) => {
    expect(await boot(board, linux(has64), ['a'])).toEqual(['quiet x=1', 'contents of a']);
  });
});
