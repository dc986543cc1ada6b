import { CR4, INTERRUPTIBILITY, Shadow } from '@nestvm/cpu/extension';
import { Cr4, vcpuState } from '@nestvm/isa';
import { F } from '../../src/fields/layout.js';
import { VmxWord } from '../../src/state.js';
import { Place } from '../level.js';
import { createFuzzMachine, type FuzzMachine } from './machine.js';

const OPERAND = Place.DATA + 0x20;
const RAX = 0;
const RIP = vcpuState.offset.rip / 4;
const ACTIVITY = vcpuState.offset.activity / 4;
const RSP = vcpuState.offset.gpr / 4 + 8;
const R15 = vcpuState.offset.gpr / 4 + 30;
const CODE_STEP = 0x40;
const CF = 1;
const ZF = 0x40;
const OTHER = 0x10_0000;
/** Pages of physical memory that a pointer may lead to: VMCSs, other RAM, its end, nothing. */
const PAGES = [Place.VMCS, Place.VMXON, Place.DATA, OTHER, 0x3f_f000, 0x40_0000, 0xfee0_0000, 0xffff_f000];

const INSTRUCTIONS = ['vmxon', 'vmptrld', 'vmclear', 'vmptrst', 'invept', 'invvpid', 'vmxoff'] as const;
type Name = (typeof INSTRUCTIONS)[number];

/** Outcomes: VMsucceed, VMfailInvalid, the number of a VMfailValid, or a fault. */
type Outcome = 'succeed' | 'invalid' | number | 'fault';

/** What the manual says of the pointer operand of each instruction, apart from the implementation. `width`: bits of physical addresses. */
function expected(name: Name, machine: FuzzMachine, lo: number, hi: number, type: number): Outcome {
  const { level } = machine;
  const { memory, vmx } = level;
  const width = vmx.capabilities.physicalBits;
  const wide = hi >>> 0 >= 2 ** (width - 32);
  const address = (hi >>> 0) * 4294967296 + (lo >>> 0);
  const valid = (lo & 0xfff) === 0 && !wide;
  const failure = (error: number): Outcome => (vmx.regionAddress < 0 ? 'invalid' : error);
  switch (name) {
    case 'vmxon':
      if ((level.w[CR4]! & Cr4.VMXE) === 0) return 'fault';
      if (vmx.on) return failure(15);
      return valid && memory.read32(address) === vmx.capabilities.revision ? 'succeed' : 'invalid';
    case 'vmxoff':
      return vmx.on ? 'succeed' : 'fault';
    case 'vmptrst':
      return vmx.on ? 'succeed' : 'fault';
    case 'vmptrld': {
      if (!vmx.on) return 'fault';
      if (!valid) return failure(9);
      if (address === Place.VMXON) return failure(10);
      const known = ((memory.read32(address) & 0x7fff_ffff) | 0) === vmx.capabilities.revision;
      return known && memory.arenaOffsetOf(address) >= 0 ? 'succeed' : failure(11);
    }
    case 'vmclear':
      if (!vmx.on) return 'fault';
      if (!valid) return failure(2);
      return address === Place.VMXON ? failure(3) : 'succeed';
    case 'invept': {
      if (!vmx.on) return 'fault';
      if (type !== 1 && type !== 2) return failure(28);
      const memoryType = lo & 7;
      const walk = (lo >>> 3) & 7;
      const good = (memoryType === 0 || memoryType === 6) && (walk === 3 || walk === 4) && (lo & 0xf80) === 0 && !wide;
      return type === 2 || good ? 'succeed' : failure(28);
    }
    case 'invvpid': {
      if (!vmx.on) return 'fault';
      const tag = lo & 0xffff;
      if (type < 0 || type > 3 || lo >>> 16 !== 0 || hi !== 0 || (type !== 2 && tag === 0)) return failure(28);
      const upper = memory.read32(OPERAND + 12) | 0;
      return type === 0 && upper >> 15 !== 0 && upper >> 15 !== -1 ? failure(28) : 'succeed';
    }
  }
}

/** What the instruction did. */
function outcome({ level: { w, c, vmx } }: FuzzMachine): Outcome {
  if (w[ACTIVITY] === 2) return 'fault';
  const flags = w[R15]!;
  if ((flags & CF) !== 0) return 'invalid';
  if ((flags & ZF) === 0) return 'succeed';
  return vmx.i32[vmx.region + F.INSTRUCTION_ERROR] ?? c.lo(F.INSTRUCTION_ERROR);
}

function pointer({ random }: FuzzMachine): readonly [number, number] {
  const page = random.below(3) === 0 ? random.word() & ~0xfff : PAGES[random.below(PAGES.length)]!;
  const low = random.below(3) === 0 ? random.below(0x1000) : random.below(4) === 0 ? 0x1e : 0;
  const high = random.below(4) === 0 ? random.word() : random.below(8) === 0 ? 1 << random.below(32) : 0;
  return [page | low, high];
}

/**
 * VMXON, VMPTRLD, VMCLEAR, VMPTRST, INVEPT, INVVPID with pointers that are misaligned, too wide, lead to nothing or to what is no VMCS, with and without CR4.VMXE and VMX
 * operation: each answer is compared with the manual's. Gives how often each was seen; throws at the first that differs. `only`: this instruction alone.
 */
export function fuzzPointers(seed: number, rounds: number, only?: (typeof INSTRUCTIONS)[number]): Record<string, number> {
  const counts: Record<string, number> = {};
  const machine = createFuzzMachine(seed, (level) => {
    level.w[RSP] = Place.L1_STACK;
    level.w[RSP + 1] = 0;
    INSTRUCTIONS.forEach((name, i) => {
      const operand = name === 'vmxoff' ? '' : name.startsWith('inv') ? ` rax, [${OPERAND}]` : ` qword [${OPERAND}]`;
      level.prepareHost(`${name}${operand}\npushfq\npop r15\nhlt`, Place.L1 + CODE_STEP * i);
    });
  });
  const { random, level } = machine;
  const { w, memory, vmx } = level;
  for (let round = 0; round < rounds; round++) {
    machine.restore();
    const which = only === undefined ? random.below(INSTRUCTIONS.length) : INSTRUCTIONS.indexOf(only);
    const name = INSTRUCTIONS[which]!;
    memory.write32(OTHER, random.below(3) === 0 ? random.word() >>> 0 : (vmx.capabilities.revision | (random.below(2) << 31)) >>> 0);
    memory.write32(Place.VMCS, vmx.capabilities.revision);
    if (random.below(4) === 0) vmx.setCurrent(-1);
    if (random.below(3) === 0) {
      vmx.setCurrent(-1);
      w[VmxWord.ON] = 0;
      if (random.below(2) === 0) w[CR4] = w[CR4]! & ~Cr4.VMXE;
    }
    w[INTERRUPTIBILITY] = random.below(8) === 0 ? Shadow.STI : 0;
    const [lo, hi] = pointer(machine);
    memory.write32(OPERAND, lo >>> 0);
    memory.write32(OPERAND + 4, hi >>> 0);
    memory.write32(OPERAND + 8, random.word() >>> 0);
    memory.write32(OPERAND + 12, (random.below(2) === 0 ? 0 : random.word()) >>> 0);
    const type = random.below(6) - 1;
    w[RAX] = type;
    w[RAX + 1] = type >> 31;
    w[RIP] = Place.L1 + CODE_STEP * which;
    w[R15] = -1;
    w[ACTIVITY] = 0;
    const wanted = expected(name, machine, lo, hi, type);
    level.run();
    const found = outcome(machine);
    if (found !== wanted)
      throw new Error(`round ${round}: ${name} of ${(hi >>> 0).toString(16)}_${(lo >>> 0).toString(16)} type ${type}: ${found}, not ${wanted}`);
    counts[`${name} ${found}`] = (counts[`${name} ${found}`] ?? 0) + 1;
  }
  return counts;
}
