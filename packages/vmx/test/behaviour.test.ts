import { describe, expect, it } from 'vitest';
import { arrangeControl } from '../src/checks/arrange.js';
import { Entry } from '../src/controls/controls.js';
import { F } from '../src/fields/layout.js';
import { ExitReason } from '../src/transitions/reasons.js';
import { createLevel, type Level, Place } from './level.js';

const { DATA } = Place;
const R = ExitReason;
const HANDLER = 0x3_6000;
const IDT = 0x3_7000;
const GDT = 0x3_8000;

/** Runs L2 code that ends with VMCALL unless something happens before; gives the exit reason. */
function run(level: Level, code: string): number {
  level.guest((a) => a.text(`${code}\nvmcall`));
  return level.enter();
}

const qualification = ({ c }: Level): number[] => [c.lo(F.EXIT_QUALIFICATION) >>> 0, c.hi(F.EXIT_QUALIFICATION) >>> 0];
const gpr = (level: Level, index: number): number => level.w[2 * index]! >>> 0;
const RAX = 0;

/** One-to-one EPT for the first 4 MiB, with these rights for the second 2 MiB. */
function arrangeEpt(level: Level, second: number): void {
  const { memory, c } = level;
  memory.write32(0x1_0000, 0x1_5007);
  memory.write32(0x1_5000, 0x1_6007);
  memory.write32(0x1_6000, 0xb7);
  memory.write32(0x1_6008, 0x20_0000 | second);
  arrangeControl(c, 'proc2', 'ENABLE_EPT', true);
}

/** Gates 0 to 31 and 48 of the IDT of L2, all to `HANDLER`, which executes VMCALL; the GDT has its code segment. */
function arrangeHandlers(level: Level): void {
  const { memory, c } = level;
  for (let vector = 0; vector < 64; vector++) {
    memory.write32(IDT + 16 * vector, 0x0008_0000 | (HANDLER & 0xffff));
    memory.write32(IDT + 16 * vector + 4, (HANDLER & 0xffff_0000) | 0x8e00);
    memory.write32(IDT + 16 * vector + 8, 0);
  }
  memory.write32(GDT + 8, 0);
  memory.write32(GDT + 12, 0x0020_9b00);
  memory.write32(GDT + 16, 0xffff);
  memory.write32(GDT + 20, 0x00cf_9300);
  memory.write(HANDLER, Uint8Array.of(0x0f, 0x01, 0xc1));
  c.set(F.GUEST_IDTR_BASE, IDT);
  c.set(F.GUEST_GDTR_BASE, GDT);
}

describe('exceptions', () => {
  it('exit by the exception bitmap, with vector, error code and address', () => {
    const level = createLevel();
    level.c.set(F.EXCEPTION_BITMAP, 1 << 14);
    expect(run(level, 'mov rax, [0x40000000]')).toBe(R.EXCEPTION_OR_NMI);
    expect(level.c.lo(F.EXIT_INTERRUPTION_INFORMATION) >>> 0).toBe(0x8000_0b0e);
    expect(level.c.lo(F.EXIT_INTERRUPTION_ERROR_CODE)).toBe(0);
    expect(qualification(level)).toEqual([0x4000_0000, 0]);
    expect(level.c.lo(F.GUEST_RIP)).toBe(Place.L2);
  });

  it('of pages obey mask and match of the error code', () => {
    for (const [match, exits] of [
      [2, true],
      [0, false],
    ] as const) {
      const level = createLevel();
      arrangeHandlers(level);
      level.c.set(F.EXCEPTION_BITMAP, 1 << 14);
      level.c.set(F.PAGE_FAULT_MASK, 2);
      level.c.set(F.PAGE_FAULT_MATCH, match);
      expect(run(level, 'mov [0x40000000], rax')).toBe(exits ? R.EXCEPTION_OR_NMI : R.VMCALL);
      if (!exits) expect(level.c.lo(F.GUEST_RIP)).toBe(HANDLER);
    }
  });

  it('that nobody handles are a triple-fault exit', () => {
    const level = createLevel();
    level.c.set(F.GUEST_IDTR_LIMIT, 0);
    expect(run(level, 'ud2')).toBe(R.TRIPLE_FAULT);
  });
});

describe('control registers', () => {
  it('show the read shadow of bits that the host owns, and exit when L2 changes them', () => {
    const level = createLevel();
    level.c.set(F.CR4_GUEST_HOST_MASK, 0x2000);
    level.c.set(F.CR4_READ_SHADOW, 0);
    expect(run(level, 'mov rax, cr4')).toBe(R.VMCALL);
    expect(gpr(level, RAX)).toBe(0x20);
    level.c.set(F.GUEST_RIP, Place.L2);
    expect(run(level, 'mov rax, cr4\nmov cr4, rax')).toBe(R.VMCALL);
    level.c.set(F.GUEST_RIP, Place.L2);
    expect(run(level, 'mov rax, cr4\nbts rax, 13\nmov cr4, rax')).toBe(R.CONTROL_REGISTER);
    expect(qualification(level)).toEqual([4, 0]);
    expect(level.c.lo(F.GUEST_CR4)).toBe(0x2020);
  });

  it('exit on CLTS and LMSW by the mask of CR0', () => {
    const level = createLevel();
    level.c.set(F.CR0_GUEST_HOST_MASK, 8);
    level.c.set(F.CR0_READ_SHADOW, 8);
    level.c.set(F.GUEST_CR0, level.c.lo(F.GUEST_CR0) | 8);
    expect(run(level, 'clts')).toBe(R.CONTROL_REGISTER);
    expect(qualification(level)).toEqual([0x20, 0]);
    const other = createLevel();
    other.c.set(F.CR0_GUEST_HOST_MASK, 8);
    expect(run(other, 'mov eax, 9\nlmsw ax')).toBe(R.CONTROL_REGISTER);
    expect(qualification(other)).toEqual([0x9_0030, 0]);
  });

  it('let CR3 be loaded with target values', () => {
    for (const [count, reason] of [
      [1, R.VMCALL],
      [0, R.CONTROL_REGISTER],
    ] as const) {
      const level = createLevel();
      arrangeControl(level.c, 'proc1', 'CR3_LOAD_EXITING', true);
      level.c.set(F.CR3_TARGET_COUNT, count);
      level.c.set(F.CR3_TARGET_0, Place.CR3);
      expect(run(level, `mov eax, ${Place.CR3}\nmov cr3, rax`)).toBe(reason);
    }
  });
});

describe('EPT', () => {
  it('violations tell the access, the rights and both addresses', () => {
    const level = createLevel();
    arrangeEpt(level, 0xb1);
    expect(run(level, 'mov rax, [0x200010]\nmov [0x200018], rax')).toBe(R.EPT_VIOLATION);
    expect(qualification(level)[0]! & 0x1ff).toBe(0x18a);
    expect([level.c.lo(F.GUEST_PHYSICAL_ADDRESS), level.c.lo(F.GUEST_LINEAR_ADDRESS)]).toEqual([0x20_0018, 0x20_0018]);
    expect(level.c.lo(F.GUEST_RIP)).toBe(Place.L2 + 8);
  });

  it('misconfigurations are exits of their own', () => {
    const level = createLevel();
    arrangeEpt(level, 0xb2);
    expect(run(level, 'mov rax, [0x200010]')).toBe(R.EPT_MISCONFIGURATION);
    expect(level.c.lo(F.GUEST_PHYSICAL_ADDRESS)).toBe(0x20_0010);
  });

  it('unrestricted guests run in real mode', () => {
    const level = createLevel();
    arrangeEpt(level, 0xb7);
    arrangeControl(level.c, 'proc2', 'UNRESTRICTED_GUEST', true);
    const { c } = level;
    c.set(F.ENTRY_CONTROLS, c.entry & ~Entry.IA32E_MODE_GUEST);
    c.set(F.GUEST_CR0, 0x30);
    c.set(F.GUEST_CR4, 0x2000);
    c.set(F.GUEST_CS_SELECTOR, 0x3100);
    c.set(F.GUEST_CS_BASE, Place.L2);
    c.set(F.GUEST_CS_LIMIT, 0xffff);
    c.set(F.GUEST_CS_ACCESS_RIGHTS, 0x9b);
    c.set(F.GUEST_RIP, 0);
    level.memory.write(Place.L2, Uint8Array.of(0xb8, 0x34, 0x12, 0x0f, 0x01, 0xc1));
    expect(level.enter()).toBe(R.VMCALL);
    expect(gpr(level, RAX) & 0xffff).toBe(0x1234);
  });
});

describe('VM functions and VMCS shadowing', () => {
  it('switch the EPT by the list, and exit for an entry that is none', () => {
    const level = createLevel();
    arrangeEpt(level, 0xb7);
    const { c, memory } = level;
    arrangeControl(c, 'vmfunc', 'EPTP_SWITCHING', true);
    memory.write32(0x1_1008, 0x1_7000 | 0x1e);
    memory.write32(0x1_7000, 0x1_8007);
    memory.write32(0x1_8000, 0x1_9007);
    memory.write32(0x1_9000, 0xb7);
    // The second EPT shows the first 2 MiB where the first one shows the second.
    memory.write32(0x1_9008, 0xb7);
    memory.write32(0x20_0000 + DATA, 0x1111);
    memory.write32(DATA, 0x2222);
    const code = `mov ebx, [${0x20_0000 + DATA}]\nxor eax, eax\nmov ecx, 1\nvmfunc\nmov edx, [${0x20_0000 + DATA}]`;
    expect(run(level, code)).toBe(R.VMCALL);
    expect([gpr(level, 3), gpr(level, 2)]).toEqual([0x1111, 0x2222]);
    expect(c.lo(F.EPT_POINTER)).toBe(0x1_7000 | 0x1e);
    c.set(F.GUEST_RIP, Place.L2);
    expect(run(level, 'xor eax, eax\nmov ecx, 600\nvmfunc')).toBe(R.VMFUNC);
  });

  it('let L2 read and write the shadow VMCS where the bitmaps say so', () => {
    const level = createLevel();
    const { c, memory } = level;
    arrangeControl(c, 'proc2', 'VMCS_SHADOWING', true);
    memory.write32(0x2_5000, level.vmx.capabilities.revision | (1 << 31));
    c.set(F.VMCS_LINK_POINTER, 0x2_5000);
    memory.write32(0x2_5000 + 4 * F.GUEST_RIP, 0x5555);
    expect(run(level, 'mov eax, 0x681e\nvmread rbx, rax\nmov ecx, 0x77\nmov eax, 0x681c\nvmwrite rax, rcx')).toBe(R.VMCALL);
    expect(gpr(level, 3)).toBe(0x5555);
    expect(memory.read32(0x2_5000 + 4 * F.GUEST_RSP)).toBe(0x77);
    memory.write8(0xc000 + (0x681e >> 3), 1 << (0x681e & 7));
    c.set(F.GUEST_RIP, Place.L2);
    expect(run(level, 'mov eax, 0x681e\nvmread rbx, rax')).toBe(R.VMREAD);
  });
});

describe('the virtual APIC', () => {
  const VAPIC = 0x4000;
  const tpr = (level: Level): number => level.memory.read8(VAPIC + 0x80);

  it('keeps CR8 in the virtual-APIC page, and exits below the threshold', () => {
    const level = createLevel();
    arrangeControl(level.c, 'proc1', 'USE_TPR_SHADOW', true);
    expect(run(level, 'mov eax, 5\nmov cr8, rax\nmov rbx, cr8')).toBe(R.VMCALL);
    expect([tpr(level), gpr(level, 3)]).toEqual([0x50, 5]);
    level.c.set(F.TPR_THRESHOLD, 3);
    level.c.set(F.GUEST_RIP, Place.L2);
    expect(run(level, 'mov eax, 2\nmov cr8, rax\nnop')).toBe(R.TPR_BELOW_THRESHOLD);
    expect(tpr(level)).toBe(0x20);
  });

  it('has an access page of its own: TPR is virtualized, other offsets exit', () => {
    const level = createLevel();
    arrangeControl(level.c, 'proc1', 'USE_TPR_SHADOW', true);
    arrangeControl(level.c, 'proc2', 'VIRTUALIZE_APIC_ACCESSES', true);
    level.c.set(F.APIC_ACCESS_ADDRESS, 0x2_6000);
    expect(run(level, 'mov eax, 0x30\nmov [0x26080], eax\nmov ebx, [0x26080]')).toBe(R.VMCALL);
    expect([tpr(level), gpr(level, 3)]).toEqual([0x30, 0x30]);
    level.c.set(F.GUEST_RIP, Place.L2);
    expect(run(level, 'mov eax, [0x26300]')).toBe(R.APIC_ACCESS);
    expect(qualification(level)).toEqual([0x300, 0]);
  });

  it('delivers the interrupts of RVI, and ends them with a virtualized EOI', () => {
    const level = createLevel();
    arrangeHandlers(level);
    const { c, memory } = level;
    arrangeControl(c, 'proc2', 'VIRTUAL_INTERRUPT_DELIVERY', true);
    arrangeControl(c, 'proc2', 'VIRTUALIZE_X2APIC_MODE', true);
    c.set(F.GUEST_RFLAGS, 0x202);
    c.set(F.GUEST_INTERRUPT_STATUS, 0x21);
    memory.write32(VAPIC + 0x210, 1 << 1);
    expect(run(level, 'nop')).toBe(R.VMCALL);
    expect(c.lo(F.GUEST_RIP)).toBe(HANDLER);
    expect(c.lo(F.GUEST_INTERRUPT_STATUS)).toBe(0x2100);
    expect([memory.read32(VAPIC + 0x110), memory.read32(VAPIC + 0x210)]).toEqual([2, 0]);
    arrangeControl(c, 'proc1', 'USE_MSR_BITMAPS', true);
    c.set(F.EOI_EXIT_BITMAP_0, 0, 2);
    c.set(F.GUEST_RIP, Place.L2);
    expect(run(level, 'mov ecx, 0x80b\nxor eax, eax\nxor edx, edx\nwrmsr')).toBe(R.VIRTUALIZED_EOI);
    expect(qualification(level)).toEqual([0x21, 0]);
    expect(c.lo(F.GUEST_INTERRUPT_STATUS)).toBe(0);
  });
});

describe('MSR lists', () => {
  const LIST = 0x1_4000;
  const entry = (level: Level, at: number, values: readonly number[]): void => values.forEach((value, i) => level.memory.write32(at + 4 * i, value));

  it('are loaded at the entry, stored and loaded at the exit', () => {
    const level = createLevel();
    const { c, memory } = level;
    entry(level, LIST, [0xc000_0102, 0, 0x1111, 0]);
    entry(level, LIST + 0x100, [0xc000_0102, 0, 0, 0]);
    entry(level, LIST + 0x200, [0xc000_0102, 0, 0x3333, 0]);
    for (const [kind, offset] of [
      ['ENTRY_MSR_LOAD', 0],
      ['EXIT_MSR_STORE', 0x100],
      ['EXIT_MSR_LOAD', 0x200],
    ] as const) {
      c.set(F[`${kind}_COUNT`], 1);
      c.set(F[`${kind}_ADDRESS`], LIST + offset);
    }
    arrangeControl(c, 'proc1', 'USE_MSR_BITMAPS', true);
    expect(run(level, 'mov ecx, 0xc0000102\nrdmsr\nmov ebx, eax\nmov eax, 0x2222\nxor edx, edx\nwrmsr')).toBe(R.VMCALL);
    expect(gpr(level, 3)).toBe(0x1111);
    expect(memory.read32(LIST + 0x108)).toBe(0x2222);
    level.host('mov ecx, 0xc0000102\nrdmsr');
    expect(gpr(level, RAX)).toBe(0x3333);
  });

  it('end the entry with the number of the entry that cannot be loaded', () => {
    const level = createLevel();
    entry(level, LIST, [0x174, 0, 8, 0]);
    entry(level, LIST + 16, [0xc000_0100, 0, 0, 0]);
    level.c.set(F.ENTRY_MSR_LOAD_COUNT, 2);
    level.c.set(F.ENTRY_MSR_LOAD_ADDRESS, LIST);
    expect(run(level, 'nop') >>> 0).toBe(0x8000_0022);
    expect(qualification(level)).toEqual([2, 0]);
  });
});

describe('time', () => {
  it('has an offset and a multiplier for L2', () => {
    const read = (arrange: (level: Level) => void): number => {
      const level = createLevel();
      arrange(level);
      expect(run(level, 'rdtsc\nshl rdx, 32\nor rax, rdx')).toBe(R.VMCALL);
      return gpr(level, RAX) + level.w[1]! * 2 ** 32;
    };
    const plain = read(() => undefined);
    const shifted = read(({ c }) => {
      arrangeControl(c, 'proc1', 'USE_TSC_OFFSETTING', true);
      c.set(F.TSC_OFFSET, 0, 0x100);
    });
    const doubled = read(({ c }) => {
      arrangeControl(c, 'proc1', 'USE_TSC_OFFSETTING', true);
      arrangeControl(c, 'proc2', 'USE_TSC_SCALING', true);
      c.set(F.TSC_MULTIPLIER, 0, 0x100_0000);
    });
    expect(Math.floor(shifted / 2 ** 32)).toBe(Math.floor(plain / 2 ** 32) + 0x100);
    expect(doubled / plain).toBeGreaterThan(128);
    expect(doubled / plain).toBeLessThan(512);
  });
});

describe('event injection', () => {
  const inject = (information: number, length = 0, rip = Place.L2): Level => {
    const level = createLevel();
    arrangeHandlers(level);
    level.c.set(F.ENTRY_INTERRUPTION_INFORMATION, information);
    level.c.set(F.ENTRY_EXCEPTION_ERROR_CODE, 0x10);
    level.c.set(F.ENTRY_INSTRUCTION_LENGTH, length);
    level.c.set(F.GUEST_RFLAGS, 0x202);
    level.c.set(F.GUEST_RIP, rip);
    return level;
  };

  it('delivers interrupts, NMIs, exceptions and software events through the IDT of L2', () => {
    for (const [information, length, savedRip] of [
      [0x8000_0020, 0, Place.L2],
      [0x8000_0202, 0, Place.L2],
      [0x8000_0306, 0, Place.L2],
      [0x8000_0b0d, 0, Place.L2],
      [0x8000_0430, 2, Place.L2 + 2],
      [0x8000_0501, 1, Place.L2 + 1],
      [0x8000_0603, 1, Place.L2 + 1],
    ] as const) {
      const level = inject(information, length);
      expect(run(level, 'nop'), information.toString(16)).toBe(R.VMCALL);
      expect(level.c.lo(F.GUEST_RIP), information.toString(16)).toBe(HANDLER);
      const rsp = level.c.lo(F.GUEST_RSP);
      const hasError = (information & 0x800) !== 0;
      expect(level.memory.read32(hasError ? rsp + 8 : rsp)).toBe(savedRip);
      if (hasError) expect(level.memory.read32(rsp)).toBe(0x10);
      expect(level.c.lo(F.ENTRY_INTERRUPTION_INFORMATION) < 0).toBe(false);
    }
  });

  it('of a monitor trap exits before the first instruction', () => {
    const level = inject(0x8000_0700);
    expect(run(level, 'mov eax, 77')).toBe(R.MONITOR_TRAP_FLAG);
    expect(level.c.lo(F.GUEST_RIP)).toBe(Place.L2);
  });

  it('keeps what was being delivered when delivery itself exits', () => {
    const level = inject(0x8000_0306);
    level.c.set(F.GUEST_IDTR_BASE, 0x4000_0000);
    level.c.set(F.EXCEPTION_BITMAP, 1 << 14);
    expect(run(level, 'nop')).toBe(R.EXCEPTION_OR_NMI);
    expect(level.c.lo(F.IDT_VECTORING_INFORMATION) >>> 0).toBe(0x8000_0306);
    expect(level.c.lo(F.EXIT_INTERRUPTION_INFORMATION) & 0xff).toBe(14);
  });
});

describe('the state of the guest', () => {
  it('is saved as it was, and L1 has its own back', () => {
    const level = createLevel();
    const { c } = level;
    expect(run(level, `mov rsp, 0x123450\nmov rax, 0x31\nmov dr7, rax\nxor edx, edx\nmov fs, dx\nstc`)).toBe(R.VMCALL);
    expect([c.lo(F.GUEST_RSP), c.lo(F.GUEST_RFLAGS) & 1, c.lo(F.GUEST_FS_SELECTOR)]).toEqual([0x12_3450, 1, 0]);
    expect(c.lo(F.GUEST_FS_ACCESS_RIGHTS) & 0x1_0000).toBe(0x1_0000);
    expect(c.lo(F.EXIT_INSTRUCTION_LENGTH)).toBe(3);
    const rflags = level.host('nop');
    expect(rflags & 0xffff).toBe(2);
    expect(level.memory.read32(DATA)).toBe(Place.VMXON);
  });
});
