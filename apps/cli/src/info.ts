import type { Machine } from '@nestvm/machine';
import { levelTable } from './levels.js';
import { VERSION } from './version.js';

const REGISTERS = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'];
const hex = (value: bigint, digits = 16): string => value.toString(16).padStart(digits, '0');

/** Text for the monitor's `info WHAT`; undefined when there is no such thing. */
export function describe(machine: Machine, what: string, running: boolean): string | undefined {
  switch (what) {
    case 'status':
      return `VM status: ${running ? 'running' : 'paused'}\n`;
    case 'version':
      return `${VERSION}\n`;
    case 'registers':
      return machine.cpus.map((_, i) => registers(machine, i)).join('');
    case 'cpus':
      return machine.cpus
        .map((cpu, i) => `* CPU #${i}: rip=0x${hex(cpu.rip)} activity=${cpu.get32('activity')} retired=${machine.executors[i]!.retired}\n`)
        .join('');
    case 'levels':
      return levelTable(machine.levels())
        .map((line) => `${line}\n`)
        .join('');
    case 'memory':
      return machine.arena.allocations
        .map(({ name, offset, bytes }) => `${offset.toString(16).padStart(9, '0')} ${bytes.toString(16).padStart(9)} ${name}\n`)
        .join('');
    case 'timers':
      return machine.clock
        .armedTimers()
        .map(({ name, deadlineNs }) => `${name.padEnd(24)} in ${((deadlineNs - machine.clock.nowNs()) / 1e6).toFixed(3)} ms\n`)
        .join('');
    case 'devices':
      return savable(machine)
        .map(([name, device]) => `${name}: ${JSON.stringify(device.save())}\n`)
        .join('');
    default:
      return undefined;
  }
}

interface Savable {
  save(): unknown;
}

const savable = (machine: Machine): [string, Savable][] =>
  [...machine.platform.devices, ...machine.platform.localApics].flatMap((device) =>
    'save' in device ? [[device.name, device as unknown as Savable] as [string, Savable]] : [],
  );

/** Registers of one vCPU as text. */
function registers(machine: Machine, index: number): string {
  const cpu = machine.cpus[index]!;
  const general = REGISTERS.map((name, i) => `${name.toUpperCase().padEnd(3)}=${hex(cpu.gpr(i))}${i % 4 === 3 ? '\n' : ' '}`).join('');
  const control = (['cr0', 'cr2', 'cr3', 'cr4', 'efer'] as const).map((name) => `${name.toUpperCase()}=${hex(cpu.get64(name))}`).join(' ');
  return `CPU#${index}\n${general}RIP=${hex(cpu.rip)} RFL=${hex(BigInt(cpu.readRflags() >>> 0), 8)} CPL=${cpu.get32('cpl')} activity=${cpu.get32('activity')} shadow=${cpu.get32('interruptibility')} intr=${cpu.interrupts.intr()} attention=${cpu.attention}\n${control}\n`;
}
