import { describe, expect, it } from 'vitest';
import { AssemblerError, asm16, asm32, asm64, assemble, ax, createAssembler, label, memory, rax, rbx, rcx } from './index.js';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const text = (source: string, mode: 16 | 32 | 64 = 64): string => hex(assemble(source, { mode }).bytes);
const code = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof AssemblerError) return error.code;
    throw error;
  }
  return 'none';
};

describe('choice of encoding (bytes by SDM Vol. 2)', () => {
  it.each([
    ['mov rax, 1', '48c7c001000000'],
    ['mov rax, 0x80000000', '48b80000008000000000'],
    ['mov rax, 0xffffffffffffffff', '48c7c0ffffffff'],
    ['mov eax, 0xffffffff', 'b8ffffffff'],
    ['add rax, 0x7f', '4883c07f'],
    ['add rax, 0x80', '480580000000'],
    ['add al, -1', '04ff'],
    ['shl eax, 1', 'd1e0'],
    ['push 5', '6a05'],
    ['push 0x80', '6880000000'],
    ['push r12', '4154'],
    ['xchg eax, eax', '87c0'],
    ['mov [rsp], rbp', '48892c24'],
    ['mov [rbp], al', '884500'],
    ['mov [r13+rsp], al', '4288042c'],
    ['mov eax, [0x1234]', '8b042534120000'],
    ['mov rax, [0x123456789a]', '48a19a78563412000000'],
    ['lock inc dword ptr fs:[rax]', 'f064ff00'],
    ['rep movsq', 'f348a5'],
    ['repne scasb', 'f2ae'],
    ['jrcxz .+2', 'e300'],
    ['jecxz .+3', '67e300'],
    ['vaddps xmm1, xmm2, xmm3', 'c5e858cb'],
    ['vaddps xmm9, xmm2, xmm3', 'c56858cb'],
    ['vaddps xmm1, xmm2, xmm11', 'c4c16858cb'],
    ['vmovups zmm1{k1}{z}, [rax+0x40]', '62f17cc9104801'],
    ['vmovups zmm1, [rax+0x41]', '62f17c48108841000000'],
  ])('%s', (source, bytes) => {
    expect(text(source)).toBe(bytes);
  });

  it('sizes and prefixes by mode', () => {
    expect(text('mov eax, 1', 16)).toBe('66b801000000');
    expect(text('mov ax, 1', 32)).toBe('66b80100');
    expect(text('mov al, [bx+si+1]', 16)).toBe('8a4001');
    expect(text('mov al, [ebx]', 16)).toBe('678a03');
    expect(text('jmp far 0x10:0x12345678', 16)).toBe('66ea785634121000');
    expect(text('jmp far 0x10:0x1234', 16)).toBe('ea34121000');
    expect(text('inc ecx', 32)).toBe('41');
    expect(text('inc ecx')).toBe('ffc1');
  });
});

describe('labels', () => {
  it('branches are as short as they can be, and grow when they must', () => {
    const near = asm64((a) => {
      a.jmp('end');
      a.zero(127);
      a.label('end');
    });
    expect(near.bytes.slice(0, 2)).toEqual(Uint8Array.of(0xeb, 127));
    const far = asm64((a) => {
      a.jmp('end');
      a.zero(128);
      a.label('end');
    });
    expect(hex(far.bytes.slice(0, 5))).toBe('e980000000');
    expect(far.address('end')).toBe(133);
  });

  it('a chain of branches settles when one pushes another out of reach', () => {
    const { bytes, labels } = asm32((a) => {
      for (let i = 0; i < 30; i++) a.je(`l${i + 10}`);
      for (let i = 0; i < 40; i++) {
        a.label(`l${i}`);
        a.zero(3);
      }
    });
    // Every branch arrives where its label is.
    let at = 0;
    for (let i = 0; i < 30; i++) {
      const long = bytes[at] === 0x0f;
      const view = new DataView(bytes.buffer);
      const target = long ? at + 6 + view.getInt32(at + 2, true) : at + 2 + view.getInt8(at + 1);
      expect(target).toBe(labels.get(`l${i + 10}`));
      at += long ? 6 : 2;
    }
  });

  it('absolute, RIP-relative and as data, with the origin', () => {
    const program = asm64(
      (a) => {
        a.mov(rax, label('data', 2));
        a.mov(rbx, '[rip+data]');
        a.mov(rcx, '[data]');
        a.label('data');
        a.dq(label('data'));
        a.dd({ kind: 'label', label: 'end', addend: 0n, minus: 'data' });
        a.label('end');
      },
      { origin: 0x1000 },
    );
    expect(program.address('data')).toBe(0x1016);
    expect(hex(program.bytes)).toBe('48c7c018100000' + '488b1d08000000' + '488b0c2516100000' + '1610000000000000' + '0c000000');
  });

  it('a name with a dot belongs to the label before it', () => {
    const program = assemble('a: .x: jmp .x\n b: .x: jmp .x\n jmp a.x');
    expect([...program.labels]).toEqual([
      ['a', 0],
      ['a.x', 0],
      ['b', 2],
      ['b.x', 2],
    ]);
    expect(hex(program.bytes)).toBe('ebfeebfeebfa');
  });

  it('alignment and origin', () => {
    const program = assemble('nop\n align 8\n a: db 1\n org 0x20\n b:', { origin: 0 });
    expect([program.address('a'), program.address('b'), program.bytes.length]).toEqual([8, 0x20, 0x20]);
  });
});

describe('text', () => {
  it('data, comments, characters', () => {
    expect(text(`db "a;b\\n", 'c', 10 ; not this\n dw 0x1234, -1\n db 'it', 0`)).toBe('613b620a630a3412ffff697400');
    expect(text('mov al, "x"'.replaceAll('"', "'"))).toBe('b078');
    expect(text('dd 1, 2 ; "quoted')).toBe('0100000002000000');
  });

  it('bits switches the code size', () => {
    expect(text('bits 16\n mov ax, 1\n bits 32\n mov eax, 1', 64)).toBe('b80100b801000000');
  });
});

describe('errors', () => {
  it.each([
    ['unknown-mnemonic', () => text('mvo rax, 1')],
    ['no-such-form', () => text('mov rax, ecx')],
    ['no-such-form', () => text('push eax')],
    ['no-such-form', () => text('mov al, 0x100')],
    ['no-such-form', () => text('lock mov [rax], ecx')],
    ['no-such-form', () => text('rep add eax, ecx')],
    ['no-such-form', () => text('mov ah, r8b')],
    ['no-such-form', () => text('mov cs, ax')],
    ['no-such-form', () => text('mov rax, cr5')],
    ['no-such-form', () => text('lea rax, [rsp*2]')],
    ['no-such-form', () => text('inc rax', 32)],
    ['ambiguous-size', () => text('inc [rax]')],
    ['ambiguous-size', () => text('movzx eax, [rax]')],
    ['bad-operand', () => text('mov rax, [rax+rbx+rcx]')],
    ['bad-operand', () => text('mov rax, [rax*3]')],
    ['bad-operand', () => text('mov rax, wide ptr [rax]')],
    ['bad-operand', () => text('vaddps zmm1{k9}, zmm2, zmm3')],
    ['bad-text', () => text('db what?')],
    ['bad-text', () => text('bits 48')],
    ['unknown-label', () => text('jmp nowhere')],
    ['duplicate-label', () => text('a:\n a:')],
    ['out-of-range', () => text('db 256')],
    ['out-of-range', () => text('nop\n org 0')],
    ['unknown-label', () => assemble('nop').address('x')],
  ])('%s', (expected, run) => {
    expect(code(run)).toBe(expected);
  });

  it('name the line and what to do', () => {
    expect(() => assemble('nop\n mov rax, [rax*3]')).toThrow(/^line 2: operand '\[rax\*3\]': 'rax\*3' has no place in an address/);
    expect(() => assemble('inc [rax]')).toThrow(/the size of the memory operand is open; say byte ptr/);
  });
});

it('calls and text are the same', () => {
  const program = createAssembler({ mode: 64 });
  program.mov(rax, memory({ base: rbx, index: rcx, scale: 8, displacement: 0x10 }));
  program.instruction('rep stosb');
  program.vmread('rax', rcx);
  expect(hex(program.assemble().bytes)).toBe(text('mov rax, [rbx+rcx*8+0x10]\n rep stosb\n vmread rax, rcx'));
  expect(hex(asm16((a) => a.mov(ax, 'word ptr [bp+2]')).bytes)).toBe('8b4602');
});
