import type { CharacterSpec, PtySpec } from '../options/character.js';
import type { RunOptions } from '../options/config.js';
import type { MonitorPlace } from '../options/monitors.js';

type Place = CharacterSpec | MonitorPlace;
type PtyPath = (spec: PtySpec) => string;

/** A character device as monitors show it. */
interface CharacterEntry {
  readonly label: string;
  readonly filename: string;
}

function filenameOf(spec: Place, ptyPath: PtyPath): string {
  if (spec.kind === 'stdio' || spec.kind === 'file') return spec.kind;
  if (spec.kind === 'pty') return `pty:${ptyPath(spec)}`;
  if (spec.kind !== 'socket') return 'null';
  const { address, server } = spec;
  const where = 'path' in address ? `unix:${address.path}` : `tcp:${address.host || '0.0.0.0'}:${address.port}`;
  return `${where}${server ? ',server=on' : ''}`;
}

/** The character devices of a run with their labels: those with an id, serial ports, debug console and monitors without. */
export function labelCharacters({ characters, serial, debugConsole, monitors }: RunOptions): (readonly [label: string, spec: Place])[] {
  const named = new Set<Place>(characters.values());
  const unnamed = (label: string, spec: Place): (readonly [string, Place])[] => (named.has(spec) || spec.kind === 'none' ? [] : [[label, spec]]);
  return [
    ...characters,
    ...serial.flatMap((spec, i) => unnamed(`serial${i}`, spec)),
    ...(debugConsole ? unnamed('debugcon', debugConsole.to) : []),
    ...monitors.flatMap(({ place }, i) => unnamed(`compat_monitor${i}`, place)),
  ];
}

/** The character devices of a run, for monitors. */
export const describeCharacters = (options: RunOptions, ptyPath: PtyPath): CharacterEntry[] =>
  labelCharacters(options).map(([label, spec]) => ({ label, filename: filenameOf(spec, ptyPath) }));
