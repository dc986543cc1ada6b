import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeInto, Instruction } from '@nestvm/decoder';
import { formatIntel } from '@nestvm/decoder/format';
import { opcodeRows } from '@nestvm/isa';
import { Decoder, DecoderOptions } from 'iced-x86';
import { expect, it } from 'vitest';
import type { CodeBits } from '../src/index.js';
import { assemble, encodeForm, shapesOf } from '../src/index.js';
import { createRandom, randomOperands } from './generate.js';

/** What iced-x86 does not know or reads under AMD's rules by option only; the decoder's deviation list has the reasons. */
const UNKNOWN_TO_ICED =
  /^(PREFETCH\w*|FEMMS|NOP|WRMSRNS|SALC|VP2INTERSECT\w|RDPRU|TLBSYNC|INVLPGB|.*FSTPNCE|FCOMP?|FXCH|FSTP|FFREEP|U(IRET|D\d)|RDMSR_IMM|WRMSRNS_IMM|U(RD|WR)MSR|VF?C?M\w+C[PS]H|V\w*GATHER\w*|V\w*SCATTER\w*)$/;

/** MPX takes no 16-bit addresses, as iced says; where it is not enabled the bytes are a NOP all the same. */
function isRefusedUnderMpx(bytes: Uint8Array, mode: CodeBits): boolean {
  const insn = new Instruction();
  decodeInto(insn, bytes, 0, bytes.length, mode);
  return insn.row.features[0] === 'mpx' && insn.mod !== 3 && insn.addressSize === 16;
}

it('iced-x86 takes the bytes for one instruction of the same length', () => {
  const random = createRandom(0x5eed);
  const wrong = new Map<string, string>();
  let count = 0;
  for (const row of opcodeRows) {
    if (UNKNOWN_TO_ICED.test(row.mnemonic)) continue;
    for (const mode of [16, 32, 64] as const)
      for (const shape of shapesOf(row, mode))
        for (const form of ['register', 'memory'] as const) {
          const operands = randomOperands(row, shape, form, random);
          const encoding = operands && encodeForm(row, operands, shape, { mode, at: 0n, resolve: () => 0n, prefixes: {} });
          if (!encoding) continue;
          const decoder = new Decoder(mode, Uint8Array.from(encoding.bytes), DecoderOptions.MPX);
          const insn = decoder.decode();
          count++;
          const isTaken = !insn.isInvalid && insn.length === encoding.bytes.length;
          if (!isTaken && !isRefusedUnderMpx(Uint8Array.from(encoding.bytes), mode))
            wrong.set(row.mnemonic, `${mode} ${row.mnemonic}: ${Buffer.from(encoding.bytes).toString('hex')}`);
          insn.free();
          decoder.free();
        }
  }
  console.log(`assembler: iced-x86 agrees on ${count} encodings; ${wrong.size} wrong`);
  expect([...wrong.values()]).toEqual([]);
});

/** Runs the system's assembler on Intel text; null where there is none. */
function gnuAssemble(lines: readonly string[], mode: CodeBits): Uint8Array | null {
  const folder = mkdtempSync(join(tmpdir(), 'nestvm-as-'));
  try {
    const source = join(folder, 'a.s');
    const object = join(folder, 'a.o');
    const binary = join(folder, 'a.bin');
    writeFileSync(source, `.intel_syntax noprefix\n.code${mode}\n${lines.join('\n')}\n`);
    const result = spawnSync('as', [mode === 64 ? '--64' : '--32', '-o', object, source], { encoding: 'utf8' });
    if (result.error !== undefined) return null;
    expect(result.stderr).toBe('');
    if (spawnSync('objcopy', ['-O', 'binary', '-j', '.text', object, binary]).status !== 0) return null;
    return readFileSync(binary);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Ordinary code whose text means the same to both. */
const PLAIN =
  `mov rax, 1|mov rax, 0x123456789a|mov eax, dword ptr [rbx+rcx*4+0x10]|mov byte ptr [rsp], 0x7f|add rsp, 0x80|sub r12, -0x80|imul r9, r10, 0x11|shl rdx, 4
sar dword ptr [rbp-4], 1|test al, 5|xchg rbx, rcx|cmpxchg qword ptr [r13], rsi|lock xadd dword ptr [rax], ecx|movzx eax, word ptr [r8]|movsxd rdi, dword ptr [rdi]|lea rsi, [r13+r14*8]
push rbp|pop r15|push 0x55|ret|ret 8|iretq|syscall|sysretq|cpuid|rdmsr|wrmsr|rdtsc|hlt|cli|sti|cld|in al, dx|out dx, al|in eax, 0x71|out 0x80, al|rep movsq|rep stosb|repne scasb|lgdt [rax]|lidt [rip+0x20]
mov cr3, rax|mov rcx, cr4|mov dr7, rdx|mov ds, ax|mov gs, eax|invlpg byte ptr [rcx]|wbinvd|swapgs|xsetbv|invpcid rax, xmmword ptr [rbx]|vmxon qword ptr [rsp]|vmclear qword ptr [rax]|vmptrld qword ptr [rax]|vmptrst qword ptr [rax]
vmread rax, rcx|vmwrite rcx, qword ptr [rax]|vmlaunch|vmresume|vmxoff|vmcall|vmfunc|invept rax, xmmword ptr [rsp]|invvpid rax, xmmword ptr [rsp]|vmmcall|stgi|clgi
movaps xmm1, xmmword ptr [rax]|pshufd xmm9, xmm2, 0x1b|vaddps ymm1, ymm2, ymmword ptr [r9]|vpermq ymm3, ymm4, 5|vfmadd231sd xmm1, xmm2, qword ptr [rax+8]|andn rax, rbx, rcx|pdep eax, ecx, edx|fld tbyte ptr [rax]|fstp st(2)|fxsave [rax]
vaddpd zmm1{k2}{z}, zmm2, qword ptr [rax+0x40]{1to8}|vmovdqu64 zmmword ptr [rax+0x80]{k1}, zmm3|vcvtps2dq zmm1, zmm2{rd-sae}|kmovq k1, rax|bswap r11|popcnt rax, rbx|crc32 eax, byte ptr [rax]|movbe rax, qword ptr [rbx]|endbr64|ud2|pause|setne cl|cmovae r8, r9|jmp rax|call qword ptr [rax+8]`
    .split(/[|\n]/)
    .map((line) => line.trim());

it('the system assembler (where present) means the same by ordinary text', () => {
  const theirs = gnuAssemble(PLAIN, 64);
  if (theirs === null) return;
  const insn = new Instruction();
  let at = 0;
  for (const line of PLAIN) {
    const ours = assemble(line).bytes;
    const text = (bytes: Uint8Array, offset: number): string =>
      decodeInto(insn, bytes, offset, bytes.length - offset, 64) > 0 ? formatIntel(insn) : '#UD';
    const expected = text(theirs, at);
    const length = insn.length;
    at += length;
    expect(`${line}: ${text(ours, 0)}`).toBe(`${line}: ${expected}`);
    expect(`${line}: ${ours.length} bytes`).toBe(`${line}: ${Math.min(length, ours.length)} bytes`);
  }
  expect(at).toBe(theirs.length);
});
