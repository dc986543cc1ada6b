/** What a rewrite of code costs: a function of two instructions is written anew by three stores, and called four times; and what a store beside code costs. */
import { attachJit } from '../src/index.js';
import { createBoard } from '../test/support/board.js';

const REWRITES = 1_000_000;
/** Instructions until the host has compiled what a rewrite takes. */
const WARM_UP = 2_000_000;
const count = [REWRITES & 255, (REWRITES >>> 8) & 255, REWRITES >>> 16, 0];
/** mov ecx, N; mov esi, 0x60000 */
const START = [0xb9, ...count, 0xbe, 0, 0, 6, 0];
/** dec ecx; jnz back; hlt */
const again = (length: number): number[] => [0xff, 0xc9, 0x75, 256 - length - 4, 0xf4];
/** mov byte [rsi], 0xb8; mov [rsi + 1], ecx; mov byte [rsi + 5], 0xc3; call rsi, four times */
const REWRITE = [0xc6, 0x06, 0xb8, 0x89, 0x4e, 0x01, 0xc6, 0x46, 0x05, 0xc3, ...[1, 2, 3, 4].flatMap(() => [0xff, 0xd6])];
/** mov byte [rsi], 0xc3 was written once; mov [rsi + 64], ecx, three times; call rsi, four times */
const BESIDE = [...[1, 2, 3].flatMap(() => [0x89, 0x4e, 0x40]), ...[1, 2, 3, 4].flatMap(() => [0xff, 0xd6])];

function microseconds(body: readonly number[], compiles: boolean): number {
  const board = createBoard([...START, ...body, ...again(body.length)]);
  board.memory.write(0x60000, Uint8Array.of(0xc3));
  if (compiles) attachJit(board.engine);
  board.executor.run(WARM_UP);
  const left = Number(board.register('RCX'));
  const before = process.cpuUsage();
  while (board.executor.run(1_000_000) === 'budget');
  const { user, system } = process.cpuUsage(before);
  return (user + system) / left;
}

for (const [name, body] of [
  ['a rewrite', REWRITE],
  ['three stores beside code', BESIDE],
] as const)
  console.log(`${name}: ${microseconds(body, false).toFixed(2)} µs of CPU interpreted, ${microseconds(body, true).toFixed(2)} with the JIT`);
