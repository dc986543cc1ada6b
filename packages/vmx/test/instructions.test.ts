import { describe, expect, it } from 'vitest';
import { F, fieldNamed, fields, VmcsHeader } from '../src/fields/layout.js';
import { ExitReason } from '../src/transitions/reasons.js';
import { createLevel, type Level, Place } from './level.js';

const CF = 1;
const ZF = 1 << 6;
const { DATA } = Place;
const OTHER = 0x2_4000;

/** VMsucceed, VMfailInvalid, VMfailValid with its error number, or `fault`. */
function outcome(level: Level, code: string): string {
  level.c.set(F.INSTRUCTION_ERROR, 0);
  const flags = level.host(code);
  if (flags === -1) return 'fault';
  const status = flags & 0x8d5;
  if (status === 0) return 'succeed';
  if (status === CF) return 'invalid';
  return status === ZF ? `error ${level.c.lo(F.INSTRUCTION_ERROR)}` : `flags ${status.toString(16)}`;
}

const pointing = (level: Level, address: number, high = 0): void => {
  level.memory.write32(DATA + 16, address);
  level.memory.write32(DATA + 20, high);
};
const at = `[${DATA + 16}]`;

describe('VMXON and VMXOFF', () => {
  it('need a right region, and work once', () => {
    const level = createLevel('host', false);
    expect(outcome(level, 'vmptrst [0x36000]')).toBe('fault');
    for (const [address, high] of [
      [Place.VMXON + 8, 0],
      [Place.VMXON, 1 << 20],
      [OTHER, 0],
    ] as const) {
      const fresh = createLevel('host', false);
      pointing(fresh, address, high);
      expect(outcome(fresh, `vmxon qword ${at}`)).toBe('invalid');
    }
    const good = createLevel('host', false);
    expect(outcome(good, `vmxon qword [${DATA}]`)).toBe('succeed');
    expect(good.vmx.on).toBe(true);
    expect(outcome(good, `vmxon qword [${DATA}]`)).toBe('invalid');
    const current = createLevel();
    expect(outcome(current, `vmxon qword [${DATA}]`)).toBe('error 15');
    expect(outcome(current, 'vmxoff')).toBe('succeed');
    expect(current.vmx.on).toBe(false);
    expect(outcome(current, 'vmxoff')).toBe('fault');
  });

  it('need CR4.VMXE and the lock of IA32_FEATURE_CONTROL', () => {
    const level = createLevel('host', false);
    expect(outcome(level, `mov rax, cr4\nbtr rax, 13\nmov cr4, rax\nvmxon qword [${DATA}]`)).toBe('fault');
    const root = createLevel();
    expect(outcome(root, 'mov rax, cr4\nbtr rax, 13\nmov cr4, rax')).toBe('fault');
  });
});

describe('VMPTRLD, VMPTRST and VMCLEAR', () => {
  it('say what is wrong with a pointer', () => {
    const level = createLevel();
    pointing(level, OTHER);
    level.memory.write32(OTHER, 0x1234);
    expect(outcome(level, `vmptrld qword ${at}`)).toBe('error 11');
    pointing(level, OTHER + 1);
    expect(outcome(level, `vmptrld qword ${at}`)).toBe('error 9');
    expect(outcome(level, `vmclear qword ${at}`)).toBe('error 2');
    pointing(level, OTHER, 1 << 20);
    expect(outcome(level, `vmptrld qword ${at}`)).toBe('error 9');
    expect(outcome(level, `vmptrld qword [${DATA}]`)).toBe('error 10');
    expect(outcome(level, `vmclear qword [${DATA}]`)).toBe('error 3');
  });

  it('change the current VMCS and its launch state', () => {
    const level = createLevel();
    expect(outcome(level, 'vmptrst [0x36000]')).toBe('succeed');
    expect(level.memory.read32(0x3_6000)).toBe(Place.VMCS);
    level.memory.write32(OTHER, level.vmx.capabilities.revision);
    pointing(level, OTHER);
    expect(outcome(level, `vmptrld qword ${at}\nvmptrst [0x36000]`)).toBe('succeed');
    expect(level.memory.read32(0x3_6000)).toBe(OTHER);
    level.c.i32[level.c.base + VmcsHeader.LAUNCHED] = 1;
    expect(outcome(level, `vmclear qword [${DATA + 8}]`)).toBe('succeed');
    expect([level.c.header(VmcsHeader.LAUNCHED), level.c.header(VmcsHeader.CLEAN_GROUPS)]).toEqual([0, 0]);
    expect(outcome(level, `vmclear qword ${at}\nvmptrst [0x36000]`)).toBe('succeed');
    expect([level.memory.read32(0x3_6000), level.memory.read32(0x3_6004)]).toEqual([0xffff_ffff, 0xffff_ffff]);
    expect(outcome(level, 'xor eax, eax\nvmread rbx, rax')).toBe('invalid');
  });

  it('accept a shadow VMCS, which cannot be entered', () => {
    const level = createLevel();
    level.memory.write32(OTHER, level.vmx.capabilities.revision | (1 << 31));
    pointing(level, OTHER);
    expect(outcome(level, `vmptrld qword ${at}\nvmlaunch`)).toBe('invalid');
    const old = createLevel('Nehalem,vmx=on');
    old.memory.write32(OTHER, old.vmx.capabilities.revision | (1 << 31));
    pointing(old, OTHER);
    expect(outcome(old, `vmptrld qword ${at}`)).toBe('error 11');
  });
});

describe('VMREAD and VMWRITE', () => {
  it('reach every field at its width', () => {
    const level = createLevel();
    for (const field of fields) {
      const exists = level.vmx.capabilities.fieldExists[field.ordinal] === 1;
      const written = outcome(level, `mov eax, ${field.encoding}\nmov rcx, 0x1234567887654321\nvmwrite rax, rcx\nmov ebx, 0`);
      if (!exists) {
        expect(written, field.name).toBe('error 12');
        continue;
      }
      if (field.name === 'INSTRUCTION_ERROR') continue;
      expect(written, field.name).toBe('succeed');
      expect(outcome(level, `mov eax, ${field.encoding}\nvmread rcx, rax\nmov [0x36000], rcx`), field.name).toBe('succeed');
      const expected = field.width === 0 ? [0x4321, 0] : field.width === 2 ? [0x8765_4321, 0] : [0x8765_4321, 0x1234_5678];
      expect([level.memory.read32(0x3_6000), level.memory.read32(0x3_6004)], field.name).toEqual(expected);
    }
  });

  it('reach the high half of a 64-bit field, and refuse encodings that are none', () => {
    const level = createLevel();
    const { encoding } = fieldNamed('TSC_OFFSET');
    expect(outcome(level, `mov eax, ${encoding + 1}\nmov rcx, 0xaabbccdd11223344\nvmwrite rax, rcx`)).toBe('succeed');
    expect([level.c.lo(F.TSC_OFFSET), level.c.hi(F.TSC_OFFSET)]).toEqual([0, 0x1122_3344]);
    for (const bad of ['0x6fff', '0x4001', '0x1000', '0x100000000']) expect(outcome(level, `mov rax, ${bad}\nvmread rcx, rax`), bad).toBe('error 12');
  });

  it('refuse to write read-only fields on a core that has no MISC[29]', () => {
    const level = createLevel('Nehalem,vmx=on');
    expect(outcome(level, 'mov eax, 0x4402\nvmwrite rax, rcx')).toBe('error 13');
  });
});

describe('VMLAUNCH, VMRESUME and VMCALL', () => {
  it('follow the launch state', () => {
    const level = createLevel();
    expect(outcome(level, 'vmresume')).toBe('error 5');
    expect(outcome(level, 'vmcall')).toBe('error 1');
    level.guest((a) => a.text('vmcall'));
    expect(level.enter()).toBe(ExitReason.VMCALL);
    expect(level.c.header(VmcsHeader.LAUNCHED)).toBe(1);
    expect(outcome(level, 'vmlaunch')).toBe('error 4');
    expect(level.enter()).toBe(ExitReason.VMCALL);
  });

  it('refuse to run behind MOV SS', () => {
    expect(outcome(createLevel(), 'mov ax, ss\nmov ss, ax\nvmlaunch')).toBe('error 26');
  });

  it('fail with the number of the section, and change nothing of L1', () => {
    const level = createLevel();
    level.c.set(F.PIN_CONTROLS, 0);
    expect(outcome(level, 'vmlaunch')).toBe('error 7');
    const host = createLevel();
    host.c.set(F.HOST_CR0, 0);
    expect(outcome(host, 'vmlaunch')).toBe('error 8');
    const guest = createLevel();
    guest.c.set(F.GUEST_RFLAGS, 0);
    expect(guest.enter() >>> 0).toBe(0x8000_0021);
    const link = createLevel();
    link.c.set(F.VMCS_LINK_POINTER, 0x1001);
    expect(link.enter() >>> 0).toBe(0x8000_0021);
    expect(link.c.lo(F.EXIT_QUALIFICATION)).toBe(4);
    expect(link.c.header(VmcsHeader.LAUNCHED)).toBe(0);
  });
});

describe('INVEPT and INVVPID', () => {
  const descriptor = (level: Level, lo: number, hi: number, lo2 = 0, hi2 = 0): void => {
    [lo, hi, lo2, hi2].forEach((value, i) => level.memory.write32(DATA + 16 + 4 * i, value));
  };
  it('accept the types that IA32_VMX_EPT_VPID_CAP offers', () => {
    const level = createLevel();
    descriptor(level, 0x1_001e, 0);
    for (const [type, expected] of [
      [0, 'error 28'],
      [1, 'succeed'],
      [2, 'succeed'],
      [3, 'error 28'],
    ] as const)
      expect(outcome(level, `mov eax, ${type}\ninvept rax, ${at}`), `INVEPT ${type}`).toBe(expected);
    descriptor(level, 1, 0, 0x1000, 0);
    for (const [type, expected] of [
      [0, 'succeed'],
      [1, 'succeed'],
      [2, 'succeed'],
      [3, 'succeed'],
      [4, 'error 28'],
    ] as const)
      expect(outcome(level, `mov eax, ${type}\ninvvpid rax, ${at}`), `INVVPID ${type}`).toBe(expected);
  });
  it('refuse bad descriptors', () => {
    const level = createLevel();
    descriptor(level, 0x1_0000, 0, 0, 0);
    expect(outcome(level, `mov eax, 1\ninvept rax, ${at}`), 'EPTP of type UC and walk length 1').toBe('error 28');
    descriptor(level, 0, 0);
    expect(outcome(level, `mov eax, 1\ninvvpid rax, ${at}`), 'VPID 0').toBe('error 28');
    descriptor(level, 0x1_0001, 0);
    expect(outcome(level, `mov eax, 1\ninvvpid rax, ${at}`), 'bits 63:16').toBe('error 28');
    descriptor(level, 1, 0, 0, 0x1234_0000);
    expect(outcome(level, `mov eax, 0\ninvvpid rax, ${at}`), 'not canonical').toBe('error 28');
  });
});
