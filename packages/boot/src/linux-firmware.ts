import { ByteWriter, hex, zeroTerminated } from './bytes.js';
import { topOfLowRam } from './e820.js';
import { BootError } from './errors.js';
import { checkCommandLine, Header, LOAD_ADDRESS, placeInitrd, readHeader } from './linux.js';
import type { BootFile, BootMemory, BootWrite } from './plan.js';

/** What is handed to firmware that starts a Linux kernel; see Linux, "The Linux/x86 Boot Protocol". */
export interface FirmwareLinuxOptions extends BootMemory {
  readonly kernel: BootFile;
  readonly initrd?: BootFile;
  readonly commandLine?: string;
}

/** A kernel in the parts that QEMU's firmware configuration device has items for, each with the address that suits a BIOS. */
export interface FirmwareLinux {
  /** The real-mode part, whose header says where the others are. */
  readonly setup: BootWrite;
  readonly kernel: BootWrite;
  readonly commandLine: BootWrite;
  readonly initrd?: BootWrite;
}

const SETUP_ADDRESS = 0x10000;
const COMMAND_LINE_ADDRESS = 0x20000;
/** What firmware keeps at the top of RAM for its tables. */
const FIRMWARE_BYTES = 0x10_0000;
/** "Unknown loader", and the header's bit for a heap. */
const LOADER = 0xb0;
const CAN_USE_HEAP = 0x80;
const HEAP_END = COMMAND_LINE_ADDRESS - SETUP_ADDRESS - 0x200;

/** Splits a bzImage for firmware; throws `BootError` (`truncated`, `unsupported`, `initrd-too-large`, `command-line-too-long`). */
export function splitLinux(options: FirmwareLinuxOptions): FirmwareLinux {
  const { kernel, e820 } = options;
  const header = readHeader(kernel);
  const commandLine = zeroTerminated(options.commandLine ?? '');
  checkCommandLine(kernel, header, commandLine);
  const image = kernel.bytes.subarray(header.setupBytes);
  const kernelEnd = Math.max(LOAD_ADDRESS + image.length, Math.max(LOAD_ADDRESS, header.preferred) + header.initBytes);
  const top = topOfLowRam(e820) - FIRMWARE_BYTES;
  if (kernelEnd > top)
    throw new BootError(
      'too-little-memory',
      `${kernel.name}: unpacks up to ${hex(kernelEnd)}, firmware leaves RAM up to ${hex(top)}; give the guest more (-m)`,
    );
  const initrd = placeInitrd(options.initrd, header, kernelEnd, top);
  const setup = new ByteWriter(header.setupBytes);
  setup.bytes.set(kernel.bytes.subarray(0, header.setupBytes));
  setup.u8(Header.TYPE_OF_LOADER, LOADER);
  setup.u8(Header.LOADFLAGS, setup.bytes[Header.LOADFLAGS]! | CAN_USE_HEAP);
  setup.u16(Header.HEAP_END, HEAP_END);
  setup.u32(Header.CMD_LINE_PTR, COMMAND_LINE_ADDRESS);
  setup.u32(Header.RAMDISK_IMAGE, initrd?.address ?? 0);
  setup.u32(Header.RAMDISK_SIZE, initrd?.bytes.length ?? 0);
  return {
    setup: { name: 'setup', address: SETUP_ADDRESS, bytes: setup.bytes },
    kernel: { name: 'kernel', address: LOAD_ADDRESS, bytes: image },
    commandLine: { name: 'command line', address: COMMAND_LINE_ADDRESS, bytes: commandLine },
    ...(initrd ? { initrd } : {}),
  };
}
