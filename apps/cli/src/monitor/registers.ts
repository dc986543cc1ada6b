import { vcpuState } from '@nestvm/isa';
import type { Machine } from '@nestvm/machine';

type Cpu = Machine['cpus'][number];

const GENERAL = ['RAX', 'RBX', 'RCX', 'RDX', 'RSI', 'RDI', 'RBP', 'RSP', 'R8', 'R9', 'R10', 'R11', 'R12', 'R13', 'R14', 'R15'];
/** Numbers of those registers in instructions. */
const NUMBERS = [0, 3, 1, 2, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15];
const SEGMENTS = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS', 'LDT', 'TR'];
const FLAGS = [
  [11, 'O'],
  [10, 'D'],
  [7, 'S'],
  [6, 'Z'],
  [4, 'A'],
  [2, 'P'],
  [0, 'C'],
] as const;
const ACTIVITIES = ['running', 'HLT', 'shutdown', 'waiting for SIPI', 'MWAIT'];
const SYSTEM_TYPES: Readonly<Record<number, string>> = { 1: 'TSS16-avl', 2: 'LDT', 3: 'TSS16-busy', 9: 'TSS-avl', 11: 'TSS-busy' };

/** The first selector, as an index of 16-bit words of the state. */
const SELECTORS = vcpuState.offset.segSelector / 2;

const hex = (value: bigint | number, digits = 16): string => value.toString(16).padStart(digits, '0');

const Attribute = { TYPE: 15, CODE_OR_DATA: 1 << 4, PRESENT: 1 << 7, LONG: 1 << 13, BIG: 1 << 14, UNUSABLE: 1 << 16 } as const;

/** What a segment is, in the words of QEMU's monitor: `DPL=0 CS64 [-RA]`. */
function segmentKind(attributes: number): string {
  if ((attributes & Attribute.UNUSABLE) !== 0) return 'unusable';
  if ((attributes & Attribute.PRESENT) === 0) return 'not present';
  const type = attributes & Attribute.TYPE;
  const dpl = `DPL=${(attributes >> 5) & 3}`;
  if ((attributes & Attribute.CODE_OR_DATA) === 0) return `${dpl} ${SYSTEM_TYPES[type] ?? `type ${type}`}`;
  const size = (attributes & Attribute.LONG) !== 0 ? '64' : (attributes & Attribute.BIG) !== 0 ? '32' : '16';
  const [first, second] = (type & 8) !== 0 ? ['C', 'R'] : ['E', 'W'];
  const letters = `${type & 4 ? first : '-'}${type & 2 ? second : '-'}${type & 1 ? 'A' : '-'}`;
  return `${dpl} ${(type & 8) !== 0 ? `CS${size}` : 'DS  '} [${letters}]`;
}

function segmentLines(cpu: Cpu): string[] {
  return SEGMENTS.map((name, i) => {
    const attributes = cpu.get32('segAttributes', i);
    const selector = hex(cpu.h[SELECTORS + i]!, 4);
    return `${name.padEnd(3)}=${selector} ${hex(cpu.get64('segBase', i))} ${hex(cpu.get32('segLimit', i), 8)} ${hex(attributes, 8)} ${segmentKind(attributes)}`;
  });
}

const rows = (cells: readonly string[], width: number): string[] =>
  Array.from({ length: Math.ceil(cells.length / width) }, (_, i) => cells.slice(i * width, (i + 1) * width).join(' '));

/** What the vCPU waits for, and which world it is in. */
function condition(cpu: Cpu): string {
  const world = cpu.get32('guestMode') !== 0 ? ' guest mode' : cpu.get32('smm') !== 0 ? ' SMM' : '';
  return `${ACTIVITIES[cpu.get32('activity')] ?? 'unknown'}${world}, interrupt shadow ${cpu.get32('interruptibility')}, INTR ${cpu.interrupts.intr() ? 1 : 0}`;
}

function vectorLines(cpu: Cpu): string[] {
  const start = vcpuState.offset.vec / 8;
  const cells = Array.from(
    { length: 16 },
    (_, i) => `XMM${String(i).padStart(2, '0')}=${hex(cpu.q[start + 8 * i + 1]!)}${hex(cpu.q[start + 8 * i]!)}`,
  );
  return rows(cells, 2);
}

function x87Lines(cpu: Cpu): string[] {
  const top = cpu.get32('ftop');
  const start = vcpuState.offset.fpr / 8;
  const physical = (i: number): number => start + 2 * ((top + i) & 7);
  const cells = Array.from({ length: 8 }, (_, i) => `ST${i}=${hex(cpu.q[physical(i) + 1]! & 0xffffn, 4)} ${hex(cpu.q[physical(i)]!)}`);
  const status = cpu.get32('fsw') | (top << 11);
  return [
    `FCW=${hex(cpu.get32('fcw'), 4)} FSW=${hex(status, 4)} [ST=${top}] FTW=${hex(cpu.get32('ftag'), 2)} MXCSR=${hex(cpu.get32('mxcsr'), 8)}`,
    ...rows(cells, 2),
  ];
}

/** A mask of 0 is one that is not in use. */
const a20Open = (cpu: Cpu): boolean => cpu.get32('a20Mask') === 0 || (cpu.get32('a20Mask') & 0x100000) !== 0;

/** All registers of one vCPU, laid out as QEMU's `info registers`; a line each, without line ends. */
export function registerLines(cpu: Cpu): string[] {
  const flags = cpu.readRflags() >>> 0;
  const letters = FLAGS.map(([bit, letter]) => ((flags >>> bit) & 1 ? letter : '-')).join('');
  const general = GENERAL.map((name, i) => `${name.padEnd(3)}=${hex(cpu.gpr(NUMBERS[i]!))}`);
  const table = (name: string, base: 'gdtrBase' | 'idtrBase', limit: 'gdtrLimit' | 'idtrLimit'): string =>
    `${name}=     ${hex(cpu.get64(base))} ${hex(cpu.get32(limit), 8)}`;
  const debug = [0, 1, 2, 3, 6, 7].map((n) => `DR${n}=${hex(cpu.get64('dr', n))}`);
  return [
    `CPU#${cpu.index}`,
    ...rows(general, 4),
    `RIP=${hex(cpu.rip)} RFL=${hex(flags, 8)} [${letters}] CPL=${cpu.get32('cpl')} II=${cpu.get32('interruptibility') & 3 ? 1 : 0} A20=${a20Open(cpu) ? 1 : 0} SMM=${cpu.get32('smm')} HLT=${cpu.get32('activity') === 1 ? 1 : 0}`,
    condition(cpu),
    ...segmentLines(cpu),
    table('GDT', 'gdtrBase', 'gdtrLimit'),
    table('IDT', 'idtrBase', 'idtrLimit'),
    `CR0=${hex(cpu.get64('cr0'), 8)} CR2=${hex(cpu.get64('cr2'))} CR3=${hex(cpu.get64('cr3'))} CR4=${hex(cpu.get64('cr4'), 8)} CR8=${hex(cpu.get64('cr8'), 1)}`,
    ...rows(debug, 4),
    `EFER=${hex(cpu.get64('efer'))} XCR0=${hex(cpu.get64('xcr0'))}`,
    ...x87Lines(cpu),
    ...vectorLines(cpu),
  ];
}

/** UUID of a machine as people write it; zeros where it has none. */
export const machineUuid = ({ config }: Machine): string =>
  Buffer.from(config.smbios?.uuid ?? new Uint8Array(16))
    .toString('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
