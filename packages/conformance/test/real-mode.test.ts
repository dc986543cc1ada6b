import { vcpuState } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { realMode } from './support/real-mode.js';

const HLT = 0xf4;
const CODE_SEGMENT = 0x9b;

describe('real mode', () => {
  it('writes through a CS that protected mode has left as code', () => {
    // mov [cs:0x3000], al; mov bl, [cs:0x3000]; hlt
    const machine = realMode([0x2e, 0xa2, 0x00, 0x30, 0x2e, 0x8a, 0x1e, 0x00, 0x30, HLT], [HLT]);
    const { cpu } = machine;
    cpu.set32('segAttributes', CODE_SEGMENT, 1);
    cpu.setGpr(0, 0x5an);
    machine.run();
    expect(machine.word(0x3000) & 0xff).toBe(0x5a);
    expect(cpu.gpr(3) & 0xffn).toBe(0x5an);
    expect(cpu.w[vcpuState.offset.activity >>> 2]).toBe(1);
  });
});
