import type { AcpiConfig } from '@nestvm/boot';
import {
  ACPI_PM_CHIPS,
  COM_PORTS,
  FwCfgPort,
  PCI_HOTPLUG_BYTES,
  PCI_HOTPLUG_GPE,
  PCI_HOTPLUG_PORTS,
  Q35_ECAM_BASE,
  SleepType,
  SMI_COMMAND_PORT,
} from '@nestvm/devices/platform';
import type { Board, BoardPart, RamLayout } from './boards.js';
import { cpuCount, type MachineConfig } from './config.js';
import { virtioMmioPlaces } from './virtio.js';

const IO_APIC = 0xfec00000;
const HPET = 0xfed00000;
const SCI = 9;
const PCI_MEMORY_END = 0xfec00000;
const slotsFrom = (first: number, last: number): number[] => Array.from({ length: last - first + 1 }, (_, i) => first + i);
/** Slots whose devices may come and go: all but the chipset's own. */
const HOTPLUG_SLOTS = { i440fx: slotsFrom(2, 31), q35: slotsFrom(1, 30) } as const;
/** PCI windows start on a boundary that leaves room for RAM of any size below. */
const PCI_GRANULE = 0x10000000;

/**
 * What the ACPI tables of a machine say, or undefined where the board has none or they are switched off. `pmBase`: where firmware has put power management
 * (default: where ours does).
 */
export function machineAcpi(
  config: MachineConfig,
  board: Board,
  ram: RamLayout,
  parts: ReadonlySet<BoardPart>,
  pmBase?: number,
): AcpiConfig | undefined {
  if (!parts.has('acpi') || !config.cpu.has('apic')) return undefined;
  const chip = board.pm === 'none' ? undefined : ACPI_PM_CHIPS[board.pm];
  const q35 = board.chipset === 'q35';
  // Firmware puts BARs anywhere above RAM; on a q35, ECAM ends at 3 GiB.
  const holeBase = q35 ? 0xc0000000 : Math.ceil(ram.below4G / PCI_GRANULE) * PCI_GRANULE;
  return {
    chipset: board.chipset,
    apicIds: Array.from({ length: cpuCount(config) }, (_, id) => id),
    ...(parts.has('ioapic') ? { ioApic: { address: IO_APIC, id: 0 } } : {}),
    ...(parts.has('hpet') ? { hpet: { address: HPET } } : {}),
    ...(q35 ? { ecam: { address: Q35_ECAM_BASE, buses: 256 } } : {}),
    ...(chip
      ? {
          pm: {
            base: pmBase ?? chip.base,
            // Of the ICH9 they move with the block.
            gpeBase: board.pm === 'ich9' && pmBase !== undefined ? chip.gpeBase - chip.base + pmBase : chip.gpeBase,
            gpeBytes: chip.gpeBytes,
            smiCommandPort: SMI_COMMAND_PORT,
            acpiEnable: chip.acpiEnable,
            acpiDisable: chip.acpiDisable,
            timer32: false,
            sciInterrupt: SCI,
            sleepTypes: { s5: SleepType.S5, s3: SleepType.S3, s4: SleepType.S4 },
          },
        }
      : {}),
    legacy: {
      serial: (config.serial ?? []).flatMap((sink, i) => (sink && COM_PORTS[i] ? [COM_PORTS[i]] : [])),
      rtc: parts.has('rtc'),
      keyboard: parts.has('i8042'),
      pit: parts.has('pit'),
      ...(config.boot?.guestFiles?.length ? { firmwareConfig: FwCfgPort.SELECTOR } : {}),
    },
    virtioMmio: virtioMmioPlaces(config.virtio ?? [], board.chipset !== 'none'),
    ...(board.chipset === 'none'
      ? {}
      : { hotplug: { base: PCI_HOTPLUG_PORTS[board.chipset], bytes: PCI_HOTPLUG_BYTES, gpe: PCI_HOTPLUG_GPE, slots: HOTPLUG_SLOTS[board.chipset] } }),
    pciHole: { base: holeBase, end: PCI_MEMORY_END },
  };
}
