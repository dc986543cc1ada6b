import { UsageError } from '../errors.js';
import { last, type RawOptions } from './parse.js';
import { assertKeys, parseInteger, parseProperties, parseSwitch } from './text.js';

/** What the firmware is told about booting. */
export interface BootSpec {
  /** Letters of QEMU's: a and b floppies, c disk, d CD, n network. */
  readonly order?: string;
  /** For the first start only. */
  readonly once?: string;
  readonly menu: boolean;
  /** Nothing is tried but what has a `bootindex=`. */
  readonly strict?: boolean;
  readonly menuWaitMs?: number;
  readonly failWaitMs?: number;
}

/** Firmware and what it shows itself on. */
export interface FirmwareSpec {
  /** `-bios`. */
  readonly bios?: string;
  /** There is flash, which the CPU starts in. */
  readonly flash: boolean;
  /** Firmware runs though no `-bios` names it: there is something to start, and no kernel. */
  readonly wanted: boolean;
  /** `-L`: where to look for firmware first. */
  readonly folders: readonly string[];
  readonly boot: BootSpec;
  /** The graphics card; undefined: one if firmware runs. */
  readonly vga?: 'std' | 'none';
  /** Text of the graphics card on this terminal. */
  readonly display: 'none' | 'curses';
  /** The firmware's console is the first serial port, too. */
  readonly serialConsole: boolean;
}

const BOOT_KEYS = ['order', 'once', 'menu', 'splash-time', 'reboot-timeout', 'strict'];

function parseLetters(option: string, text: string): string {
  if (/^[abcdn]+$/.test(text) && new Set(text).size === text.length) return text;
  throw new UsageError(`${option}: '${text}' is no order; write letters of a, b (floppies), c (disk), d (CD), n (network), each once`);
}

function parseBootOptions(text: string | undefined): BootSpec {
  const { head, values } = parseProperties(text ?? '');
  assertKeys('-boot', values, BOOT_KEYS);
  const order = values.get('order') ?? (head || undefined);
  const once = values.get('once');
  const wait = values.get('splash-time');
  const retry = values.get('reboot-timeout');
  return {
    menu: values.has('menu') && parseSwitch('-boot menu', values.get('menu')!),
    ...(values.has('strict') ? { strict: parseSwitch('-boot strict', values.get('strict')!) } : {}),
    ...(order === undefined ? {} : { order: parseLetters('-boot order', order) }),
    ...(once === undefined ? {} : { once: parseLetters('-boot once', once) }),
    ...(wait === undefined ? {} : { menuWaitMs: parseInteger('-boot splash-time', wait, 0, 0xffff) }),
    ...(retry === undefined ? {} : { failWaitMs: retry === '-1' ? 0xffffffff : parseInteger('-boot reboot-timeout', retry, 0, 0xffff) }),
  };
}

/** Parses `-bios`, `-L`, `-boot`, `-vga` and `-display`; throws `UsageError`. */
export function parseFirmware(raw: RawOptions, bootable: boolean, flash: boolean): FirmwareSpec {
  const bios = last(raw, 'bios');
  const vga = last(raw, 'vga');
  if (vga !== undefined && vga !== 'std' && vga !== 'none')
    throw new UsageError(`-vga ${vga}: there are std and none; a card for drivers of virtio is -device virtio-gpu-pci`);
  const display = raw.has('nographic') ? 'none' : (last(raw, 'display') ?? 'none');
  if (display !== 'none' && display !== 'curses')
    throw new UsageError(`-display ${display}: there are none and curses; 'screendump FILE' in the monitor saves what the display shows`);
  return {
    flash,
    wanted: bootable || raw.has('boot') || vga === 'std' || display === 'curses',
    folders: raw.get('L') ?? [],
    boot: parseBootOptions(last(raw, 'boot')),
    display,
    serialConsole: display === 'none' && (raw.has('nographic') || !raw.has('display')),
    ...(bios === undefined ? {} : { bios }),
    ...(vga === undefined ? {} : { vga }),
  };
}
