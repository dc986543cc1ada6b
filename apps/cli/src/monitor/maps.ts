import type { Machine } from '@nestvm/machine';

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');

interface Range {
  readonly base: number;
  readonly size: number;
  readonly name: string;
}

const rangeLines = (ranges: readonly Range[], digits: number): string[] =>
  [...ranges].sort((a, b) => a.base - b.base).map(({ base, size, name }) => `  ${hex(base, digits)}-${hex(base + size - 1, digits)} ${name}`);

/** `info mtree`: what answers at each physical address, and at each port. */
export function memoryTree(machine: Machine): string[] {
  const memory = machine.memory.ranges().map(({ base, size, kind }) => ({ base, size, name: kind }));
  return ['memory', ...rangeLines([...memory, ...machine.mmio.list()], 16), 'I/O ports', ...rangeLines(machine.ports.list(), 4)];
}

/** Classes of PCI functions, for people. */
export const PCI_CLASSES: Readonly<Record<number, string>> = {
  0x0100: 'SCSI controller',
  0x0101: 'IDE controller',
  0x0106: 'SATA controller',
  0x0180: 'Storage controller',
  0x0200: 'Ethernet controller',
  0x0280: 'Network controller',
  0x0300: 'VGA controller',
  0x0380: 'Display controller',
  0x0600: 'Host bridge',
  0x0601: 'ISA bridge',
  0x0680: 'Bridge',
  0x0c05: 'SMBus',
};
/** Where configuration space has what is shown. */
export const PCI = { VENDOR: 0, DEVICE: 2, CLASS: 10, SUBSYSTEM_VENDOR: 0x2c, SUBSYSTEM: 0x2e, LINE: 0x3c, PIN: 0x3d } as const;

/** `info pci`: the functions on the bus, their BARs and interrupts. */
export function pciDevices(machine: Machine): string[] {
  const host = machine.platform.pci;
  if (host === undefined) return ['this board has no PCI'];
  return host.functions.flatMap((pciFunction, devfn) => {
    if (pciFunction === undefined) return [];
    const { config } = pciFunction;
    const word = (offset: number): number => pciFunction.get16(offset);
    const lines = [
      `  Bus  0, device ${String(devfn >> 3).padStart(3)}, function ${devfn & 7}:`,
      `    ${PCI_CLASSES[word(PCI.CLASS)] ?? `Class ${hex(word(PCI.CLASS), 4)}`}: PCI device ${hex(word(PCI.VENDOR), 4)}:${hex(word(PCI.DEVICE), 4)} (${pciFunction.name})`,
    ];
    if (word(PCI.SUBSYSTEM_VENDOR) !== 0) lines.push(`      PCI subsystem ${hex(word(PCI.SUBSYSTEM_VENDOR), 4)}:${hex(word(PCI.SUBSYSTEM), 4)}`);
    if (config[PCI.PIN] !== 0) lines.push(`      IRQ ${config[PCI.LINE]}, pin ${'?ABCD'[config[PCI.PIN]!] ?? '?'}`);
    for (const { options } of pciFunction.bars) {
      const base = pciFunction.barBase(options);
      const kind = options.kind === 'io' ? 'I/O' : options.kind === 'memory64' ? '64 bit memory' : '32 bit memory';
      lines.push(`      BAR${options.index}: ${kind} at 0x${hex(base, 8)} [0x${hex(base + options.size - 1, 8)}]`);
    }
    return lines;
  });
}
