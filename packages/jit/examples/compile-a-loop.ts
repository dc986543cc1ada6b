import { attachJit } from '@nestvm/jit';
import { createBoard } from '../test/support/board.js';

// mov ecx, 1000000; loop: add eax, ecx; dec ecx; jnz loop; hlt
const code = [0xb9, 0x40, 0x42, 0x0f, 0x00, 0x01, 0xc8, 0xff, 0xc9, 0x75, 0xfa, 0xf4];
const board = createBoard(code);
const jit = attachJit(board.engine);
board.executor.run(5_000_000);
console.log(`rax = ${board.register('RAX')}, ${board.executor.retired} instructions, ${jit.counters.regions} region compiled`);
