import { describe, expect, it } from 'vitest';
import { arrangeControl } from '../src/checks/arrange.js';
import type { EntryContext } from '../src/checks/context.js';
import type { ControlGroupKey } from '../src/controls/controls.js';
import { controlGroups } from '../src/controls/controls.js';
import type { ControlRow } from '../src/controls/table.js';
import { F } from '../src/fields/layout.js';
import { ExitReason } from '../src/transitions/reasons.js';
import { createLevel, type Level, Place } from './level.js';

/** What L2 executes under a control, and the exit that follows; without the control it gets to its VMCALL. */
interface Scenario {
  /** The control, as `group.NAME`; none: the exit is unconditional. */
  readonly control?: string;
  readonly arrange?: (c: EntryContext, level: Level) => void;
  readonly code: string;
  readonly reason: number;
  readonly qualification?: readonly [lo: number, hi: number];
  readonly length?: number;
  /** What happens without the control, if not the VMCALL; -1: L2 waits for an event. */
  readonly without?: number;
}

const DATA = Place.DATA;
const R = ExitReason;

const scenarios: readonly Scenario[] = [
  { code: 'cpuid', reason: R.CPUID, length: 2 },
  { code: 'invd', reason: R.INVD, length: 2 },
  { arrange: (c) => c.set(F.GUEST_CR4, 0x4_2020), code: 'xor ecx, ecx\nxor edx, edx\nmov eax, 1\nxsetbv', reason: R.XSETBV, length: 3 },
  { code: 'vmcall', reason: R.VMCALL, length: 3 },
  { code: `vmclear qword [${DATA}]`, reason: R.VMCLEAR, qualification: [DATA, 0] },
  { code: `vmptrld qword [${DATA}]`, reason: R.VMPTRLD, qualification: [DATA, 0] },
  { code: `vmptrst qword [${DATA}]`, reason: R.VMPTRST, qualification: [DATA, 0] },
  { code: `vmxon qword [${DATA}]`, reason: R.VMXON, qualification: [DATA, 0] },
  { code: 'vmxoff', reason: R.VMXOFF, length: 3 },
  { code: 'vmlaunch', reason: R.VMLAUNCH, length: 3 },
  { code: 'vmresume', reason: R.VMRESUME, length: 3 },
  { code: 'vmread rax, rcx', reason: R.VMREAD, length: 3 },
  { code: 'vmwrite rcx, rax', reason: R.VMWRITE, length: 3 },
  { code: `invept rax, [${DATA}]`, reason: R.INVEPT, qualification: [DATA, 0] },
  { code: `invvpid rax, [${DATA}]`, reason: R.INVVPID, qualification: [DATA, 0] },
  { control: 'proc1.HLT_EXITING', code: 'hlt', reason: R.HLT, length: 1, without: -1 },
  { control: 'proc1.INVLPG_EXITING', code: 'invlpg [0x123456]', reason: R.INVLPG, qualification: [0x12_3456, 0] },
  {
    control: 'proc1.MWAIT_EXITING',
    code: `mov eax, ${DATA}\nxor ecx, ecx\nxor edx, edx\nmonitor\nxor eax, eax\nmwait`,
    reason: R.MWAIT,
    qualification: [1, 0],
    length: 3,
    without: -1,
  },
  { control: 'proc1.RDPMC_EXITING', code: 'xor ecx, ecx\nrdpmc', reason: R.RDPMC, length: 2 },
  { control: 'proc1.RDTSC_EXITING', code: 'rdtsc', reason: R.RDTSC, length: 2 },
  { control: 'proc1.CR3_LOAD_EXITING', code: 'mov rax, cr3\nmov cr3, rax', reason: R.CONTROL_REGISTER, qualification: [0x003, 0], length: 3 },
  { control: 'proc1.CR3_STORE_EXITING', code: 'mov rbx, cr3', reason: R.CONTROL_REGISTER, qualification: [0x313, 0], length: 3 },
  { control: 'proc1.CR8_LOAD_EXITING', code: 'xor ecx, ecx\nmov cr8, rcx', reason: R.CONTROL_REGISTER, qualification: [0x108, 0] },
  { control: 'proc1.CR8_STORE_EXITING', code: 'mov rdx, cr8', reason: R.CONTROL_REGISTER, qualification: [0x218, 0] },
  { control: 'proc1.MOV_DR_EXITING', code: 'mov rsi, dr6', reason: R.MOV_DR, qualification: [0x616, 0], length: 3 },
  { control: 'proc1.UNCONDITIONAL_IO_EXITING', code: 'in al, 0x60', reason: R.IO, qualification: [0x60_0048, 0], length: 2 },
  {
    control: 'proc1.USE_IO_BITMAPS',
    arrange: (_c, { memory }) => memory.write8(0x6000 + (0x3f8 >> 3), 1),
    code: 'mov dx, 0x3f8\nmov al, 65\nout dx, al',
    reason: R.IO,
    qualification: [0x3f8_0000, 0],
    length: 1,
  },
  {
    control: 'proc1.USE_MSR_BITMAPS',
    arrange: (_c, { memory }) => memory.write8(0x8000 + (0x277 >> 3), 1 << 7),
    code: 'mov ecx, 0x277\nrdmsr',
    reason: R.RDMSR,
    length: 2,
    // Without bitmaps every RDMSR exits; the second MSR shows that the bitmap lets others pass.
    without: R.RDMSR,
  },
  { control: 'proc1.MONITOR_EXITING', code: `mov eax, ${DATA}\nxor ecx, ecx\nxor edx, edx\nmonitor`, reason: R.MONITOR, length: 3 },
  { control: 'proc1.PAUSE_EXITING', code: 'pause', reason: R.PAUSE, length: 2 },
  { control: 'proc1.MONITOR_TRAP_FLAG', code: 'nop\nnop', reason: R.MONITOR_TRAP_FLAG },
  { control: 'proc1.INTERRUPT_WINDOW_EXITING', code: 'sti\nnop\nnop', reason: R.INTERRUPT_WINDOW },
  { control: 'proc1.NMI_WINDOW_EXITING', code: 'nop', reason: R.NMI_WINDOW },
  { control: 'pin.ACTIVATE_PREEMPTION_TIMER', arrange: (c) => c.set(F.PREEMPTION_TIMER_VALUE, 0), code: 'nop', reason: R.PREEMPTION_TIMER },
  { control: 'proc2.DESCRIPTOR_TABLE_EXITING', code: `sgdt [${DATA}]`, reason: R.GDTR_OR_IDTR, qualification: [DATA, 0] },
  { control: 'proc2.DESCRIPTOR_TABLE_EXITING', code: 'str ax', reason: R.LDTR_OR_TR },
  { control: 'proc2.WBINVD_EXITING', code: 'wbinvd', reason: R.WBINVD, length: 2 },
  { control: 'proc2.PAUSE_LOOP_EXITING', arrange: (c) => c.set(F.PLE_GAP, -1), code: 'mov ecx, 5000\nagain:\npause\nloop again', reason: R.PAUSE },
  { control: 'proc2.RDRAND_EXITING', code: 'rdrand rax', reason: R.RDRAND, length: 4 },
  { control: 'proc2.RDSEED_EXITING', code: 'rdseed rax', reason: R.RDSEED, length: 4 },
  { control: 'proc2.ENABLE_VM_FUNCTIONS', code: 'xor eax, eax\nxor ecx, ecx\nvmfunc', reason: R.VMFUNC, without: R.EXCEPTION_OR_NMI },
];

/** The exit reason of a scenario. */
function play(scenario: Scenario, withControl: boolean): { reason: number; level: Level } {
  const level = createLevel();
  const { c } = level;
  c.set(F.EXCEPTION_BITMAP, -1);
  if (scenario.control !== undefined && withControl) {
    const [group, key] = scenario.control.split('.') as [ControlGroupKey, string];
    arrangeControl(c, group, key, true);
  }
  scenario.arrange?.(c, level);
  level.guest((a) => a.text(`${scenario.code}\nvmcall`));
  const reason = level.enter();
  return { reason, level };
}

const titleOf = ({ control, code }: Scenario): string => {
  if (control === undefined) return `${code.split('\n').at(-1)} always`;
  const [group, key] = control.split('.') as [ControlGroupKey, string];
  const row = controlGroups[group].rows.find((candidate: ControlRow) => candidate[0] === key) as ControlRow;
  return `${group}.${row[1]} ${row[2]}: ${code.split('\n').at(-1)}`;
};

describe('exits of L2 instructions', () => {
  for (const scenario of scenarios) {
    it(`${titleOf(scenario)}`, () => {
      const { reason, level } = play(scenario, true);
      expect(reason).toBe(scenario.reason);
      const { c } = level;
      if (scenario.qualification !== undefined) expect([c.lo(F.EXIT_QUALIFICATION), c.hi(F.EXIT_QUALIFICATION)]).toEqual(scenario.qualification);
      if (scenario.length !== undefined) expect(c.lo(F.EXIT_INSTRUCTION_LENGTH)).toBe(scenario.length);
    });
    if (scenario.control === undefined) continue;
    it(`${titleOf(scenario)}, without the control`, () => {
      if (scenario.without === -1) return;
      expect(play(scenario, false).reason).toBe(scenario.without ?? R.VMCALL);
    });
  }
});
