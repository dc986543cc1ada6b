import { word } from '@nestvm/cpu/extension';
import { describe, expect, it } from 'vitest';
import { createLevel, Place } from './level.js';

const READ = word('vmcsRead');
const WRITE = word('vmcsWrite');
const R8 = word('gpr') + 16;

/** VMREAD and VMWRITE of every encoding below 2^15 and of some with higher bits: what they give and which flags they leave goes into R8. */
const EVERY_ENCODING = `
  xor r8d, r8d
  xor edx, edx
next:
  mov rax, r8
  vmread rax, rdx
  pushfq
  pop rbx
  rol r8, 7
  xor r8, rax
  add r8, rbx
  vmwrite rdx, r8
  pushfq
  pop rbx
  add r8, rbx
  mov [${Place.DATA}], r8
  vmwrite rdx, [${Place.DATA}]
  vmread [${Place.DATA}], rdx
  xor r8, [${Place.DATA}]
  inc edx
  test edx, 0x7fff
  jnz next
  bts rdx, 40
  vmread r8, rdx
  pushfq
  pop rbx
  add r8, rbx
`;

describe('VMREAD and VMWRITE in generated code', () => {
  it('do what their full implementation does, for every encoding', () => {
    const results = [true, false].map((lent) => {
      const level = createLevel();
      const { cpu, c } = level;
      if (!lent) cpu.w[READ] = 0;
      cpu.w[WRITE] = 0;
      level.host(EVERY_ENCODING);
      while (level.run() === 'budget');
      expect(cpu.gpr(2) >> 40n, 'came to the end').toBe(1n);
      expect(cpu.w[WRITE] !== 0, 'written by generated code').toBe(lent);
      return { r8: [cpu.w[R8], cpu.w[R8 + 1]], vmcs: [...c.i32.subarray(c.base, c.base + 1024)] };
    });
    expect(results[0]).toEqual(results[1]);
  });

  it('are seen by the dirty log', () => {
    const level = createLevel();
    const { cpu, memory } = level;
    level.host('mov edx, 0x681e\n mov eax, 1\n vmwrite rdx, rax');
    expect(cpu.w[WRITE]).not.toBe(0);
    const log = memory.dirtyLog;
    log.start();
    expect(cpu.w[WRITE]).toBe(0);
    level.host('mov edx, 0x681e\n mov eax, 2\n vmwrite rdx, rax');
    const page = memory.arenaOffsetOf(Place.VMCS) / 4096;
    expect((log.take()[page >>> 5]! >>> (page & 31)) & 1).toBe(1);
    level.host('mov edx, 0x681e\n mov eax, 3\n vmwrite rdx, rax');
    expect((log.take()[page >>> 5]! >>> (page & 31)) & 1, 'again').toBe(1);
  });

  it('come to nothing without a current VMCS', () => {
    const flags = createLevel().host(`push ${Place.VMCS}\n vmclear [rsp]\n mov edx, 0x681e\n vmread rax, rdx`);
    expect(flags & 0x41).toBe(1);
  });
});
