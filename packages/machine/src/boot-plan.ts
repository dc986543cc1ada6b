import {
  BootError,
  type BootFile,
  type BootPlan,
  type BootWrite,
  buildAcpi,
  buildAcpiFiles,
  buildE820,
  type E820Entry,
  type FirmwareLinux,
  kernelFormat,
  loadFlat,
  loadKernel,
  splitLinux,
} from '@nestvm/boot';
import { machineAcpi } from './acpi.js';
import type { Board, BoardPart, RamLayout } from './boards.js';
import { firmwareImage, type MachineConfig } from './config.js';
import { MachineError } from './errors.js';
import { firmwareFiles, smbiosWrites } from './firmware-files.js';

/** What starts the machine: a plan, or undefined when firmware is entered at the reset vector. */
export interface Startup {
  readonly plans: readonly BootPlan[];
  /** Firmware tables that go into memory before the plans. */
  readonly tables: readonly BootWrite[];
  /** The plan whose entry the first CPU takes. */
  readonly entry: BootPlan | undefined;
  /** Firmware runs: chips start as after power-on, and it finds these files in the firmware configuration device. */
  readonly firmware: ReadonlyMap<string, Uint8Array> | undefined;
  /** The kernel that firmware is to start. */
  readonly kernel?: FirmwareLinux;
  /** The file with the ACPI tables for power management at `pmBase`. */
  readonly acpiTables?: (pmBase: number) => Uint8Array;
}

const ECAM = { base: 0xb0000000, size: 0x10000000 };

/** The memory map of a board with this much RAM. */
const e820Of = (board: Board, ram: RamLayout): E820Entry[] =>
  buildE820({ ...ram, reserved: [...(board.chipset === 'q35' ? [ECAM] : []), { base: 0xfffc0000, size: 0x40000 }] });

/** Loads what the configuration names; throws `BootError` and `MachineError` (`nothing-to-run`). */
export function createStartup(config: MachineConfig, board: Board, ram: RamLayout, parts: ReadonlySet<BoardPart>): Startup {
  const e820 = e820Of(board, ram);
  const plans: BootPlan[] = [];
  let entry: BootPlan | undefined;
  const acpi = machineAcpi(config, board, ram, parts);
  const tables = acpi && buildAcpi(acpi);
  const firmware = firmwareImage(config);
  const handed = firmware && config.kernel && splitKernel(config.kernel, config, e820);
  if (config.kernel && !handed) {
    entry = loadKernel({
      kernel: config.kernel,
      modules: config.modules ?? [],
      commandLine: config.commandLine ?? '',
      e820,
      longMode: config.cpu.has('lm'),
      ...(tables ? { rsdp: tables.rsdp, rsdpBytes: tables.rsdpBytes } : {}),
    });
    plans.push(entry);
  }
  for (const image of config.images ?? []) {
    const plan = loadFlat({ file: image.file, address: image.address, mode: image.entry ?? 'protected', e820 });
    if (image.entry) {
      if (image.entry === 'long' && !config.cpu.has('lm'))
        throw new BootError('entry-missing', `${image.file.name}: starts in long mode, which the CPU lacks; choose another model`);
      entry = plan;
      plans.push(plan);
    } else plans.push({ ...plan, writes: plan.writes.filter((write) => write.name === image.file.name) });
  }
  if (entry === undefined && firmware === undefined && config.incoming !== true)
    throw new MachineError('nothing-to-run', 'machine: neither a kernel, an image with an entry nor firmware; give one of them');
  if (entry === undefined && firmware !== undefined)
    return {
      plans,
      tables: [],
      entry,
      ...(handed ? { kernel: handed } : {}),
      firmware: firmwareFiles({ config, board, ram, ...(acpi ? { acpi } : {}) }),
      ...(acpi ? { acpiTables: (pmBase: number) => buildAcpiFiles(machineAcpi(config, board, ram, parts, pmBase)!)['etc/acpi/tables'] } : {}),
    };
  return { plans, tables: [...(tables?.writes ?? []), ...smbiosWrites(config, board, ram)], entry, firmware: undefined };
}

/** The kernel as firmware gets it; throws `BootError`. */
function splitKernel(kernel: BootFile, { modules = [], commandLine }: MachineConfig, e820: readonly E820Entry[]): FirmwareLinux {
  if (kernelFormat(kernel) !== 'linux')
    throw new BootError('unsupported', `${kernel.name}: firmware starts Linux kernels (bzImage); leave the firmware out for any other`);
  const [initrd] = modules;
  if (modules.length > 1) throw new BootError('unsupported', `-initrd: ${modules.length} files; a Linux kernel takes one: join them (cat a b > c)`);
  return splitLinux({ kernel, e820, ...(initrd ? { initrd } : {}), ...(commandLine === undefined ? {} : { commandLine }) });
}
