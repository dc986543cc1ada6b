/** What a machine is at an instant, in few words: equal for machines that have done the same. */
import { createHash } from 'node:crypto';
import type { Machine } from '../../packages/machine/src/index.js';

/** By the name of what it stands for: a register, a device, a block of RAM. */
export type Digest = Readonly<Record<string, string>>;

const hash = (data: Uint8Array | string): string => createHash('sha1').update(data).digest('hex').slice(0, 20);

/** Bytes and big numbers as text that JSON can hold. */
function asText(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return `0x${value.toString(16)}`;
  return value instanceof Uint8Array ? hash(value) : value;
}

const text = (value: unknown): string => JSON.stringify(value, asText) ?? 'nothing';

/** The registers of a vCPU one by one, so that a difference can be named. */
function registers(path: string, saved: object): [string, string][] {
  return Object.entries(saved).map(([name, value]) => [`${path}/${name}`, text(value)]);
}

/** Everything stateful, RAM, what the vCPUs have executed, and what their nested guests have done. The machine must not be running. */
export function digestOf(machine: Machine): Digest {
  const { migratable } = machine;
  const entries: [string, string][] = [['instructions', String(machine.retired)]];
  for (const [path, unit] of migratable.units()) {
    if (!('save' in unit)) continue;
    const saved: unknown = unit.save();
    if (/^cpu\d+$/.test(path) && typeof saved === 'object' && saved !== null) entries.push(...registers(path, saved));
    else entries.push([path, hash(text(saved))]);
  }
  for (const { name, bytes } of migratable.ram()) entries.push([name, hash(bytes)]);
  const { entries: entered, failedEntries, exits } = machine.levels();
  entries.push(['nested guests', text([entered, failedEntries, exits])]);
  return Object.fromEntries(entries);
}

/** Names of what differs. */
export const differences = (a: Digest, b: Digest): string[] =>
  [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((name) => a[name] !== b[name]);

/** One line for all of it. */
export const summary = (digest: Digest): string => hash(text(Object.entries(digest)));
