import type { Machine } from '@nestvm/machine';
import { UsageError } from '../errors.js';
import { describe } from '../info.js';
import { capabilityRows, parameterRows } from '../migration/parameters.js';
import { describeBalloon } from './balloon.js';
import { blockLines, networkLines } from './block.js';
import { deviceTree } from './device-tree.js';
import { evaluate } from './expression.js';
import { interruptControllerLines, interruptCountLines, localApicLines } from './interrupts.js';
import { memoryTree, pciDevices } from './maps.js';
import { mappedPages, mappedRanges } from './page-tables.js';
import { machineUuid, registerLines } from './registers.js';
import type { MonitorTarget, RunState } from './target.js';

/** One `info WHAT`: its help, and its text from the current vCPU and the words after it. */
interface InfoRow {
  readonly help: string;
  readonly show: (target: MonitorTarget, cpu: number, args: readonly string[]) => string | readonly string[];
}

const STATES: Readonly<Record<RunState, string>> = {
  running: 'running',
  paused: 'paused',
  prelaunch: 'paused (prelaunch)',
  inmigrate: 'paused (inmigrate)',
  'io-error': 'paused (io-error)',
  postmigrate: 'paused (postmigrate)',
  shutdown: 'paused (shutdown)',
};

const allRegisters = (machine: Machine, cpu: number, args: readonly string[]): string[] =>
  args[0] === '-a' ? machine.cpus.flatMap((each) => registerLines(each)) : registerLines(machine.cpus[cpu]!);

function walk(machine: Machine, cpu: number, expression: string): string[] {
  if (expression === '') throw new UsageError('write info shadow ADDR; for example info shadow $rip');
  return machine.inspector.explainTranslation(cpu, evaluate(expression, machine.cpus[cpu]!));
}

const of =
  (what: string): InfoRow['show'] =>
  (target) =>
    describe(target.machine(), what, target.state() === 'running') ?? '';

/** What `info` can show. */
export const infoRows: Readonly<Record<string, InfoRow>> = {
  status: { help: 'whether the machine runs', show: (target) => [`VM status: ${STATES[target.state()]}`] },
  name: { help: 'name of the machine', show: (target) => [target.name] },
  version: { help: 'version of Nestvm', show: of('version') },
  registers: { help: 'registers of the current CPU; -a: of all', show: (target, cpu, args) => allRegisters(target.machine(), cpu, args) },
  cpus: { help: 'the CPUs and where they are', show: of('cpus') },
  mem: { help: 'what is mapped, by rights', show: (target, cpu) => mappedRanges(target.machine(), cpu) },
  tlb: { help: 'every mapped page and where it leads', show: (target, cpu) => mappedPages(target.machine(), cpu) },
  shadow: {
    help: 'shadow ADDR: the walk of a linear address through all stages',
    show: (target, cpu, args) => walk(target.machine(), cpu, args.join(' ')),
  },
  mtree: { help: 'what answers at each address and port', show: (target) => memoryTree(target.machine()) },
  lapic: { help: 'the local APIC of the current CPU', show: (target, cpu) => localApicLines(target.machine(), cpu) },
  pic: { help: 'both PICs and the I/O APIC', show: (target) => interruptControllerLines(target.machine()) },
  irq: { help: 'how often each interrupt line was raised or taken', show: (target) => interruptCountLines(target.machine()) },
  qtree: { help: 'buses, the devices on them and what these were told', show: (target) => deviceTree(target) },
  pci: { help: 'functions on the PCI bus', show: (target) => pciDevices(target.machine()) },
  block: { help: 'drives and what is in them', show: (target) => blockLines(target) },
  chardev: {
    help: 'character devices and where they lead',
    show: (target) => target.characters().map(({ label, filename }) => `${label}: filename=${filename}`),
  },
  network: { help: 'network cards and networks', show: (target) => networkLines(target) },
  kvm: { help: 'whether another hypervisor runs the guest', show: () => ['kvm support: disabled'] },
  usb: { help: 'USB devices: there are none', show: () => ['USB support not enabled'] },
  uuid: { help: 'UUID of the machine', show: (target) => [machineUuid(target.machine())] },
  nested: { help: 'nested guests, and whether one is active', show: (target) => target.migration.describeNested() },
  lint: {
    help: 'what is wrong, or looks wrong, with the VMCS or VMCB that the current CPU would enter',
    show: (target, cpu) => target.machine().lintNested(cpu),
  },
  levels: { help: 'VM entries and exits by reason', show: of('levels') },
  migrate: { help: 'the migration that is under way', show: (target) => target.migration.describeMigration() },
  balloon: { help: 'memory that the guest has, and what it says of it', show: (target) => describeBalloon(target.machine()) },
  migrate_parameters: {
    help: 'what migrate_set_parameter sets',
    show: ({ migration: { parameters } }) => Object.entries(parameterRows).map(([name, { help, show }]) => `${name}: ${show(parameters)}  (${help})`),
  },
  migrate_capabilities: {
    help: 'what migrate_set_capability sets',
    show: ({ migration: { parameters } }) =>
      Object.entries(capabilityRows).map(([name, { help, show }]) => `${name}: ${show(parameters) ? 'on' : 'off'}  (${help})`),
  },
  memory: { help: 'what the arena holds', show: of('memory') },
  timers: { help: 'armed timers', show: of('timers') },
  devices: { help: 'state of every device', show: of('devices') },
};
