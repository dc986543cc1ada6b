import { type Display, formatPpm, type Picture } from '@nestvm/devices/display';
import type { Machine } from '@nestvm/machine';
import { encode } from 'fast-png';
import { UsageError } from './errors.js';
import { writeBytes } from './files.js';

/** Formats of a picture file, under QEMU's names. */
const FORMATS: Readonly<Record<string, (picture: Picture) => Uint8Array>> = {
  ppm: formatPpm,
  png: ({ width, height, pixels }) => encode({ width, height, data: pixels, channels: 4, depth: 8 }),
};

/** What to save, and where. */
export interface ScreenDump {
  readonly path: string;
  /** `ppm` (default) or `png`. */
  readonly format?: string;
  /** Name of the graphics card (default the first). */
  readonly device?: string;
}

/** Saves what a display shows to a file; throws `UsageError`. */
export function dumpScreen(machine: Machine, { path, format = 'ppm', device }: ScreenDump): void {
  const write = Object.hasOwn(FORMATS, format) ? FORMATS[format]! : undefined;
  if (write === undefined) throw new UsageError(`screendump: format '${format}': there are ${Object.keys(FORMATS).join(', ')}`);
  const display = findDisplay(machine.platform.displays, device);
  const picture = display.picture();
  if (picture === undefined) throw new UsageError(`screendump: ${display.name} shows nothing yet; wait until the guest has set a mode`);
  writeBytes('screendump', path, write(picture));
}

function findDisplay(displays: readonly Display[], name: string | undefined): Display {
  const found = name === undefined ? displays[0] : displays.find((display) => display.name === name);
  if (found) return found;
  if (displays.length === 0) throw new UsageError('screendump: this machine has no display; give it a graphics card');
  throw new UsageError(`screendump: no display is named '${name}'; there are ${displays.map((display) => display.name).join(', ')}`);
}

/** Reads `FILE [-f FORMAT] [DEVICE]`; throws `UsageError`. */
export function parseScreenDump(words: readonly string[]): ScreenDump {
  const rest: string[] = [];
  let format: string | undefined;
  for (let i = 0; i < words.length; i++) {
    if (words[i] === '-f') format = words[++i] ?? '';
    else rest.push(words[i]!);
  }
  const [path, device] = rest;
  if (path === undefined) throw new UsageError('write screendump FILE [-f png|ppm] [DEVICE]');
  return { path, ...(format === undefined ? {} : { format }), ...(device === undefined ? {} : { device }) };
}
