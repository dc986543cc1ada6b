import { DecodeStatus, decodeInto, Instruction } from '@nestvm/decoder';

// push rbp; mov rbp, rsp; mov eax, [rdi + rsi*4 + 16]; pop rbp; ret; and a cut-off instruction
const code = Uint8Array.of(0x55, 0x48, 0x89, 0xe5, 0x8b, 0x44, 0xb7, 0x10, 0x5d, 0xc3, 0x0f);
const insn = new Instruction();
let offset = 0;
for (;;) {
  const length = decodeInto(insn, code, offset, code.length - offset, 64);
  if (length < 0) break;
  console.log(offset, insn.row.mnemonic, insn.operandSize, insn.row.operands.map(({ method, type }) => method + type).join(', '));
  offset += length;
}
console.log(decodeInto(insn, code, offset, 1, 64) === DecodeStatus.NEED_MORE);
