import { word } from '@nestvm/cpu/extension';
import { describe, expect, it } from 'vitest';
import { arrangeControl } from '../src/checks/arrange.js';
import { F } from '../src/fields/layout.js';
import { ExitReason } from '../src/transitions/reasons.js';
import { createLevel, Place } from './level.js';

/** The page of the shadow VMCS. */
const SHADOW = 0x2_5000;

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
`;

const BEYOND_32_BITS = `
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
      level.host(EVERY_ENCODING + BEYOND_32_BITS);
      while (level.run() === 'budget');
      expect(cpu.gpr(2) >> 40n, 'came to the end').toBe(1n);
      expect(cpu.w[WRITE] !== 0, 'written by generated code').toBe(lent);
      return { r8: [cpu.w[R8], cpu.w[R8 + 1]], vmcs: [...c.i32.subarray(c.base, c.base + 1024)] };
    });
    expect(results[0]).toEqual(results[1]);
  });

  it('do so in non-root operation on the shadow VMCS, but for fields that a bitmap names', () => {
    const results = [true, false].map((lent) => {
      const level = createLevel();
      const { cpu, c, vmx, memory } = level;
      arrangeControl(c, 'proc2', 'VMCS_SHADOWING', true);
      memory.write32(SHADOW, vmx.capabilities.revision | (1 << 31));
      c.set(F.VMCS_LINK_POINTER, SHADOW);
      if (!lent) vmx.lendFields = () => void (cpu.w[READ] = cpu.w[WRITE] = 0);
      level.guest((a) => a.text(`${EVERY_ENCODING}\nvmcall`));
      level.enter();
      while (level.run() === 'budget');
      expect(c.lo(F.EXIT_REASON)).toBe(ExitReason.VMCALL);
      const words = memory.arenaOffsetOf(SHADOW) / 4;
      return { r8: [cpu.w[R8], cpu.w[R8 + 1]], vmcs: [...c.i32.subarray(words, words + 1024)] };
    });
    expect(results[0]).toEqual(results[1]);
  });

  it('exit in non-root operation where a bitmap has a 1', () => {
    const level = createLevel();
    const { c, memory, vmx } = level;
    arrangeControl(c, 'proc2', 'VMCS_SHADOWING', true);
    memory.write32(SHADOW, vmx.capabilities.revision | (1 << 31));
    c.set(F.VMCS_LINK_POINTER, SHADOW);
    for (const [instruction, bitmap, reason] of [
      ['vmread rax, rdx', F.VMREAD_BITMAP, ExitReason.VMREAD],
      ['vmwrite rdx, rax', F.VMWRITE_BITMAP, ExitReason.VMWRITE],
    ] as const)
      for (const encoding of [0x681e, 0x2800, 0x0802, 0x6c00])
        for (const isNamed of [true, false]) {
          memory.write8(c.lo(bitmap) + (encoding >>> 3), isNamed ? 1 << (encoding & 7) : 0xff & ~(1 << (encoding & 7)));
          level.guest((a) => a.text(`mov edx, ${encoding}\n${instruction}\nvmcall`));
          c.set(F.GUEST_RIP, Place.L2);
          expect(level.enter(), `${instruction} ${encoding}`).toBe(isNamed ? reason : ExitReason.VMCALL);
          memory.write8(c.lo(bitmap) + (encoding >>> 3), 0);
        }
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
