import { decodeInto, Instruction } from '@nestvm/decoder';
import { formatIntel } from '@nestvm/decoder/format';
import type { Machine, MachineTrace } from '@nestvm/machine';
import { describe } from './info.js';
import type { LogItem } from './options/log.js';

const hex = (value: bigint | number, digits = 0): string => value.toString(16).padStart(digits, '0');

/** Makes the trace that `-d` asked for; `print` takes whole lines with their ends. */
export function createTrace(items: readonly LogItem[], machine: Machine, print: (text: string) => void): MachineTrace {
  const has = (item: LogItem): boolean => items.includes(item);
  const explanations: NonNullable<MachineTrace['failedEntry']> = (cpu, extension, lines) => {
    if (has(extension)) print(lines.map((line) => `cpu${cpu}: ${line}\n`).join(''));
  };
  return {
    ...(has('int') ? { delivery: deliveryLog(machine, print) } : {}),
    ...(has('in_asm') ? { block: blockLog(machine, print) } : {}),
    ...(has('cpu_reset') ? { reset: () => print(`CPU Reset\n${describe(machine, 'registers', true)}`) } : {}),
    ...(has('guest_errors') ? { unclaimed: (space, address, value) => print(unclaimedLine(space, address, value)) } : {}),
    ...(has('unimp')
      ? { unknownMsr: (cpu, index, write) => print(`cpu${cpu}: ${write ? 'WRMSR' : 'RDMSR'} of unknown MSR 0x${hex(index >>> 0)}: #GP\n`) }
      : {}),
    ...(has('vmx') || has('svm') ? { failedEntry: explanations, refusedInstruction: explanations } : {}),
  };
}

/** Names of interruption types (SDM Vol. 3, "VM-Entry Controls for Event Injection"). */
const KINDS: Readonly<Record<number, string>> = { 0: 'interrupt', 2: 'NMI', 3: 'exception', 4: 'INT n', 5: 'INT1', 6: 'INT3 or INTO' };

function deliveryLog(machine: Machine, print: (text: string) => void): NonNullable<MachineTrace['delivery']> {
  let count = 0;
  return (index, vector, kind, error) => {
    const cpu = machine.cpus[index]!;
    const cr2 = vector === 14 ? ` CR2=${hex(cpu.get64('cr2'), 16)}` : '';
    const level = cpu.get32('guestMode') === 0 ? '' : ' guest mode';
    print(
      `${String(count++).padStart(6)}: cpu${index} v=${hex(vector, 2)} e=${error === undefined ? 'none' : hex(error >>> 0, 4)} ${KINDS[kind] ?? kind} ` +
        `cpl=${cpu.get32('cpl')} RIP=${hex(cpu.rip, 16)} RSP=${hex(cpu.gpr(4), 16)}${cr2}${level}\n`,
    );
  };
}

function blockLog(machine: Machine, print: (text: string) => void): NonNullable<MachineTrace['block']> {
  const insn = new Instruction();
  return (index, bits, bytes) => {
    let rip = machine.cpus[index]!.rip;
    const lines = [`IN: cpu${index}, ${bits}-bit code`];
    const line = (at: number, length: number, text: string): void => {
      const shown = [...bytes.subarray(at, at + length)].map((byte) => hex(byte, 2)).join(' ');
      lines.push(`0x${hex(rip, 16)}: ${shown.padEnd(30)} ${text}`);
    };
    for (let at = 0; at < bytes.length; ) {
      const length = decodeInto(insn, bytes, at, bytes.length - at, bits);
      if (length <= 0) {
        line(at, bytes.length - at, '(no instruction, or one that goes on in the next page)');
        break;
      }
      line(at, length, formatIntel(insn, { rip }));
      rip += BigInt(length);
      at += length;
    }
    print(`${lines.join('\n')}\n\n`);
  };
}

const unclaimedLine = (space: 'port' | 'memory', address: number, value: number | undefined): string =>
  `nothing at ${space} 0x${hex(address)}: ${value === undefined ? 'read as 0xff' : `write of 0x${hex(value, 2)} lost`}\n`;
