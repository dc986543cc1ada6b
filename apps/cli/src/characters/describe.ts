import type { CharacterSpec } from '../options/character.js';
import type { RunOptions } from '../options/config.js';
import type { MonitorPlace } from '../options/monitors.js';

/** A character device as monitors show it. */
interface CharacterEntry {
  readonly label: string;
  readonly filename: string;
}

function filenameOf(spec: CharacterSpec | MonitorPlace): string {
  if (spec.kind === 'stdio' || spec.kind === 'file') return spec.kind;
  if (spec.kind !== 'socket') return 'null';
  const { address, server } = spec;
  const where = 'path' in address ? `unix:${address.path}` : `tcp:${address.host || '0.0.0.0'}:${address.port}`;
  return `${where}${server ? ',server=on' : ''}`;
}

/** The character devices of a run: those with an id, serial ports without, monitors. */
export function describeCharacters({ characters, serial, monitors }: RunOptions): CharacterEntry[] {
  const entry = (label: string, spec: CharacterSpec | MonitorPlace): CharacterEntry => ({ label, filename: filenameOf(spec) });
  const named = new Set<CharacterSpec>(characters.values());
  return [
    ...[...characters].map(([id, spec]) => entry(id, spec)),
    ...serial.flatMap((spec, i) => (named.has(spec) || spec.kind === 'none' ? [] : [entry(`serial${i}`, spec)])),
    ...monitors.map(({ place }, i) => entry(`compat_monitor${i}`, place)),
  ];
}
