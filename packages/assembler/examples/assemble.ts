import { asm64, rax, rcx } from '@nestvm/assembler';

const program = asm64(
  (a) => {
    a.mov(rcx, 10);
    a.label('loop');
    a.add(rax, 'qword ptr [rip+table]');
    a.text('dec rcx ; text and calls mix\n jnz loop\n hlt');
    a.align(8);
    a.label('table');
    a.dq(0x1234n);
  },
  { origin: 0x10_0000 },
);
console.log(program.address('table').toString(16), Buffer.from(program.bytes).toString('hex'));
