import { expect, it } from 'vitest';
import { HSAVE } from '../src/words.js';
import { At, Board } from './support/board.js';

const VMRUN = [0x0f, 0x01, 0xd8];
const VMLOAD = [0x0f, 0x01, 0xda];

it.each<[string, readonly number[], (board: Board) => void, RegExp[]]>([
  [
    'a misaligned VMCB',
    VMRUN,
    ({ cpu }) => cpu.setGpr(0, BigInt(At.VMCB + 8)),
    [/VMRUN at 10000h: #GP\(0\)/, /svm.rax/, /physical address of the VMCB/],
  ],
  ['a VMCB beyond memory', VMLOAD, ({ cpu }) => cpu.setGpr(0, 1n << 40n), [/VMLOAD at 10000h: #GP\(0\)/, /svm.rax/]],
  ['no host save area', VMRUN, ({ cpu }) => void (cpu.w[HSAVE] = 0), [/svm.hsave/, /C001_0117H/]],
  ['SVM that is off', VMRUN, ({ cpu }) => cpu.set64('efer', cpu.get64('efer') & ~0x1000n), [/#UD/, /svm.svme/, /EFER.SVME \(bit 12\)/]],
  ['VMMCALL in the host', [0x0f, 0x01, 0xd9], () => undefined, [/VMMCALL at 10000h: #UD/, /nobody to call/]],
])('explains %s', (_name, code, spoil, expected) => {
  const board = new Board();
  const told: string[] = [];
  board.svm.onRefusal = (_cpu, explain) => void told.push(...explain());
  spoil(board);
  board.code(At.HOST, ...code, 0xf4);
  board.interpreter.run(3);
  for (const pattern of expected) expect(told.join('\n')).toMatch(pattern);
});
