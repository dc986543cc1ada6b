import { createNullInterruptSource } from '@nestvm/cpu';
import { vcpuState } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { F } from '../src/fields/layout.js';
import { ExitReason as R } from '../src/transitions/reasons.js';
import { arrangeGates, HANDLER, run, switchOn } from './guest-code.js';
import { createLevel, type Level, Place } from './level.js';

const ACTIVITY = vcpuState.offset.activity / 4;
const UD = 6;
const VALID_EXCEPTION = 0x8000_0300;

/** All exceptions of L2 exit. */
function arrange(...controls: readonly string[]): Level {
  const level = createLevel();
  level.c.set(F.EXCEPTION_BITMAP, -1);
  switchOn(level, ...controls);
  return level;
}

const exception = (level: Level): number => level.c.lo(F.EXIT_INTERRUPTION_INFORMATION) >>> 0;

describe('enable user wait and pause', () => {
  const code = { UMONITOR: `mov ecx, ${Place.DATA}\numonitor rcx`, UMWAIT: 'xor ebx, ebx\numwait ebx', TPAUSE: 'xor ebx, ebx\ntpause ebx' };

  it.each(Object.entries(code))('%s is undefined without the control, whatever else is wrong with it', (_name, text) => {
    const level = arrange('proc1.RDTSC_EXITING');
    expect(run(level, text)).toBe(R.EXCEPTION_OR_NMI);
    expect(exception(level)).toBe(VALID_EXCEPTION + UD);
  });

  it.each([
    ['UMWAIT', R.UMWAIT],
    ['TPAUSE', R.TPAUSE],
  ] as const)('%s exits under RDTSC exiting, with its register', (name, reason) => {
    const level = arrange('proc2.ENABLE_USER_WAIT', 'proc1.RDTSC_EXITING');
    expect(run(level, code[name])).toBe(reason);
    expect(level.c.lo(F.EXIT_INSTRUCTION_LENGTH)).toBe(4);
    expect(level.c.lo(F.EXIT_INSTRUCTION_INFORMATION)).toBe((3 << 3) | (1 << 11));
    expect(run(level, code.UMONITOR), 'UMONITOR does not').toBe(R.VMCALL);
  });

  it('run in L2 with it', () => {
    const level = arrange('proc2.ENABLE_USER_WAIT');
    expect(run(level, `xor eax, eax\nxor edx, edx\n${code.UMONITOR}\n${code.UMWAIT}\n${code.TPAUSE}`)).toBe(R.VMCALL);
  });

  it('waits by the time of L2: its TSC is offset and scaled', () => {
    const level = arrange('proc2.ENABLE_USER_WAIT', 'proc1.USE_TSC_OFFSETTING', 'proc2.USE_TSC_SCALING');
    // L2's TSC counts twice for each tick of L1's, and starts at a million.
    level.c.set(F.TSC_MULTIPLIER, 0, 1 << 17);
    level.c.set(F.TSC_OFFSET, 1_000_000);
    const before = level.cpu.clock.nowNs();
    run(level, `xor ebx, ebx\nrdtsc\nadd eax, 400000\ntpause ebx`);
    expect(level.w[ACTIVITY], 'it waits').toBe(4);
    const deadline = Number(level.cpu.get64('waitDeadline'));
    expect(deadline - before).toBeGreaterThan(190_000);
    expect(deadline - before).toBeLessThan(230_000);
  });
});

describe('load PKRS', () => {
  const PKRS = 0x6e1;
  const CR4_PKS = 1 << 24;
  const PTE = 0x4_0000;
  const PAGE = 0x10_0000;
  const KEY = 5;
  const DENY = 1 << (2 * KEY);
  const readPage = `mov rbx, [${PAGE}]`;

  /** One-to-one tables for both levels, in which one page of 2 MiB has a key; CR4.PKS in both. */
  function keyed(...controls: readonly string[]): Level {
    const level = arrange(...controls);
    const { c, memory } = level;
    // The page at 0 is split, so that PAGE alone has the key.
    for (let i = 0; i < 512; i++) memory.write32(PTE + 8 * i, (i << 12) | 3);
    memory.write32(PTE + 8 * (PAGE >>> 12) + 4, KEY << 27);
    memory.write32(Place.DIRECTORY, PTE | 3);
    c.set(F.GUEST_CR4, c.lo(F.GUEST_CR4) | CR4_PKS);
    c.set(F.HOST_CR4, c.lo(F.HOST_CR4) | CR4_PKS);
    level.host(`mov rax, cr4\nor eax, ${CR4_PKS}\nmov cr4, rax\nmov rax, cr3\nmov cr3, rax`);
    return level;
  }
  const readHost = (level: Level): number => level.host(`${readPage}`);
  const hostRights = (level: Level): number => (level.host(`mov ecx, ${PKRS}\nrdmsr`), level.w[0]!);

  it('gives each level its own rights', () => {
    const level = keyed('entry.LOAD_PKRS', 'exit.LOAD_PKRS');
    level.c.set(F.GUEST_IA32_PKRS, DENY);
    level.c.set(F.HOST_IA32_PKRS, 0x30);
    expect(run(level, readPage)).toBe(R.EXCEPTION_OR_NMI);
    expect(exception(level)).toBe(0x8000_0b0e);
    expect(level.c.lo(F.EXIT_INTERRUPTION_ERROR_CODE)).toBe(0x21);
    expect(readHost(level)).toBeGreaterThan(0);
    expect(hostRights(level)).toBe(0x30);
    level.c.set(F.GUEST_IA32_PKRS, 0);
    expect(run(level, readPage)).toBe(R.VMCALL);
    expect(level.c.lo(F.GUEST_IA32_PKRS), 'saved').toBe(0);
  });

  it('lets the rights of L1 be those of L2 without the controls', () => {
    const level = keyed();
    level.host(`mov ecx, ${PKRS}\nmov eax, ${DENY}\nxor edx, edx\nwrmsr`);
    expect(run(level, readPage)).toBe(R.EXCEPTION_OR_NMI);
    expect(hostRights(level)).toBe(DENY);
    expect(level.c.lo(F.GUEST_IA32_PKRS), 'but saves them').toBe(DENY);
  });
});

describe('IA32_PERF_GLOBAL_CTRL', () => {
  const GLOBAL = 0x38f;
  const PMC0 = 0xc1;
  const COUNT_INSTRUCTIONS = 0x4300c0;
  const count = ({ cpu }: Level): number => (cpu.msrs.read(PMC0), cpu.lo);
  const global = ({ cpu }: Level): number => (cpu.msrs.read(GLOBAL), cpu.lo);

  it('is loaded for L2 and for L1, so that a counter counts one of them', () => {
    const level = arrange('entry.LOAD_PERF_GLOBAL_CTRL', 'exit.LOAD_PERF_GLOBAL_CTRL');
    level.cpu.msrs.write(0x186, COUNT_INSTRUCTIONS, 0);
    level.cpu.msrs.write(GLOBAL, 0, 0);
    level.c.set(F.GUEST_IA32_PERF_GLOBAL_CTRL, 1);
    level.c.set(F.HOST_IA32_PERF_GLOBAL_CTRL, 2);
    expect(run(level, 'nop\n'.repeat(20))).toBe(R.VMCALL);
    // VMCALL retires in no level; VMLAUNCH counts for the level that it ends in.
    expect(count(level)).toBeGreaterThanOrEqual(20);
    expect(count(level)).toBeLessThanOrEqual(22);
    expect(global(level)).toBe(2);
    const before = count(level);
    level.host('nop\n'.repeat(20));
    expect(count(level)).toBe(before);
  });

  it('is saved for L2', () => {
    const level = arrange('entry.LOAD_PERF_GLOBAL_CTRL', 'exit.LOAD_PERF_GLOBAL_CTRL', 'exit.SAVE_PERF_GLOBAL_CTRL');
    level.c.set(F.GUEST_IA32_PERF_GLOBAL_CTRL, 1);
    level.c.set(F.HOST_IA32_PERF_GLOBAL_CTRL, 2);
    const code = `mov ecx, ${GLOBAL}\nmov eax, 8\nmov edx, 4\nwrmsr`;
    switchOn(level, 'proc1.USE_MSR_BITMAPS');
    expect(run(level, code)).toBe(R.VMCALL);
    expect([level.c.lo(F.GUEST_IA32_PERF_GLOBAL_CTRL), level.c.hi(F.GUEST_IA32_PERF_GLOBAL_CTRL)]).toEqual([8, 4]);
    expect(global(level)).toBe(2);
  });

  it('belongs to both levels without the controls', () => {
    const level = arrange();
    level.cpu.msrs.write(GLOBAL, 4, 1);
    expect(run(level, 'nop')).toBe(R.VMCALL);
    expect(global(level)).toBe(4);
  });
});

describe('enable MSR-list instructions', () => {
  const PAT = 0x277;
  const list = (instruction: string): string => `mov rcx, 2\nmov esi, ${Place.DATA}\nmov edi, ${Place.DATA + 0x200}\n${instruction}`;
  /** IA32_PAT is number 1 of the list. */
  function listed(...controls: readonly string[]): Level {
    const level = arrange(...controls);
    level.memory.write32(Place.DATA + 8, PAT);
    level.memory.write32(Place.DATA + 12, 0);
    level.memory.write32(Place.DATA + 0x208, 0x0606_0606);
    level.memory.write32(Place.DATA + 0x20c, 0x0505_0505);
    return level;
  }
  const qualification = ({ c }: Level): number => c.lo(F.EXIT_QUALIFICATION);

  it.each(['rdmsrlist', 'wrmsrlist'])('%s is undefined without the control', (name) => {
    const level = listed('proc1.USE_MSR_BITMAPS');
    expect(run(level, list(name))).toBe(R.EXCEPTION_OR_NMI);
    expect(exception(level)).toBe(VALID_EXCEPTION + UD);
  });

  it.each([
    ['rdmsrlist', R.RDMSRLIST, 0],
    ['wrmsrlist', R.WRMSRLIST, 0x800],
  ] as const)('%s exits by the bitmaps, naming the MSR; without bitmaps always', (name, reason, half) => {
    const level = listed('proc3.ENABLE_MSRLIST', 'proc1.USE_MSR_BITMAPS');
    expect(run(level, list(name))).toBe(R.VMCALL);
    level.memory.write8(0x8000 + half + (PAT >> 3), 1 << (PAT & 7));
    level.memory.write32(Place.DATA + 0x208, 0x0606_0606);
    level.memory.write32(Place.DATA + 0x20c, 0x0505_0505);
    expect(run(level, list(name))).toBe(reason);
    expect([qualification(level), level.c.lo(F.EXIT_INSTRUCTION_LENGTH)]).toEqual([PAT, 4]);
    expect(level.cpu.gpr(1), 'RCX still has its bit').toBe(2n);
    if (name === 'wrmsrlist') expect([level.c.lo(F.MSR_DATA), level.c.hi(F.MSR_DATA)]).toEqual([0x0606_0606, 0x0505_0505]);
    const without = listed('proc3.ENABLE_MSRLIST');
    expect(run(without, list(name))).toBe(reason);
    expect(qualification(without)).toBe(0);
  });

  describe('with virtualized x2APIC mode', () => {
    const [VERSION, TPR, EOI] = [0x803, 0x808, 0x80b];
    const VECTOR = 0x51;
    /** L2 whose list has these registers from bit 0 on, with values; VECTOR is in service. */
    function virtual(registers: readonly (readonly [msr: number, value: number])[]): { level: Level; page: number; text: (name: string) => string } {
      const level = arrange(
        'proc3.ENABLE_MSRLIST',
        'proc1.USE_MSR_BITMAPS',
        'proc1.USE_TPR_SHADOW',
        'proc2.VIRTUALIZE_X2APIC_MODE',
        'proc2.APIC_REGISTER_VIRTUALIZATION',
        'proc2.VIRTUAL_INTERRUPT_DELIVERY',
        'pin.EXTERNAL_INTERRUPT_EXITING',
      );
      registers.forEach(([msr, value], i) => {
        level.memory.write32(Place.DATA + 8 * i, msr);
        level.memory.write32(Place.DATA + 8 * i + 4, 0);
        level.memory.write32(Place.DATA + 0x200 + 8 * i, value);
        level.memory.write32(Place.DATA + 0x204 + 8 * i, 0);
      });
      const page = level.c.lo(F.VIRTUAL_APIC_ADDRESS);
      level.memory.write32(page + 0x100 + 0x10 * (VECTOR >>> 5), 1 << (VECTOR & 31));
      level.c.set(F.GUEST_INTERRUPT_STATUS, VECTOR << 8);
      const text = (name: string): string => `mov ecx, ${2 ** registers.length - 1}\nmov esi, ${Place.DATA}\nmov edi, ${Place.DATA + 0x200}\n${name}`;
      return { level, page, text };
    }

    it('RDMSRLIST reads from the virtual-APIC page', () => {
      const { level, page, text } = virtual([
        [VERSION, 0],
        [TPR, 0],
      ]);
      level.memory.write32(page + 0x30, 0x5_0014);
      level.memory.write32(page + 0x80, 0x30);
      expect(run(level, text('rdmsrlist'))).toBe(R.VMCALL);
      expect([0, 8].map((at) => level.memory.read32(Place.DATA + 0x200 + at))).toEqual([0x5_0014, 0x30]);
    });

    it('WRMSRLIST writes there, with the EOI exit behind its register', () => {
      const arranged = (): ReturnType<typeof virtual> => {
        const made = virtual([
          [TPR, 0x20],
          [EOI, 0],
          [PAT, 0x0606_0606],
        ]);
        made.level.c.set(F.EOI_EXIT_BITMAP_0 + 2 * (VECTOR >>> 6), VECTOR & 32 ? 0 : 1 << (VECTOR & 31), VECTOR & 32 ? 1 << (VECTOR & 31) : 0);
        return made;
      };
      const { level, page, text } = arranged();
      expect(run(level, text('wrmsrlist'))).toBe(R.VIRTUALIZED_EOI);
      expect([qualification(level), level.memory.read32(page + 0x80), level.cpu.gpr(1)]).toEqual([VECTOR, 0x20, 4n]);
      expect(level.c.lo(F.GUEST_RIP), 'one register is left').toBe(Place.L2 + 15);
      const last = arranged();
      expect(run(last.level, last.text('wrmsrlist').replace('ecx, 7', 'ecx, 3'))).toBe(R.VIRTUALIZED_EOI);
      expect([last.level.cpu.gpr(1), last.level.c.lo(F.GUEST_RIP)]).toEqual([0n, Place.L2 + 19]);
    });

    it('WRMSRLIST faults on what the register may not have', () => {
      const { level, text } = virtual([[EOI, 1]]);
      expect(run(level, text('wrmsrlist'))).toBe(R.EXCEPTION_OR_NMI);
      expect([exception(level) & 0xff, level.cpu.gpr(1)]).toEqual([13, 1n]);
    });
  });

  it('WRMSRNS exits as WRMSR does, with qualification 1', () => {
    const level = arrange();
    expect(run(level, 'wrmsrns')).toBe(R.WRMSR);
    expect(qualification(level)).toBe(1);
    expect(run(level, 'wrmsr')).toBe(R.WRMSR);
    expect(qualification(level)).toBe(0);
  });
});

describe('MSR operands', () => {
  const PAT = 0x277;
  const USER_MSR_CTL = 0x1c;
  const RBX = 3 << 3;
  const VALUE = 0x0606_0606;
  const code = {
    RDMSR_IMM: `rdmsr rbx, ${PAT}`,
    WRMSRNS_IMM: `wrmsrns ${PAT}, rbx`,
    URDMSR: `urdmsr rbx, ${PAT}`,
    UWRMSR: `uwrmsr ${PAT}, rbx`,
  };
  const byRegister = { URDMSR: `mov ecx, ${PAT}\nurdmsr rbx, rcx`, UWRMSR: `mov ecx, ${PAT}\nuwrmsr rcx, rbx` };
  const isWrite = (name: string): boolean => name.includes('W');

  /** L2 may use any MSR in URDMSR and UWRMSR. */
  function permitted(...controls: readonly string[]): Level {
    const level = arrange(...controls);
    for (let at = 0; at < 0x1000; at += 4) level.memory.write32(Place.DATA + at, -1);
    level.cpu.msrs.write(USER_MSR_CTL, Place.DATA | 1, 0);
    level.cpu.setGpr(3, BigInt(VALUE));
    return level;
  }

  it.each([...Object.entries(code), ...Object.entries(byRegister)] as [keyof typeof code, string][])('%s exits by the bitmaps: %s', (name, text) => {
    const level = permitted('proc1.USE_MSR_BITMAPS');
    expect(run(level, text)).toBe(R.VMCALL);
    level.memory.write8(0x8000 + (isWrite(name) ? 0x800 : 0) + (PAT >> 3), 1 << (PAT & 7));
    expect(run(level, text)).toBe(R[name]);
    expect(level.c.lo(F.EXIT_QUALIFICATION)).toBe(PAT);
    expect(level.c.lo(F.EXIT_INSTRUCTION_INFORMATION)).toBe(RBX);
    expect(level.c.lo(F.EXIT_INSTRUCTION_LENGTH)).toBe(text.includes('\n') ? 5 : 9);
    expect(run(permitted(), text), 'always without bitmaps').toBe(R[name]);
  });

  it('what a program may not have faults before it exits', () => {
    const level = permitted();
    level.memory.write8(Place.DATA + (PAT >> 3), 0);
    expect(run(level, code.URDMSR)).toBe(R.EXCEPTION_OR_NMI);
    expect(exception(level) & 0xff).toBe(13);
    level.cpu.msrs.write(USER_MSR_CTL, Place.DATA, 0);
    expect(run(level, code.UWRMSR)).toBe(R.EXCEPTION_OR_NMI);
    expect(exception(level) & 0xff).toBe(UD);
  });

  it('registers that VMX virtualizes are so with a register operand, and EDX:EAX stay', () => {
    const TPR = 0x808;
    const level = arrange('proc1.USE_MSR_BITMAPS', 'proc1.USE_TPR_SHADOW', 'proc2.VIRTUALIZE_X2APIC_MODE');
    const page = level.c.lo(F.VIRTUAL_APIC_ADDRESS);
    expect(run(level, `mov eax, 0x11\nmov edx, 0x22\nmov ebx, 0x30\nwrmsrns ${TPR}, rbx\nxor ebx, ebx\nrdmsr rcx, ${TPR}`)).toBe(R.VMCALL);
    expect(level.memory.read32(page + 0x80)).toBe(0x30);
    expect([0, 1, 2].map((register) => level.cpu.gpr(register))).toEqual([0x11n, 0x30n, 0x22n]);
  });
});

describe('user interrupts', () => {
  const CR4_UINTR = 1 << 25;
  const NOTIFICATION = 0xec;
  const DESCRIPTOR = Place.DATA + 0x1000;
  const TARGETS = Place.DATA;
  const [MISC, PD, TT, RR] = [0x988, 0x989, 0x98a, 0x985];
  const uinv = ({ cpu }: Level): number => (cpu.msrs.read(MISC), cpu.hi);
  const requests = ({ cpu }: Level): number => (cpu.msrs.read(RR), cpu.lo);

  /** Both levels with CR4.UINTR; a descriptor with one request, and a target table that leads to it. */
  function arranged(...controls: readonly string[]): Level {
    const level = arrange(...controls);
    const { c, memory, cpu } = level;
    for (const field of [F.GUEST_CR4, F.HOST_CR4]) c.set(field, c.lo(field) | CR4_UINTR);
    cpu.msrs.write(MISC, 0, NOTIFICATION);
    cpu.msrs.write(PD, DESCRIPTOR, 0);
    cpu.msrs.write(TT, TARGETS | 1, 0);
    memory.write32(TARGETS, 0x501);
    memory.write32(TARGETS + 8, DESCRIPTOR);
    memory.write32(DESCRIPTOR, NOTIFICATION << 16);
    memory.write32(DESCRIPTOR + 4, 7 << 8);
    memory.write32(DESCRIPTOR + 8, 0x40);
    return level;
  }
  /** One external interrupt with a vector. */
  function interrupt({ cpu }: Level, vector: number): { pending: boolean; ended: number } {
    const line = { pending: true, ended: 0 };
    cpu.connectInterrupts({
      ...createNullInterruptSource(),
      intr: () => line.pending,
      acknowledge: () => ((line.pending = false), vector),
      readMsr: () => (line.ended++, false),
    });
    return line;
  }

  it('UINV is loaded for L2, saved, and cleared for L1', () => {
    const level = arranged('entry.LOAD_UINV', 'exit.CLEAR_UINV');
    level.c.set(F.GUEST_UINV, 0x77);
    expect(run(level, `mov ecx, ${MISC}\nrdmsr`)).toBe(R.RDMSR);
    switchOn(level, 'proc1.USE_MSR_BITMAPS');
    expect(run(level, `mov ecx, ${MISC}\nrdmsr`)).toBe(R.VMCALL);
    expect(level.w[4], 'EDX').toBe(0x77);
    expect(run(level, `mov ecx, ${MISC}\nxor eax, eax\nmov edx, 0x55\nwrmsr`)).toBe(R.VMCALL);
    expect([level.c.lo(F.GUEST_UINV), uinv(level)]).toEqual([0x55, 0]);
    const without = arranged();
    expect(run(without, 'nop')).toBe(R.VMCALL);
    expect([without.c.lo(F.GUEST_UINV), uinv(without)], 'saved all the same').toEqual([NOTIFICATION, NOTIFICATION]);
  });

  it('the notification is processed in L2, unless external interrupts exit', () => {
    const level = arranged();
    const line = interrupt(level, NOTIFICATION);
    expect(run(level, 'nop\nnop', 0x202)).toBe(R.VMCALL);
    expect([requests(level), line.pending]).toEqual([0x40, false]);
    expect(line.ended).toBeGreaterThan(0);
    const exits = arranged('pin.EXTERNAL_INTERRUPT_EXITING');
    interrupt(exits, NOTIFICATION);
    expect(run(exits, 'nop', 0x202)).toBe(R.EXTERNAL_INTERRUPT);
    expect(requests(exits)).toBe(0);
  });

  it('a fault of its processing exits with the interrupt as the event it came from', () => {
    const level = arranged();
    interrupt(level, NOTIFICATION);
    level.cpu.msrs.write(PD, 0x100_0000, 0);
    expect(run(level, 'nop', 0x202)).toBe(R.EXCEPTION_OR_NMI);
    expect(exception(level)).toBe(0x8000_0b0e);
    expect(level.c.lo(F.IDT_VECTORING_INFORMATION) >>> 0).toBe(0x8000_0000 + NOTIFICATION);
  });

  it('a virtual one ends at the virtual APIC, which asks the EOI-exit bitmap', () => {
    const virtual = (...controls: readonly string[]): Level => {
      const level = arranged('proc1.USE_TPR_SHADOW', 'proc2.VIRTUAL_INTERRUPT_DELIVERY', 'pin.EXTERNAL_INTERRUPT_EXITING', ...controls);
      level.c.set(F.GUEST_INTERRUPT_STATUS, NOTIFICATION);
      level.memory.write32(level.c.lo(F.VIRTUAL_APIC_ADDRESS) + 0x200 + 0x10 * (NOTIFICATION >>> 5), 1 << (NOTIFICATION & 31));
      return level;
    };
    const plain = virtual();
    expect(run(plain, 'nop\nnop', 0x202)).toBe(R.VMCALL);
    expect([requests(plain), plain.c.lo(F.GUEST_INTERRUPT_STATUS)]).toEqual([0x40, 0]);
    const exits = virtual();
    exits.c.set(F.EOI_EXIT_BITMAP_0 + 2 * (NOTIFICATION >>> 6), 0, 1 << (NOTIFICATION & 31));
    expect(run(exits, 'nop\nnop', 0x202)).toBe(R.VIRTUALIZED_EOI);
    expect([exits.c.lo(F.EXIT_QUALIFICATION), requests(exits), exits.c.lo(F.GUEST_RIP)]).toEqual([NOTIFICATION, 0x40, Place.L2]);
  });

  it('SENDUIPI under a virtual local APIC exits behind the instruction, with the command in its page', () => {
    for (const control of ['proc2.VIRTUALIZE_X2APIC_MODE', 'proc2.VIRTUALIZE_APIC_ACCESSES']) {
      const level = arranged('proc1.USE_TPR_SHADOW', control);
      const page = level.c.lo(F.VIRTUAL_APIC_ADDRESS);
      const x2apic = control.includes('X2APIC');
      expect(run(level, 'xor ebx, ebx\nsenduipi rbx')).toBe(R.APIC_WRITE);
      expect([level.c.lo(F.EXIT_QUALIFICATION), level.c.lo(F.GUEST_RIP)]).toEqual([0x300, Place.L2 + 6]);
      expect(level.memory.read32(page + 0x300)).toBe(NOTIFICATION);
      expect(level.memory.read32(page + (x2apic ? 0x304 : 0x310))).toBe(x2apic ? 7 << 8 : 7 << 24);
      expect(level.memory.read32(DESCRIPTOR + 8)).toBe(0x60);
    }
  });

  it('SENDUIPI without one sends through the physical APIC', () => {
    const level = arranged();
    const line = interrupt(level, 0);
    line.pending = false;
    expect(run(level, 'xor ebx, ebx\nsenduipi rbx')).toBe(R.VMCALL);
    expect(line.ended, 'the APIC was looked at').toBeGreaterThan(0);
  });
});

describe('APIC-timer virtualization', () => {
  const TSC_DEADLINE = 0x6e0;
  const VECTOR = 0x50;
  const write = (value: number): string => `mov ecx, ${TSC_DEADLINE}\nmov eax, ${value}\nxor edx, edx\nwrmsr`;
  const pair = ({ c }: Level, field: number): number[] => [c.lo(field), c.hi(field)];

  /** L2 whose accesses of IA32_TSC_DEADLINE do not exit; the virtual interrupt leads to a handler that ends in VMCALL. */
  function timed(...controls: readonly string[]): Level {
    const level = arrange('proc3.APIC_TIMER_VIRTUALIZATION', 'proc1.USE_MSR_BITMAPS', ...controls);
    arrangeGates(level, [VECTOR]);
    level.c.set(F.GUEST_IDTR_LIMIT, 0xfff);
    level.c.set(F.GUEST_GDTR_LIMIT, 0xff);
    level.c.set(F.EXCEPTION_BITMAP, 0);
    level.c.set(F.VIRTUAL_TIMER_VECTOR, VECTOR);
    return level;
  }

  it('a deadline that is past requests the vector at once, and both fields become 0', () => {
    const level = timed();
    expect(run(level, `${write(1)}\nnop\nnop\nmov ebx, 1`, 0x202)).toBe(R.VMCALL);
    expect(level.c.lo(F.GUEST_RIP)).toBe(HANDLER);
    expect([pair(level, F.GUEST_DEADLINE), pair(level, F.GUEST_DEADLINE_SHADOW)]).toEqual([
      [0, 0],
      [0, 0],
    ]);
    expect(level.c.lo(F.GUEST_INTERRUPT_STATUS) >>> 8, 'in service').toBe(VECTOR);
  });

  it('waits while interrupts are off', () => {
    const level = timed();
    expect(run(level, `${write(1)}\nnop`)).toBe(R.VMCALL);
    expect(level.c.lo(F.GUEST_RIP)).not.toBe(HANDLER);
    expect(level.c.lo(F.GUEST_INTERRUPT_STATUS) & 0xff, 'requested').toBe(VECTOR);
  });

  it('the guest reads what it has written; the deadline is in the time of the processor', () => {
    const level = timed('proc1.USE_TSC_OFFSETTING', 'proc2.USE_TSC_SCALING');
    // L2's TSC counts twice for each tick, and starts at a million.
    level.c.set(F.TSC_MULTIPLIER, 0, 1 << 17);
    level.c.set(F.TSC_OFFSET, 1_000_000);
    expect(run(level, `${write(101_000_000)}\nrdmsr`, 0x202)).toBe(R.VMCALL);
    expect([level.w[0], level.w[4]]).toEqual([101_000_000, 0]);
    expect(pair(level, F.GUEST_DEADLINE_SHADOW)).toEqual([101_000_000, 0]);
    expect(Math.abs(level.c.lo(F.GUEST_DEADLINE) - 50_000_000)).toBeLessThan(5_000);
    expect(run(level, write(0), 0x202)).toBe(R.VMCALL);
    expect(pair(level, F.GUEST_DEADLINE), '0 disarms').toEqual([0, 0]);
  });

  it('a deadline that is there at VM entry counts: past, far, none', () => {
    for (const [deadline, fires] of [
      [[1, 0], true],
      [[-1, -1], false],
      [[0, 0], false],
    ] as const) {
      const level = timed();
      level.c.set(F.GUEST_DEADLINE, deadline[0], deadline[1]);
      level.c.set(F.GUEST_DEADLINE_SHADOW, 1);
      expect(run(level, 'nop\nnop', 0x202)).toBe(R.VMCALL);
      expect(level.c.lo(F.GUEST_RIP) === HANDLER).toBe(fires);
      expect(level.c.lo(F.GUEST_DEADLINE_SHADOW)).toBe(fires ? 0 : 1);
    }
  });

  it('accesses exit by the bitmaps', () => {
    const level = timed();
    level.memory.write8(0x8800 + (TSC_DEADLINE >> 3), 1 << (TSC_DEADLINE & 7));
    expect(run(level, write(1), 0x202)).toBe(R.WRMSR);
    expect(pair(level, F.GUEST_DEADLINE)).toEqual([0, 0]);
  });
});
