import { CetControl, Cr4 } from '@nestvm/isa';
import { Engine } from '../../src/engine.js';
import { Interpreter } from '../../src/executor.js';
import { updateMode } from '../../src/mode.js';
import { word } from '../../src/words.js';
import { At, Board } from './board.js';

/** Pages of shadow stacks: supervisor's, a user's, and one for an interrupt stack. */
export const Shadow = { SUPERVISOR: 0x60000, USER: 0x61000, INTERRUPT: 0x62000, TABLE: 0x63000 } as const;

/** Where the supervisor's stack and the interrupt's have their tokens, and where the user's pointer begins. */
export const Token = { SUPERVISOR: Shadow.SUPERVISOR + 0xff8, INTERRUPT: Shadow.INTERRUPT + 0xff8 } as const;
export const USER_POINTER = Shadow.USER + 0x800;

export const TRACKING = CetControl.ENDBR_EN;
export const STACKS = CetControl.SH_STK_EN;

const A = 1 << 5;
const D = 1 << 6;

/** Makes a page of the board one of a shadow stack: present, dirty, not writable. */
function shadowPage(board: Board, address: number, user: boolean): void {
  board.view.setBigUint64(At.PT + 8 * (address >>> 12), BigInt(address | A | D | (user ? 5 : 1)), true);
}

/** Turns CET on with controls for user and supervisor mode: IA32_U_CET and IA32_S_CET. */
export function turnOn(board: Board, user: number, supervisor: number): Board {
  const { cpu } = board;
  cpu.set64('cr0', cpu.get64('cr0') | 0x10000n);
  cpu.set64('cr4', cpu.get64('cr4') | BigInt(Cr4.CET));
  cpu.set64('uCet', BigInt(user));
  cpu.set64('sCet', BigInt(supervisor));
  updateMode(cpu);
  return board;
}

/** A board in 64-bit mode with shadow stacks for both privileges, their tokens, and SSP on the one of the present level. */
export function withStacks(cpl: 0 | 3, also = 0, compatibility = false): Board {
  const board = new Board().long(cpl, compatibility);
  shadowPage(board, Shadow.SUPERVISOR, false);
  shadowPage(board, Shadow.INTERRUPT, false);
  shadowPage(board, Shadow.USER, true);
  board.view.setBigUint64(Token.SUPERVISOR, BigInt(Token.SUPERVISOR), true);
  board.view.setBigUint64(Token.INTERRUPT, BigInt(Token.INTERRUPT), true);
  board.view.setBigUint64(Shadow.TABLE + 8, BigInt(Token.INTERRUPT), true);
  const { cpu } = board;
  cpu.mmu.flushAll();
  cpu.set64('plSsp', BigInt(Token.SUPERVISOR), 0);
  cpu.set64('plSsp', BigInt(USER_POINTER), 3);
  cpu.set64('interruptSspTable', BigInt(Shadow.TABLE));
  cpu.set64('ssp', BigInt(cpl === 3 ? USER_POINTER : Shadow.SUPERVISOR + 0x800));
  return turnOn(board, STACKS | also, STACKS | also);
}

/** Runs code from `At.CODE` (or where RIP is) until it halts; handlers of all vectors begin with ENDBR64 and halt. */
export function run(board: Board, code: readonly number[]): Board {
  for (let vector = 0; vector < 0x40; vector++) {
    board.longGate(vector, { dpl: 3 });
    board.memory.write(At.HANDLER + 16 * vector, Uint8Array.of(0xf3, 0x0f, 0x1e, 0xfa, 0xf4));
  }
  board.memory.write(Number(board.cpu.rip), Uint8Array.from(code));
  const executor = new Interpreter(board.cpu, new Engine(board.arena, board.memory, { recordBytes: 1 << 16 }));
  board.cpu.w[word('activity')] = 0;
  executor.run(1000);
  return board;
}

/** The vector whose handler halted, with the error code on its stack for those that have one: '21:3'. */
export function taken(board: Board): string {
  const { cpu } = board;
  const vector = Math.floor((Number(cpu.rip) - 5 - At.HANDLER) / 16);
  return vector === 21 || (vector >= 10 && vector <= 14) ? `${vector}:${board.quads(Number(cpu.gpr(4)), 1)[0]!.toString(16)}` : `${vector}`;
}
