import { describe, expect, it } from 'vitest';
import { randomBytes } from '../test/byte-strings.js';
import { formatAtt, formatIntel } from './format/index.js';
import { DecodeStatus, decodeInto, Instruction, NO_REGISTER, Prefix, RIP_REGISTER } from './index.js';

const bytesOf = (text: string): Uint8Array => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));

function decode(text: string, mode: 16 | 32 | 64 = 64): { status: number; insn: Instruction } {
  const bytes = bytesOf(text);
  const insn = new Instruction();
  return { status: decodeInto(insn, bytes, 0, bytes.length, mode), insn };
}

const intel = (text: string, mode: 16 | 32 | 64 = 64): string => {
  const { status, insn } = decode(text, mode);
  return status < 0 ? String(status) : formatIntel(insn, { rip: 0x1000n });
};
const att = (text: string, mode: 16 | 32 | 64 = 64): string => {
  const { status, insn } = decode(text, mode);
  return status < 0 ? String(status) : formatAtt(insn, { rip: 0x1000n });
};

describe('prefixes', () => {
  it('takes REX only right before the opcode', () => {
    expect(intel('4801d8')).toBe('add rax, rbx');
    expect(intel('486601d8')).toBe('add ax, bx');
    expect(intel('664801d8')).toBe('add rax, rbx');
    expect(intel('484001d8')).toBe('add eax, ebx');
  });

  it('lets the last segment override win, but none undo FS and GS in 64-bit mode', () => {
    expect(intel('642e8b00', 32)).toBe('mov eax, dword ptr cs:[eax]');
    expect(intel('642e8b00', 64)).toBe('mov eax, dword ptr fs:[rax]');
    expect(intel('64658b00', 64)).toBe('mov eax, dword ptr gs:[rax]');
    expect(decode('368b00', 64).insn.segment).toBe(3);
    expect(decode('3e8b0424', 64).insn.segment).toBe(2);
  });

  it('gives F3 and F2 priority over 66, and the last of them the say', () => {
    expect(intel('66f30f10c1')).toBe('movss xmm0, xmm1');
    expect(intel('f366f20f10c1')).toBe('movsd xmm0, xmm1');
    expect(intel('f2f3a4')).toBe('rep movsb byte ptr [rdi], byte ptr [rsi]');
  });

  it('refuses LOCK without a lockable memory destination', () => {
    expect(intel('f00100')).toBe('lock add dword ptr [rax], eax');
    expect(intel('f001c0')).toBe(String(DecodeStatus.INVALID));
    expect(intel('f00300')).toBe(String(DecodeStatus.INVALID));
    expect(intel('f08b00')).toBe(String(DecodeStatus.INVALID));
    expect(intel('f03900')).toBe(String(DecodeStatus.INVALID));
  });

  it('refuses 66, F2, F3, LOCK and REX before VEX and EVEX', () => {
    expect(intel('c5f877')).toBe('vzeroupper');
    for (const prefix of ['66', 'f2', 'f3', 'f0', '48']) {
      expect(intel(`${prefix}c5f877`)).toBe(String(DecodeStatus.INVALID));
      expect(intel(`${prefix}62f17c4858c1`)).toBe(String(DecodeStatus.INVALID));
    }
    expect(intel('6467c5f81000')).toBe('vmovups xmm0, xmmword ptr fs:[eax]');
  });

  it('reads C4, C5 and 62 as LES, LDS and BOUND outside 64-bit mode when the next byte is no register form', () => {
    expect(intel('c400', 32)).toBe('les eax, fword ptr [eax]');
    expect(intel('c500', 16)).toBe('lds ax, dword ptr [bx+si]');
    expect(intel('6200', 32)).toBe('bound eax, [eax]');
    expect(intel('c5f877', 32)).toBe('vzeroupper');
  });
});

describe('length', () => {
  it('is at most fifteen bytes', () => {
    expect(decode(`${'66'.repeat(14)}90`).status).toBe(15);
    expect(decode(`${'66'.repeat(15)}90`).status).toBe(DecodeStatus.TOO_LONG);
    expect(decode('66'.repeat(20)).status).toBe(DecodeStatus.TOO_LONG);
    // Thirteen prefixes leave no room for an immediate of 32 bits.
    expect(decode(`${'2e'.repeat(13)}05aabbccdd`).status).toBe(DecodeStatus.TOO_LONG);
  });

  it('asks for more when the available bytes end first, whatever follows them', () => {
    expect(decode('66'.repeat(14)).status).toBe(DecodeStatus.NEED_MORE);
    const insn = new Instruction();
    expect(decodeInto(insn, bytesOf('0f0b000000'), 0, 1, 64)).toBe(DecodeStatus.NEED_MORE);
    expect(decodeInto(insn, bytesOf('06'), 0, 0, 64)).toBe(DecodeStatus.NEED_MORE);
    expect(decodeInto(insn, bytesOf('06'), 0, 1, 64)).toBe(DecodeStatus.INVALID);
  });

  it('gives the same result from exactly the bytes it needs, and NEED_MORE from fewer', () => {
    const whole = new Instruction();
    const cut = new Instruction();
    let checked = 0;
    for (const buffer of randomBytes(65536, 77)) {
      for (let at = 0; at < buffer.length; at += 32) {
        const mode = ([16, 32, 64] as const)[(at >> 5) % 3] as 16 | 32 | 64;
        const length = decodeInto(whole, buffer, at, 32, mode);
        if (length < 0) continue;
        checked++;
        const exact = buffer.slice(at, at + length);
        expect(decodeInto(cut, exact, 0, length, mode)).toBe(length);
        expect(cut.row).toBe(whole.row);
        const less = (at >> 7) % length;
        // From a longer buffer with `available` cut, and from a buffer that ends there.
        if (
          decodeInto(cut, buffer, at, less, mode) !== DecodeStatus.NEED_MORE ||
          decodeInto(cut, exact.subarray(0, less), 0, less, mode) !== DecodeStatus.NEED_MORE
        ) {
          expect.fail(`${Buffer.from(exact).toString('hex')} in ${mode}-bit mode cut to ${less}`);
        }
      }
    }
    expect(checked).toBeGreaterThan(40_000);
  });
});

describe('fields', () => {
  it('describes a memory operand with SIB', () => {
    const { insn } = decode('4a8b44a510');
    expect(insn).toMatchObject({
      operandSize: 64,
      addressSize: 64,
      base: 5,
      index: 12,
      scale: 2,
      displacement: 16,
      displacementBytes: 1,
      reg: 0,
      mod: 1,
      segment: 2,
      length: 5,
    });
    expect(insn.prefixes & Prefix.REX_W).not.toBe(0);
  });

  it('describes RIP-relative, absolute and moffs addresses', () => {
    expect(decode('8b05f0ffffff').insn).toMatchObject({ base: RIP_REGISTER, index: NO_REGISTER, displacement: -16 });
    expect(decode('8b042510000000').insn).toMatchObject({ base: NO_REGISTER, index: NO_REGISTER, displacement: 16 });
    expect(decode('a0f0debc9a78563412').insn).toMatchObject({
      displacement: 0x9abcdef0 | 0,
      displacementHigh: 0x12345678,
      displacementBytes: 8,
      hasModRm: false,
    });
    expect(decode('67a010203040').insn).toMatchObject({ addressSize: 32, displacement: 0x40302010, displacementHigh: 0 });
  });

  it('extends immediates to 64 bits', () => {
    expect(decode('4883c0ff').insn).toMatchObject({ immediate: -1, immediateHigh: -1 });
    expect(decode('04ff').insn).toMatchObject({ immediate: 255, immediateHigh: 0 });
    expect(decode('48b8f0debc9a78563412').insn).toMatchObject({ immediate: 0x9abcdef0 | 0, immediateHigh: 0x12345678 });
    expect(decode('c8345605').insn).toMatchObject({ immediate: 0x5634, immediate2: 5 });
    expect(decode('9a785634120800', 32).insn).toMatchObject({ immediate: 0x12345678, immediate2: 8 });
  });

  it.each([
    ['4883c0ff', 64, 1],
    ['66054433', 64, 2],
    ['0544332211', 64, 4],
    ['48b8f0debc9a78563412', 64, 8],
    ['c8345605', 64, 3],
    ['9a785634120800', 32, 6],
    ['81042544332211000000ff', 64, 4],
    ['a0f0debc9a78563412', 64, 0],
    ['89c8', 64, 0],
  ] as const)('%s (%i bits) has %i bytes of immediates', (text, bits, bytes) => {
    expect(decode(text, bits).insn.immediateBytes).toBe(bytes);
  });

  it('multiplies EVEX disp8 by the tuple', () => {
    expect(decode('62f17c48584001').insn.displacement).toBe(64);
    expect(decode('62f17c58584001').insn.displacement).toBe(4);
    expect(decode('62f17e08584001').insn.displacement).toBe(4);
    expect(decode('62f17c48588001000000').insn.displacement).toBe(1);
  });

  it('puts the register of Z operands into rm and drops extension bits of eight-register files', () => {
    expect(decode('4157').insn.rm).toBe(15);
    expect(decode('4d0fefc0').insn).toMatchObject({ reg: 0, rm: 0 });
  });
});

describe('undefined opcodes', () => {
  it.each(['06', '0f04', '0fff', 'd6', '8ec8', '8cf0', '0f20c8', '440f23c0', 'fff8', 'c6c8', 'd9d1', '0fc7c8', 'c5a877', '0fba00'])(
    '%s is #UD or needs more in 64-bit mode',
    (text) => {
      expect(decode(`${text}${'00'.repeat(15)}`).status).toBe(text === '0fff' ? 3 : DecodeStatus.INVALID);
    },
  );
});

describe('text', () => {
  it.each([
    ['8b442404', 'mov eax, dword ptr [rsp+0x4]', 'mov 0x4(%rsp), %eax'],
    ['f0830001', 'lock add dword ptr [rax], 0x1', 'lock addl $0x1, (%rax)'],
    ['e8fbffffff', 'call 0x1000', 'call 0x1000'],
    ['48b8f0debc9a78563412', 'mov rax, 0x123456789abcdef0', 'movabs $0x123456789abcdef0, %rax'],
    ['64488b042528000000', 'mov rax, qword ptr fs:[0x28]', 'mov %fs:0x28, %rax'],
    ['0fb600', 'movzx eax, byte ptr [rax]', 'movzbl (%rax), %eax'],
    ['486300', 'movsxd rax, dword ptr [rax]', 'movslq (%rax), %rax'],
    ['98', 'cwde', 'cwtl'],
    ['d900', 'fld dword ptr [rax]', 'flds (%rax)'],
    ['db28', 'fld tbyte ptr [rax]', 'fldt (%rax)'],
    ['dce9', 'fsub st(1), st', 'fsubr %st, %st(1)'],
    ['62f17cd95800', 'vaddps zmm0{k1}{z}, zmm0, dword ptr [rax]{1to16}', 'vaddps (%rax){1to16}, %zmm0, %zmm0{%k1}{z}'],
    ['62f17c5858c0', 'vaddps zmm0, zmm0, zmm0{ru-sae}', 'vaddps {ru-sae}, %zmm0, %zmm0, %zmm0'],
    ['ff2500000000', 'jmp qword ptr [0x1006]', 'jmpq *0x1006'],
    ['f3a5', 'rep movsd dword ptr [rdi], dword ptr [rsi]', 'rep movsl (%rsi), (%rdi)'],
    ['c4e279900c5b', 'vpgatherdd xmm1, dword ptr [rbx+xmm3*2], xmm0', 'vpgatherdd %xmm0, (%rbx,%xmm3,2), %xmm1'],
    ['f20f38f100', 'crc32 eax, dword ptr [rax]', 'crc32l (%rax), %eax'],
    ['0f22d8', 'mov cr3, rax', 'mov %rax, %cr3'],
    ['c1e005', 'shl eax, 0x5', 'shl $0x5, %eax'],
    ['0f9400', 'sete byte ptr [rax]', 'sete (%rax)'],
    ['f3480f2a00', 'cvtsi2ss xmm0, qword ptr [rax]', 'cvtsi2ssq (%rax), %xmm0'],
    ['66680100', 'push 0x1', 'pushw $0x1'],
    ['6a01', 'push 0x1', 'push $0x1'],
    ['c5f95a00', 'vcvtpd2ps xmm0, xmmword ptr [rax]', 'vcvtpd2psx (%rax), %xmm0'],
    ['ff28', 'jmp far fword ptr [rax]', 'ljmpl *(%rax)'],
    ['62f17e58e61d5b118233', 'vcvtdq2pd zmm3, dword ptr [0x33822165]{1to8}', 'vcvtdq2pd 0x33822165{1to8}, %zmm3'],
    ['f2450f38f8f4', 'urdmsr r12, r14', 'urdmsr %r14, %r12'],
    ['c4c77bf8c40f0f1203', 'urdmsr r12, 0x3120f0f', 'urdmsr $0x3120f0f, %r12'],
    ['f3450f38f8f4', 'uwrmsr r14, r12', 'uwrmsr %r12, %r14'],
    ['c4c77af8c40f0f1203', 'uwrmsr 0x3120f0f, r12', 'uwrmsr %r12, $0x3120f0f'],
    ['c4e77bf6c010000000', 'rdmsr rax, 0x10', 'rdmsr $0x10, %rax'],
    ['c4e77af6c3810000c0', 'wrmsrns 0xc0000081, rbx', 'wrmsrns %rbx, $0xc0000081'],
    ['d320', 'shl dword ptr [rax], cl', 'shll %cl, (%rax)'],
  ])('%s', (text, expectedIntel, expectedAtt) => {
    expect(intel(text)).toBe(expectedIntel);
    expect(att(text)).toBe(expectedAtt);
  });

  it('is relative without an address', () => {
    const { insn } = decode('74fe');
    expect(formatIntel(insn)).toBe('je .+0x0');
    expect(formatIntel(decode('8b05f0ffffff').insn)).toBe('mov eax, dword ptr [rip-0x10]');
    expect(formatAtt(decode('8b05f0ffffff').insn)).toBe('mov -0x10(%rip), %eax');
  });
});
