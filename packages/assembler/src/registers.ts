import type { Register, RegisterFile } from './operand.js';

const byName = new Map<string, Register>();

function define(name: string, file: RegisterFile, number: number, bits: number, high = false): void {
  byName.set(name, { kind: 'register', name, file, number, bits, high });
}

const WORDS = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di'];
WORDS.forEach((word, i) => {
  define(`r${word}`, 'general', i, 64);
  define(`e${word}`, 'general', i, 32);
  define(word, 'general', i, 16);
});
['al', 'cl', 'dl', 'bl', 'spl', 'bpl', 'sil', 'dil'].forEach((name, i) => define(name, 'general', i, 8));
['ah', 'ch', 'dh', 'bh'].forEach((name, i) => define(name, 'general', i + 4, 8, true));
for (let i = 8; i < 16; i++) {
  define(`r${i}`, 'general', i, 64);
  define(`r${i}d`, 'general', i, 32);
  define(`r${i}w`, 'general', i, 16);
  define(`r${i}b`, 'general', i, 8);
}
['es', 'cs', 'ss', 'ds', 'fs', 'gs'].forEach((name, i) => define(name, 'segment', i, 16));
for (let i = 0; i < 16; i++) {
  define(`cr${i}`, 'control', i, 0);
  define(`dr${i}`, 'debug', i, 0);
}
for (let i = 0; i < 32; i++) {
  define(`xmm${i}`, 'vector', i, 128);
  define(`ymm${i}`, 'vector', i, 256);
  define(`zmm${i}`, 'vector', i, 512);
}
for (let i = 0; i < 8; i++) {
  define(`mm${i}`, 'mmx', i, 64);
  define(`k${i}`, 'mask', i, 0);
  define(`st(${i})`, 'x87', i, 80);
}
for (let i = 0; i < 4; i++) define(`bnd${i}`, 'bound', i, 0);
byName.set('st', byName.get('st(0)') as Register);

/** The register of a name in lower case, or undefined. */
export const findRegister = (name: string): Register | undefined => byName.get(name);

/** The register of a name that is known to exist. */
const named = (name: string): Register => byName.get(name) as Register;

export const [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi] = WORDS.map((word) => named(`r${word}`)) as Eight;
export const [r8, r9, r10, r11, r12, r13, r14, r15] = [8, 9, 10, 11, 12, 13, 14, 15].map((i) => named(`r${i}`)) as Eight;
export const [eax, ecx, edx, ebx, esp, ebp, esi, edi] = WORDS.map((word) => named(`e${word}`)) as Eight;
export const [ax, cx, dx, bx, sp, bp, si, di] = WORDS.map(named) as Eight;
export const [al, cl, dl, bl, spl, bpl, sil, dil] = ['al', 'cl', 'dl', 'bl', 'spl', 'bpl', 'sil', 'dil'].map(named) as Eight;

type Eight = [Register, Register, Register, Register, Register, Register, Register, Register];
