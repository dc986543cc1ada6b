import type { CpuModel } from '@nestvm/isa/models';
import type { SavedValue } from '@nestvm/state';
import { type MachineConfig, videoMemoryBytes } from './config.js';

/** A machine by the options that make it. */
export type Description = { readonly [option: string]: SavedValue };

const FEATURES = 'CPU features';
const FEATURE_NAMES = 'CPU features by name';

/** FNV-1a over what CPUID shows: two models of one name with other features are two machines. */
function featureHash(cpu: CpuModel): number {
  let hash = 0x811c9dc5;
  for (const base of [0, 0x80000000]) {
    const state = { apicId: 0, apicEnabled: true, cr4: 0, xcr0: 1, xss: 0, limitMaximum: false };
    const last = cpu.cpuid(base, 0, state).eax >>> 0;
    for (let leaf = base; leaf <= Math.min(last, base + 0x40); leaf++) {
      const { eax, ebx, ecx, edx } = cpu.cpuid(leaf, 0, state);
      for (const word of [eax, ebx, ecx, edx]) hash = Math.imul(hash ^ word, 0x01000193);
    }
  }
  return hash >>> 0;
}

const byteHash = (bytes: Uint8Array): number => bytes.reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193), 0x811c9dc5) >>> 0;

/** What a snapshot's machine must have been made of, by the option that sets it. */
export function describeMachine(config: MachineConfig, parts: ReadonlySet<string>): Description {
  const { cpu } = config;
  return {
    '-M': config.board,
    '-cpu': cpu.name,
    [FEATURES]: featureHash(cpu),
    [FEATURE_NAMES]: [...cpu.features].toSorted().join(' '),
    '-smp': [cpu.topology.sockets, cpu.topology.cores, cpu.topology.threads].join(' × '),
    '-m': config.memoryBytes,
    parts: [...parts].toSorted().join(' '),
    '-serial': (config.serial ?? []).map((port) => port !== null),
    firmware: config.firmware && config.kernel === undefined ? byteHash(config.firmware.bytes) : null,
    ...(config.flash ? { 'if=pflash': config.flash.map(({ file, readOnly }) => [file.bytes.length, readOnly === true]) } : {}),
    virtio: (config.virtio ?? [])
      .map(({ device, bus, mode, slot }) => [device.name, device.type, bus ?? '', mode ?? '', slot ?? ''].join(' '))
      .join(', '),
    'ATA drives': [...(config.ata?.board ?? []), ...(config.ata?.ahci ?? []).flatMap(({ ports }) => [...ports])]
      .map((place) => place?.drive.name ?? '-')
      .join(' '),
    '-vga': config.vga ? videoMemoryBytes(config.vga) : null,
    devices: [config.debugConsole ? 'debug-console' : '', config.debugExit ? 'isa-debug-exit' : '', config.testDevice ? 'pc-testdev' : ''].join(' '),
  };
}

const show = (value: unknown): string =>
  typeof value === 'string' ? value : typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? 'nothing');

/** What one list of names has and another has not, in words; empty when there is nothing. */
const without = (names: ReadonlySet<string>, others: ReadonlySet<string>): string => [...names].filter((name) => !others.has(name)).join(', ');

/** Names of the features of a machine; null where a snapshot of old does not have them. */
function namesOf(description: { readonly [option: string]: unknown }): ReadonlySet<string> | null {
  const names = description[FEATURE_NAMES];
  return typeof names === 'string' ? new Set(names.split(' ')) : null;
}

/** How the CPUs differ: by the names of the features that one of them lacks, as far as that is it and the snapshot says so. */
function featureMismatch(own: Description, theirs: { readonly [option: string]: unknown }): string {
  const [here, there] = [namesOf(own), namesOf(theirs)];
  const [missing, added] = here && there ? [without(there, here), without(here, there)] : ['', ''];
  const parts = [
    ...(missing === '' ? [] : [`the snapshot has ${missing}, which this machine has not`]),
    ...(added === '' ? [] : [`this machine has ${added}, which the snapshot has not`]),
  ];
  if (parts.length > 0) return `${FEATURES}: ${parts.join('; ')}`;
  return `${FEATURES}: the snapshot has others in what CPUID says (sum ${show(theirs[FEATURES])}, this machine ${show(own[FEATURES])})`;
}

/** In which options a snapshot's machine differs from this one, a line each. */
export function configurationMismatches(own: Description, saved: unknown): readonly string[] {
  if (typeof saved !== 'object' || saved === null) return ['the snapshot does not say of which machine it is'];
  const theirs = saved as { readonly [option: string]: unknown };
  const names = new Set([...Object.keys(own), ...Object.keys(theirs)]);
  // A machine that was started without firmware does not miss what another has.
  if (theirs.firmware === null) names.delete('firmware');
  // The sum over CPUID covers them; snapshots of old have it only.
  names.delete(FEATURE_NAMES);
  return [...names]
    .filter((name) => show(own[name]) !== show(theirs[name]))
    .map((name) =>
      name === FEATURES ? featureMismatch(own, theirs) : `${name}: the snapshot has ${show(theirs[name])}, this machine ${show(own[name])}`,
    );
}
