import { asm16 } from '@nestvm/assembler';
import type { BootWrite, FirmwareLinux } from '@nestvm/boot';
import { type FwCfg, FwCfgKey } from '@nestvm/devices/platform';

/** A part of a kernel and the items of the firmware configuration device that has it. */
interface KernelPart {
  readonly write: BootWrite;
  readonly keys: { readonly address: number; readonly size: number; readonly data: number };
}

/** The items of the parts. */
const KernelKeys = {
  kernel: { address: FwCfgKey.KERNEL_ADDRESS, size: FwCfgKey.KERNEL_SIZE, data: FwCfgKey.KERNEL_DATA },
  initrd: { address: FwCfgKey.INITRD_ADDRESS, size: FwCfgKey.INITRD_SIZE, data: FwCfgKey.INITRD_DATA },
  commandLine: { address: FwCfgKey.COMMAND_LINE_ADDRESS, size: FwCfgKey.COMMAND_LINE_SIZE, data: FwCfgKey.COMMAND_LINE_DATA },
  setup: { address: FwCfgKey.SETUP_ADDRESS, size: FwCfgKey.SETUP_SIZE, data: FwCfgKey.SETUP_DATA },
} as const;

/** The file name under which a BIOS looks for the ROM, and what it is called in the order of what is tried. */
const LINUX_ROM_FILE = 'genroms/linuxboot_dma.bin';

const SECTOR = 512;
/** Control word of a request that selects an item and reads it. */
const SELECT_AND_READ = 0x0a;
/** Where the requests are copied to, since the device answers in them; nobody else uses this RAM while a BIOS starts a system. */
const REQUESTS = 0x7000;
const REQUEST_BYTES = 16;
/** Where the pointer to the expansion header is ("Plug and Play BIOS Specification", Option ROM Header), and how long that is. */
const POINTER_AT = 0x1a;
const HEADER_AT = 0x1c;
const HEADER_BYTES = 32;
/** In that header: its checksum, and where to start the system. */
const HEADER_CHECKSUM = 9;
const BOOT_VECTOR = 0x1a;

/** One request, big-endian ("QEMU Firmware Configuration (fw_cfg) Device", Guest-side DMA Interface). */
function requestOf({ write, keys }: KernelPart): number[] {
  const words = [(keys.data << 16) | SELECT_AND_READ, write.bytes.length, 0, write.address];
  return words.flatMap((word) => [word >>> 24, (word >>> 16) & 0xff, (word >>> 8) & 0xff, word & 0xff]);
}

/**
 * An option ROM that a BIOS offers as something to start: it has the parts of a kernel copied to their places and enters the real-mode part, at `setup`
 * ("The Linux/x86 Boot Protocol", Running the Kernel).
 */
function buildLinuxRom(parts: readonly KernelPart[], setup: number): Uint8Array {
  const segment = setup >> 4;
  const { bytes } = asm16((a) => {
    a.dw(0xaa55);
    a.db(0);
    // Nothing to do when the BIOS has found the ROM.
    a.text('retf');
    a.org(POINTER_AT);
    a.dw(HEADER_AT);
    a.db('$PnP', 1, HEADER_BYTES / 16);
    a.org(HEADER_AT + BOOT_VECTOR);
    a.text('dw start');
    a.org(HEADER_AT + HEADER_BYTES);
    a.label('start');
    a.text(`
      cli
      cld
      xor ax, ax
      mov es, ax
      mov ax, cs
      mov ds, ax
      mov si, requests
      mov di, ${REQUESTS}
      mov cx, ${(parts.length * REQUEST_BYTES) / 2}
      rep movsw
      mov edi, ${REQUESTS}
      mov cx, ${parts.length}
    next:
      xor eax, eax
      mov dx, 0x514
      out dx, eax
      mov eax, edi
      bswap eax
      mov dx, 0x518
      out dx, eax
    wait:
      mov eax, dword ptr es:[di]
      test eax, 0x1000000
      jnz failed
      test eax, eax
      jnz wait
      add di, ${REQUEST_BYTES}
      loop next
      mov ax, ${segment}
      mov ds, ax
      mov es, ax
      mov fs, ax
      mov gs, ax
      mov ss, ax
      mov sp, 0xfff0
      push ${segment + 0x20}
      push 0
      retf
    failed:
      int 0x18`);
    a.label('requests');
    a.db(...parts.flatMap(requestOf));
  });
  const rom = new Uint8Array(Math.ceil(bytes.length / SECTOR) * SECTOR);
  rom.set(bytes);
  rom[2] = rom.length / SECTOR;
  const checksum = (from: number, length: number, at: number): void => {
    rom[at] = 0;
    rom[at] = -rom.subarray(from, from + length).reduce((sum, byte) => sum + byte, 0);
  };
  checksum(HEADER_AT, HEADER_BYTES, HEADER_AT + HEADER_CHECKSUM);
  checksum(0, rom.length, rom.length - 1);
  return rom;
}

/** Gives firmware a kernel: as items, and for a BIOS a ROM that starts it. The result is what the ROM is called in the order of what is tried. */
export function handLinux(fwCfg: FwCfg, kernel: FirmwareLinux): string {
  const parts = Object.entries(KernelKeys).flatMap(([name, keys]): KernelPart[] => {
    const write = kernel[name as keyof FirmwareLinux];
    return write ? [{ write, keys }] : [];
  });
  for (const { write, keys } of parts) {
    fwCfg.setNumber(keys.address, write.address, 4);
    fwCfg.setNumber(keys.size, write.bytes.length, 4);
    fwCfg.set(keys.data, write.bytes);
  }
  fwCfg.setFile(LINUX_ROM_FILE, buildLinuxRom(parts, kernel.setup.address));
  return `/rom@${LINUX_ROM_FILE}`;
}
