import type { Device } from '@nestvm/bus';
import { MmioSpace, PortSpace, VirtualClock } from '@nestvm/bus';
import { type Display, isDisplay, type Vga } from '@nestvm/devices/display';
import {
  AcpiPm,
  ApicBus,
  addI440Fx,
  addQ35,
  assignPciResources,
  COM_PORTS,
  DebugConsole,
  DebugExit,
  type Flash,
  FwCfg,
  FwCfgKey,
  Hpet,
  I8042,
  InterruptRouting,
  IoApic,
  initializeLikeFirmware,
  LocalApic,
  type MemoryController,
  PciHost,
  Pic,
  PicInterruptSource,
  Pit,
  PlatformWiring,
  Port92,
  ResetControl,
  Rtc,
  TestDevice,
  Uart,
} from '@nestvm/devices/platform';
import type { PhysicalMemory } from '@nestvm/memory';
import { addAta } from './ata.js';
import type { Board, BoardPart, RamLayout } from './boards.js';
import type { Startup } from './boot-plan.js';
import { cpuCount, type HostServices, type MachineConfig } from './config.js';
import { Hotplug } from './hotplug.js';
import { handLinux } from './linux-rom.js';
import { addVirtio, type VirtioConfig } from './virtio.js';

/** Lines of the board that are not interrupts. */
export interface BoardLines {
  /** The guest asks for a reset, to be made at the next instruction boundary. */
  readonly reset: () => void;
  readonly powerOff: () => void;
  readonly exit: (status: number) => void;
  readonly a20: (open: boolean) => void;
  /** Something happened outside of the vCPUs. */
  readonly wake: () => void;
}

/** What a platform is made from. */
export interface PlatformOptions {
  readonly board: Board;
  readonly parts: ReadonlySet<BoardPart>;
  readonly config: MachineConfig;
  readonly ram: RamLayout;
  readonly memory: PhysicalMemory;
  readonly ports: PortSpace;
  readonly mmio: MmioSpace;
  readonly clock: VirtualClock;
  readonly host: HostServices;
  readonly lines: BoardLines;
  readonly lowMemory: MemoryController;
  readonly startup: Startup;
  readonly vga?: Vga;
  readonly flash: readonly Flash[];
}

/** Where PCI BARs go on each chipset. */
const PCI_WINDOWS = {
  i440fx: { ioBase: 0xc000, ioLimit: 0xffff, memoryBase: 0xe0000000, memoryLimit: 0xfebfffff },
  q35: { ioBase: 0xc000, ioLimit: 0xffff, memoryBase: 0xc0000000, memoryLimit: 0xfebfffff },
} as const;

/** Delivery mode NMI of interrupt messages (SDM Vol. 3, "Local Vector Table"). */
const NMI_DELIVERY = 4;
const SMI_DELIVERY = 2;
/** What firmware tries, and how CMOS RAM says it. */
const DEFAULT_ORDER = 'cad';
const BOOT_NIBBLES: Readonly<Record<string, number>> = { a: 1, b: 1, c: 2, d: 3, n: 4 };

/** The devices of a machine, wired by the board's table. */
export class Platform {
  readonly devices: Device[] = [];
  readonly serial: (Uart | undefined)[] = [];
  readonly localApics: LocalApic[] = [];
  readonly apicBus: ApicBus | undefined;
  readonly pic: Pic | undefined;
  readonly picSource: PicInterruptSource | undefined;
  readonly pm: AcpiPm | undefined;
  readonly keyboard: I8042 | undefined;
  readonly pci: PciHost | undefined;
  /** Devices that come and go; absent where the guest would not hear of them. */
  readonly hotplug: Hotplug | undefined;
  /** Virtio devices that the machine has now. */
  readonly virtio: VirtioConfig[];
  private readonly rtc: Rtc | undefined;
  private starts = 0;
  /** Graphics cards, in the order of the devices. */
  readonly displays: Display[] = [];
  /** Whose accesses are under way: the number of the running vCPU. */
  current = 0;

  constructor(private readonly options: PlatformOptions) {
    const { parts, config, board, lines } = options;
    const has = (part: BoardPart): boolean => parts.has(part);
    const apic = config.cpu.has('apic');
    if (apic) this.apicBus = new ApicBus(() => this.localApics[this.current]);
    if (has('pic')) this.pic = new Pic();
    const ioApic = this.apicBus && has('ioapic') ? new IoApic({ bus: this.apicBus }) : undefined;
    const routing = new InterruptRouting({ ...(this.pic ? { pic: this.pic } : {}), ...(ioApic ? { ioApic } : {}) });
    const wiring = new PlatformWiring({
      ports: options.ports,
      mmio: options.mmio,
      clock: options.clock,
      dma: options.memory,
      routing,
      ...(this.apicBus ? { msi: this.apicBus } : {}),
      lines: {
        reset: (level) => level === 1 && lines.reset(),
        poweroff: (level) => level === 1 && lines.powerOff(),
        a20: (level) => lines.a20(level === 1),
        nmi: (level) => this.nmi(level),
        smi: (level) => level === 1 && this.smi(),
      },
    });
    const add = <T extends Device>(device: T): T => {
      device.attach(wiring);
      this.devices.push(device);
      if (isDisplay(device)) this.displays.push(device);
      return device;
    };
    if (this.apicBus) add(this.apicBus);
    if (this.pic) add(this.pic);
    if (ioApic) add(ioApic);
    this.addLocalApics(apic);
    if (this.pic && !this.apicBus) this.picSource = new PicInterruptSource(this.pic);
    const pit = has('pit') ? add(new Pit()) : undefined;
    const rtc = has('rtc') ? add(this.createRtc()) : undefined;
    this.rtc = rtc;
    if (has('hpet')) {
      const onLegacyReplacement = (enabled: boolean): void => {
        pit?.setInterruptEnabled(!enabled);
        rtc?.setInterruptEnabled(!enabled);
      };
      add(new Hpet({ onLegacyReplacement, ...(board.chipset === 'i440fx' ? { routes: 4 } : {}) }));
    }
    if (has('i8042')) {
      this.keyboard = add(new I8042());
      add(new Port92());
    }
    this.addSerial(add);
    if (board.pm !== 'none') this.pm = add(new AcpiPm({ chip: board.pm }));
    this.virtio = [...(config.virtio ?? [])];
    this.pci = this.addPci(add);
    this.hotplug = this.createHotplug(wiring);
    if (this.hotplug) add(this.hotplug.controller);
    for (const flash of options.flash) add(flash);
    const fwCfg = add(this.createFwCfg());
    if (options.vga) this.plugVga(add(options.vga));
    if (config.debugConsole) {
      const { port: base, sink, readback = 0xe9 } = config.debugConsole;
      add(new DebugConsole({ base, readback, write: (byte) => sink.write(byte) }));
    }
    if (config.debugExit) add(new DebugExit({ base: config.debugExit.iobase, size: config.debugExit.iosize, exit: lines.exit }));
    if (config.testDevice) add(new TestDevice());
    const paths: { index: number; path: string }[] = [];
    const order = (index: number | undefined, path: string): void => void (index !== undefined && paths.push({ index, path }));
    if (options.startup.kernel) order(-1, handLinux(fwCfg, options.startup.kernel));
    if (config.ata) addAta(config.ata, { board, host: this.pci, add, wake: lines.wake, order });
    addVirtio(config.virtio ?? [], { host: this.pci, parts, add, show: (display) => this.displays.push(display), wake: lines.wake, order });
    if (paths.length > 0) fwCfg.setFile('bootorder', bootOrder(paths, config.boot?.strict ?? false));
  }

  /** Where ACPI is, and PCI. */
  private createHotplug(wiring: PlatformWiring): Hotplug | undefined {
    const { devices, virtio, pci: host, pm } = this;
    const { board, parts, config, lines } = this.options;
    if (!host || !pm || board.chipset === 'none' || !parts.has('acpi') || !config.cpu.has('apic')) return undefined;
    return new Hotplug({ chipset: board.chipset, host, pm, devices, virtio, attach: (device) => device.attach(wiring), wake: lines.wake });
  }

  private addLocalApics(present: boolean): void {
    const { config, clock } = this.options;
    if (!present || !this.apicBus) return;
    const { cpu } = config;
    for (let id = 0; id < cpuCount(config); id++) {
      this.localApics.push(
        new LocalApic({
          id,
          bsp: id === 0,
          bus: this.apicBus,
          clock,
          ...(this.pic ? { pic: this.pic } : {}),
          x2apic: cpu.has('x2apic'),
          tscDeadline: cpu.has('tsc-deadline'),
          physicalAddressBits: cpu.physicalBits,
        }),
      );
    }
    this.pic?.setOutput((level) => this.apicBus!.setPicOutput(level));
  }

  /** Where QEMU's boards have it: the first free slot. */
  private plugVga(vga: Vga): void {
    this.pci?.add(this.pci.freeSlot(this.options.board.chipset === 'q35' ? 1 : 2), vga.pci);
  }

  private createFwCfg(): FwCfg {
    const { config, startup } = this.options;
    const { menu, serialConsole } = config.boot ?? {};
    const fwCfg = new FwCfg({ ramBytes: config.memoryBytes, cpus: cpuCount(config) });
    fwCfg.setNumber(FwCfgKey.NO_GRAPHIC, serialConsole === false ? 0 : 1, 2);
    if (config.smbios?.uuid) fwCfg.set(FwCfgKey.UUID, config.smbios.uuid);
    fwCfg.setNumber(FwCfgKey.BOOT_MENU, menu ? 1 : 0, 2);
    for (const [name, bytes] of startup.firmware ?? []) fwCfg.setFile(name, bytes);
    for (const { name, bytes } of config.boot?.guestFiles ?? []) fwCfg.setFile(name, bytes);
    const { pm } = this;
    const { acpiTables } = startup;
    if (pm && acpiTables) fwCfg.setFile('etc/acpi/tables', acpiTables(pm.base), () => acpiTables(pm.base));
    return fwCfg;
  }

  private createRtc(): Rtc {
    const { config, ram } = this.options;
    return new Rtc({
      epochSeconds: config.rtcSeconds ?? 0,
      lowMemoryBytes: ram.below4G,
      highMemoryBytes: ram.above4G,
      cpus: cpuCount(config),
      ...rtcSource(this.options),
    });
  }

  private addSerial(add: <T extends Device>(device: T) => T): void {
    (this.options.config.serial ?? []).forEach((backend, i) => {
      const port = COM_PORTS[i];
      this.serial.push(backend && port ? add(new Uart({ name: `com${i + 1}`, base: port.base, line: `isa:${port.irq}`, backend })) : undefined);
    });
  }

  private addPci(add: <T extends Device>(device: T) => T): PciHost | undefined {
    const { chipset } = this.options.board;
    const resetControl = new ResetControl(chipset === 'none');
    if (chipset === 'none') {
      add(resetControl);
      return undefined;
    }
    add(resetControl);
    const host = add(new PciHost({ resetControl }));
    const { lowMemory: memory, startup } = this.options;
    const options = { memory, bare: startup.firmware !== undefined, ...(this.pm ? { pm: this.pm } : {}) };
    if (chipset === 'i440fx') addI440Fx(host, options);
    else addQ35(host, options);
    return host;
  }

  /** RESET: every device to its power-on state, then what firmware would have set up. The bus of the APICs is not a device that forgets. */
  reset(): void {
    // Devices may leave with the reset.
    for (const device of this.devices.slice()) device.reset();
    for (const apic of this.localApics) apic.reset();
    const { ports, board, parts, startup } = this.options;
    this.noteBootOrder();
    if (startup.firmware) return;
    if (this.pic) initializeLikeFirmware(ports, { pci: board.chipset === 'i440fx', pit: parts.has('pit') });
    if (this.pci && board.chipset !== 'none') assignPciResources(this.pci, PCI_WINDOWS[board.chipset]);
  }

  /** Tells firmware by CMOS RAM what to try: a nibble each, and a bit against the check of a floppy's signature. */
  private noteBootOrder(): void {
    const { devices = DEFAULT_ORDER, once } = this.options.config.boot ?? {};
    const letters = this.starts++ === 0 ? (once ?? devices) : devices;
    const [first = 0, second = 0, third = 0] = Array.from(letters, (letter) => BOOT_NIBBLES[letter] ?? 0);
    this.rtc?.setByte(0x3d, (second << 4) | first);
    this.rtc?.setByte(0x38, third << 4);
  }

  /** An NMI to every CPU, whatever its LINT1 says. */
  nonMaskableInterrupt(): void {
    for (const apic of this.localApics) apic.accept(NMI_DELIVERY, 0, false);
    this.picSource?.nmi();
  }

  private nmi(level: 0 | 1): void {
    this.apicBus?.setNmi(level);
    if (level === 1) this.picSource?.nmi();
  }

  /** To the CPU whose access raised it: firmware moves the SMRAM of others by interrupts of its own. */
  private smi(): void {
    this.localApics[this.current]?.accept(SMI_DELIVERY, 0, false);
    this.picSource?.smi();
  }
}

/** What drives the RTC when it is not guest time. */
function rtcSource({ config, host }: PlatformOptions): { sourceNs?: () => number } {
  if (config.rtcClock === undefined || config.rtcClock === 'vm') return {};
  const now = config.rtcClock === 'host' && host.wallNs ? () => host.wallNs!() : () => host.nowNs();
  const powerOnNs = now();
  return { sourceNs: () => now() - powerOnNs };
}

/** The paths of devices in the order of their indexes, a line each. */
const bootOrder = (paths: readonly { index: number; path: string }[], strict: boolean): Uint8Array => {
  const lines = paths.toSorted((a, b) => a.index - b.index).map(({ path }) => path);
  // What firmware takes as the end of what may be tried.
  if (strict) lines.push('HALT');
  return new TextEncoder().encode(`${lines.join('\n')}\0`);
};
