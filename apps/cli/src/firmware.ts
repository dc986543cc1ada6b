import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BootFile } from '@nestvm/boot';
import type { MachineConfig } from '@nestvm/machine';
import { UsageError } from './errors.js';
import { readInput } from './files.js';
import type { RunOptions } from './options/config.js';

/** SeaBIOS and the BIOS of its graphics card, as Debian's package `seabios` has them. */
const BIOS = 'bios-256k.bin';
const VGA_BIOS = { pci: 'vgabios-stdvga.bin', isa: 'vgabios-isavga.bin' } as const;
const SYSTEM_FOLDERS = ['/usr/share/seabios', '/usr/share/qemu', '/usr/local/share/qemu'];

/** Where firmware is looked for: the folders of `-L`, the system's, and what `pnpm guests` has fetched. */
function folders(given: readonly string[]): string[] {
  const fetched = fileURLToPath(new URL('../../../build/guests/unpacked', import.meta.url));
  const packages = existsSync(fetched) ? readdirSync(fetched).filter((name) => name.startsWith('seabios_')) : [];
  return [...given, ...SYSTEM_FOLDERS, ...packages.map((name) => join(fetched, name, 'usr/share/seabios'))];
}

const find = (name: string, places: readonly string[]): string | undefined =>
  places.map((place) => join(place, name)).find((path) => existsSync(path));

const load = (option: string, path: string): BootFile => ({ name: path, bytes: readInput(option, path) });

/** The firmware, the graphics card and what they are told; throws `UsageError` when firmware is needed and there is none. */
export function firmwareConfig(options: RunOptions): Pick<MachineConfig, 'firmware' | 'vga' | 'boot'> {
  const { bios, flash, wanted, folders: given, boot, vga, serialConsole } = options.firmware;
  const places = folders(given);
  const runs = bios !== undefined || flash || (options.kernel === undefined && wanted && !options.devices.images.some(({ entry }) => entry));
  const card = (vga ?? (runs || options.firmware.display === 'curses' ? 'std' : 'none')) === 'std';
  const isa = options.board === 'isapc';
  if (card && options.board === 'microvm') {
    if (vga !== undefined) throw new UsageError('-vga std: microvm has no place for a graphics card; use another machine');
  }
  const romPath = card && options.board !== 'microvm' ? find(isa ? VGA_BIOS.isa : VGA_BIOS.pci, places) : undefined;
  const rom = romPath === undefined ? undefined : load('-vga', romPath);
  const order = {
    ...(boot.order === undefined ? {} : { devices: boot.order }),
    ...(boot.strict === undefined ? {} : { strict: boot.strict }),
    ...(boot.once === undefined ? {} : { once: boot.once }),
    ...(boot.menuWaitMs === undefined ? {} : { menuWaitMs: boot.menuWaitMs }),
    ...(boot.failWaitMs === undefined ? {} : { failWaitMs: boot.failWaitMs }),
  };
  const guestFiles = options.firmwareFiles.map(
    (file): BootFile => ({ name: file.name, bytes: 'path' in file ? readInput(`-fw_cfg ${file.name},file`, file.path) : Buffer.from(file.text) }),
  );
  return {
    ...(runs && !flash ? { firmware: findFirmware(bios, places) } : {}),
    ...(card && options.board !== 'microvm' ? { vga: rom && !isa ? { rom } : {} } : {}),
    boot: {
      menu: boot.menu,
      serialConsole,
      ...order,
      ...(guestFiles.length > 0 ? { guestFiles } : {}),
      ...(rom && isa ? { files: [{ name: `vgaroms/${VGA_BIOS.isa}`, bytes: rom.bytes }] } : {}),
    },
  };
}

/** The file of `-bios`, or SeaBIOS. */
function findFirmware(bios: string | undefined, places: readonly string[]): BootFile {
  if (bios !== undefined) return load('-bios', existsSync(bios) || bios.includes('/') ? bios : (find(bios, places) ?? bios));
  const path = find(BIOS, places);
  if (path !== undefined) return load('-bios', path);
  throw new UsageError(
    `no firmware to start from a disk: ${BIOS} is in none of ${places.join(', ')}; install Debian's package seabios, or give -bios FILE or -L FOLDER`,
  );
}
