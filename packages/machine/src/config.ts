import type { BootFile, BootModule, SmbiosConfig } from '@nestvm/boot';
import type { KeptCode } from '@nestvm/cpu';
import type { CpuModel } from '@nestvm/isa/models';
import type { AtaConfig } from './ata.js';
import type { BoardName, BoardPart } from './boards.js';
import type { DropConfig } from './cache-drops.js';
import type { TlbConfig } from './tlb-debug.js';
import type { VirtioConfig } from './virtio.js';

/** What the host gives to a machine. The defaults are deterministic, so that a run repeats and works anywhere. */
export interface HostServices {
  /** Monotonic nanoseconds (need not be whole). */
  nowNs(): number;
  /** Nanoseconds since 1970 by the host's wall clock, which somebody may set (default: `nowNs`). */
  wallNs?(): number;
  /**
   * Ends after about `ns` nanoseconds (Infinity: never by itself), or earlier when `wake` was called; false when nobody ever will. A sleep as long as `mostNs`
   * (default `ns`) does no harm: a guest that is behind has its waits shortened, but need not have.
   */
  sleep(ns: number, mostNs?: number): Promise<boolean>;
  /** Ends a running `sleep` early. */
  wake(): void;
  /** Lets everything else on the thread run once. */
  yieldTurn(): Promise<void>;
}

/** Where the bytes of a serial port or debug console go. */
export interface ByteSink {
  write(byte: number): void;
}

/** How guest time passes. */
export type ClockConfig =
  /** With the host's monotonic clock, but never faster than the vCPUs execute; a guest that fell behind catches up while it idles. */
  | { readonly kind: 'host' }
  /** As `virtual`, with a shift that follows the host's clock: even, but not repeatable. */
  | { readonly kind: 'adaptive' }
  /** 2^shift ns for each instruction; halted CPUs jump to the next deadline, after as much host time when `sleep` is on. */
  | { readonly kind: 'virtual'; readonly shift: number; readonly sleep: boolean };

/** A raw image in guest memory; `entry`: where and how the first CPU starts. */
export interface ImageConfig {
  readonly file: BootFile;
  readonly address: number;
  readonly entry?: 'real' | 'protected' | 'long';
}

/** A parallel flash, which firmware is kept in, or its variables. */
export interface FlashConfig {
  /** What it holds at power-on for the first time: whole blocks of 4 KiB. */
  readonly file: BootFile;
  readonly readOnly?: boolean;
  /** Keeps what the guest has programmed. */
  readonly onStore?: (offset: number, bytes: Uint8Array) => void;
}

/** A VGA card. */
export interface VgaConfig {
  /** Video memory (default 16 MiB): a power of two. */
  readonly memoryBytes?: number;
  /** Its BIOS, for firmware to run. */
  readonly rom?: BootFile;
}

/** What firmware is told about booting. */
export interface BootConfig {
  /** QEMU's letters of what firmware tries, the first first: a and b floppies, c disk, d CD, n network (default `cad`). */
  readonly devices?: string;
  /** The same for the first start only. */
  readonly once?: string;
  /** Nothing is tried but what has a boot index. */
  readonly strict?: boolean;
  /** Offers the boot menu. */
  readonly menu?: boolean;
  /** How long it waits for the menu's key. */
  readonly menuWaitMs?: number;
  /** After how long it starts again when nothing could be started. */
  readonly failWaitMs?: number;
  /** The serial port is the firmware's console, too (default true). */
  readonly serialConsole?: boolean;
  /** Further files for firmware in the firmware configuration device. */
  readonly files?: readonly BootFile[];
  /** Files there for firmware and guests: with them, ACPI says where the device is, though no firmware runs. */
  readonly guestFiles?: readonly BootFile[];
}

/** What can be said of a machine in its SMBIOS tables. */
export type SmbiosFacts = Pick<
  SmbiosConfig,
  'texts' | 'uuid' | 'biosRelease' | 'uefi' | 'maxSpeed' | 'currentSpeed' | 'memorySpeed' | 'oemStrings' | 'structures'
>;

/** Everything that a machine is made from. Sizes in bytes. */
export interface MachineConfig {
  readonly board: BoardName;
  /** Parts switched on or off against the board's own list. */
  readonly parts?: Partial<Record<BoardPart, boolean>>;
  /** CPU model with its topology. */
  readonly cpu: CpuModel;
  /** Whether guests may use VMX or SVM (default false, as KVM had it). A CPU that announces either needs it. */
  readonly nested?: boolean;
  readonly memoryBytes: number;
  readonly kernel?: BootFile;
  /** The initrd, or multiboot modules. */
  readonly modules?: readonly BootModule[];
  readonly commandLine?: string;
  /** A firmware image, mapped so that it ends at 4 GiB and, until it is shadowed, at 1 MiB; without a kernel it is entered at the reset vector. */
  readonly firmware?: BootFile;
  /** Flash instead of `firmware`: the first ends at 4 GiB and holds what the CPU starts with, each further one lies below. */
  readonly flash?: readonly FlashConfig[];
  /** What the SMBIOS tables say beside what they say by themselves. */
  readonly smbios?: SmbiosFacts;
  readonly boot?: BootConfig;
  readonly vga?: VgaConfig;
  readonly images?: readonly ImageConfig[];
  /** Up to four serial ports; null leaves one out. */
  readonly serial?: readonly (ByteSink | null)[];
  /** `readback` is what a read of the port gives (default 0xe9). */
  readonly debugConsole?: { readonly port: number; readonly sink: ByteSink; readonly readback?: number };
  readonly debugExit?: { readonly iobase: number; readonly iosize: number };
  readonly testDevice?: boolean;
  /** Virtio devices, in the order of their slots. A device belongs to one machine. */
  readonly virtio?: readonly VirtioConfig[];
  /** ATA disks and CD drives. A drive belongs to one machine. */
  readonly ata?: AtaConfig;
  readonly clock?: ClockConfig;
  /** Seconds since 1970 that the RTC shows at power-on (default 0). */
  readonly rtcSeconds?: number;
  /** What drives the RTC from there: guest time (`vm`, the default), the host's monotonic clock (`rt`) or its wall clock (`host`). */
  readonly rtcClock?: 'vm' | 'rt' | 'host';
  /** Seed of RDRAND and RDSEED (default 1). */
  readonly seed?: number;
  /** Debugging of address translation. */
  readonly tlb?: TlbConfig;
  /**
   * Compile hot guest code to WebAssembly (off). For tests: `'force'` compiles everything at its first turn, `'mixed'` what turns 64 times, so that much is compiled and much
   * is not, and drops all caches at random (`drops`).
   */
  readonly jit?: boolean | 'force' | 'mixed';
  /** Bytes of host memory that compiled code may take, about (128 MiB). */
  readonly codeBytes?: number;
  /** Drops decoded code, compiled code and translations at random, for tests (`jit: 'mixed'` does by itself, with seed 1). */
  readonly drops?: DropConfig;
  readonly host?: HostServices;
  /** Where generated code is kept from one run to the next of the same build of a program (nowhere). */
  readonly keptCode?: KeptCode;
  /** Is shown the machine's memory, of the guest and of the engine, before anything of it is used: the time to ask the host for large pages. */
  readonly onMemory?: (memory: WebAssembly.Memory) => void;
  /** Nothing need be given to run: the machine is about to get its state from a snapshot. */
  readonly incoming?: boolean;
  /** False: a reset ends the run (default true: the machine starts again). */
  readonly reboot?: boolean;
}

/** What `createMachine` takes: a configuration, or one whose CPU is still text (`host`, `EPYC,svm=on`). */
export interface MachineOptions extends Omit<MachineConfig, 'cpu' | 'nested'> {
  /** A CPU model, or QEMU's text for one; the text is parsed for one vCPU and with what `nested` allows. */
  readonly cpu: CpuModel | string;
  /** Nested virtualization: for both vendors, or for one, whose CPU `host` and `max` then are. */
  readonly nested?: boolean | { readonly vendor: 'intel' | 'amd' };
}

/** Why a run ended. */
export type MachineOutcome =
  /** The guest switched itself off. */
  | { readonly kind: 'poweroff' }
  /** isa-debug-exit. */
  | { readonly kind: 'exit'; readonly status: number }
  /** A reset while `reboot` is false; `cause` says whether the guest asked or a triple fault did. */
  | { readonly kind: 'reset'; readonly cause: 'guest' | 'triple-fault' }
  /** Every CPU has halted with interrupts off, as kernels do when they cannot switch the power off. */
  | { readonly kind: 'halted' }
  /** Every CPU waits for what can never come: no timer, and a host without input. */
  | { readonly kind: 'stuck' }
  /** `stop` was called. */
  | { readonly kind: 'stopped' };

/** What the CPU starts with at the reset vector, if anything is there. */
export const firmwareImage = ({ firmware, flash }: MachineConfig): BootFile | undefined => flash?.[0]?.file ?? firmware;

/** Number of vCPUs of a configuration. */
export const cpuCount = (config: MachineConfig): number => {
  const { sockets, cores, threads } = config.cpu.topology;
  return sockets * cores * threads;
};

const VIDEO_BYTES = 16 * 2 ** 20;

/** Bytes of video memory of a configuration. */
export const videoMemoryBytes = (vga: VgaConfig | undefined): number => (vga ? (vga.memoryBytes ?? VIDEO_BYTES) : 0);
