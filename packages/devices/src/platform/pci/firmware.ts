import type { BarOptions } from './bar.js';
import type { PciFunction } from './function.js';
import type { PciHost } from './host.js';
import { PciCommand, PciConfig } from './registers.js';

/** Windows from which BARs get their addresses. */
export interface PciWindows {
  readonly ioBase: number;
  readonly ioLimit: number;
  readonly memoryBase: number;
  readonly memoryLimit: number;
  /** Interrupt line to note for a slot and pin (0-3): information for guests without ACPI. */
  readonly interruptLine?: (slot: number, pin: number) => number;
}

/**
 * What firmware does to PCI before a kernel runs: gives each BAR an address (largest first), notes interrupt lines, enables decoding.
 * Call after every reset. BARs that do not fit stay unassigned, and their function disabled for that space.
 */
export function assignPciResources(host: PciHost, windows: PciWindows): void {
  const wanted: { pciFunction: PciFunction; bar: BarOptions }[] = [];
  host.functions.forEach((pciFunction, devfn) => {
    if (pciFunction === undefined) return;
    for (const { options } of pciFunction.bars) wanted.push({ pciFunction, bar: options });
    const pin = pciFunction.config[PciConfig.INTERRUPT_PIN];
    if (pin > 0 && windows.interruptLine && pciFunction.config[PciConfig.INTERRUPT_LINE] === 0) {
      pciFunction.writeConfig(PciConfig.INTERRUPT_LINE, 1, windows.interruptLine(devfn >> 3, pin - 1));
    }
  });
  wanted.sort((a, b) => b.bar.size - a.bar.size);
  let io = windows.ioBase;
  let memory = windows.memoryBase;
  for (const { pciFunction, bar } of wanted) {
    const isIo = bar.kind === 'io';
    const base = Math.ceil((isIo ? io : memory) / bar.size) * bar.size;
    if (base + bar.size > (isIo ? windows.ioLimit : windows.memoryLimit)) continue;
    if (isIo) io = base + bar.size;
    else memory = base + bar.size;
    pciFunction.writeConfig(PciConfig.BARS + 4 * bar.index, 4, base);
    const command = pciFunction.get16(PciConfig.COMMAND) | (isIo ? PciCommand.IO : PciCommand.MEMORY);
    pciFunction.writeConfig(PciConfig.COMMAND, 2, command);
  }
}
