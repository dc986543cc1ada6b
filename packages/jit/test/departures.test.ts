import { updateMode } from '@nestvm/cpu';
import { Gpr } from '@nestvm/isa';
import { expect, it } from 'vitest';
import { attachJit } from '../src/index.js';
import { At, createBoard } from './support/board.js';

const USER = 0x400;
const KERNEL = 0x800;
/** sysret */
const START = [0x48, 0x0f, 0x07];
/** again: mov eax, ebx; syscall; add rdi, rax; dec ebx; jnz again; hlt (which faults at level 3). */
const IN_USER = [0x89, 0xd8, 0x0f, 0x05, 0x48, 0x01, 0xc7, 0xff, 0xcb, 0x75, 0xf5, 0xf4];
/** swapgs; lea eax, [rax + rax * 2]; cmp eax, 9000; ja odd; swapgs; sysret; odd: push 0x1b; push rsp; push r11; push 0x23; push rcx; add qword [rsp + 24], 8; swapgs; iretq. */
const IN_KERNEL = [
  0x0f, 0x01, 0xf8, 0x8d, 0x04, 0x40, 0x3d, 0x28, 0x23, 0, 0, 0x77, 0x06, 0x0f, 0x01, 0xf8, 0x48, 0x0f, 0x07, 0x6a, 0x1b, 0x54, 0x41, 0x53, 0x6a,
  0x23, 0x51, 0x48, 0x83, 0x44, 0x24, 0x18, 0x08, 0x0f, 0x01, 0xf8, 0x48, 0xcf,
];
const TURNS = 5000;
/** Flat segments: code and data of level 0, data and code of level 3. */
const GDT = [0n, 0x00af9b000000ffffn, 0x00cf93000000ffffn, 0x00cff3000000ffffn, 0x00affb000000ffffn];

it('system calls are made and returned from in regions', () => {
  const run = (compile: boolean): { board: ReturnType<typeof createBoard>; compiled: number } => {
    const board = createBoard(START);
    const jit = compile ? attachJit(board.engine, { threshold: 30 }) : null;
    const { cpu, executor, memory, mmu } = board;
    memory.write(At.CODE + USER, Uint8Array.from(IN_USER));
    memory.write(At.CODE + KERNEL, Uint8Array.from(IN_KERNEL));
    for (const table of [0x1000, 0x2000]) memory.write32(table, (table + 0x1000) | 7);
    memory.write32(0x3000, 0xe7);
    mmu.flushAll();
    memory.write(At.DATA, new Uint8Array(BigUint64Array.from(GDT).buffer));
    cpu.set64('gdtrBase', BigInt(At.DATA));
    cpu.set32('gdtrLimit', GDT.length * 8 - 1);
    cpu.set64('star', (0x10n << 48n) | (8n << 32n));
    cpu.set64('lstar', BigInt(At.CODE + KERNEL));
    cpu.set64('fmask', 0x700n);
    cpu.setGpr(Gpr.RCX, BigInt(At.CODE + USER));
    cpu.setGpr(Gpr.R11, 0x202n);
    cpu.setGpr(Gpr.RBX, BigInt(TURNS));
    updateMode(cpu);
    expect(executor.run(1_000_000)).toBe('shutdown');
    return { board, compiled: jit?.counters.instructions ?? 0 };
  };
  const [plain, compiled] = [run(false), run(true)];
  for (const { board } of [plain, compiled]) expect(board.register('RDI')).toBe(3n * BigInt((TURNS * (TURNS + 1)) / 2));
  expect(compiled.board.register('RSP')).toBe(plain.board.register('RSP'));
  expect(compiled.board.cpu.rip).toBe(plain.board.cpu.rip);
  expect(compiled.board.executor.retired).toBe(plain.board.executor.retired);
  expect(compiled.compiled).toBeGreaterThanOrEqual(IN_KERNEL.length / 4);
});
