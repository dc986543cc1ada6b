import { type CpuModel, CpuModelError, type CpuTopology, type Nesting, parseCpu } from '@nestvm/isa/models';
import { UsageError } from '../errors.js';
import { type OnlyRow, takeOnly } from './only.js';
import { assertKeys, parseInteger, parseProperties, parseSize } from './text.js';

const DEFAULT_MEMORY = 128 * 2 ** 20;
const SMALLEST_MEMORY = 2 ** 20;
/** The arena is one 32-bit memory, shared with the engine. */
const LARGEST_MEMORY = 3.75 * 2 ** 30;
/** Parses `-cpu`; throws `UsageError`. */
export function parseModel(text: string, topology: CpuTopology, nested: Nesting, warnings: string[]): CpuModel {
  try {
    const model = parseCpu(text, topology, { nested });
    warnings.push(...model.warnings.map((warning) => `-cpu ${warning}`));
    return model;
  } catch (error) {
    if (error instanceof CpuModelError) throw new UsageError(error.message);
    throw error;
  }
}

const ONE: OnlyRow = [/^1$/, 'a socket is one die and one cluster; count its cores by cores='];

/** Parses `-smp`; throws `UsageError`. */
export function parseSmp(text = '1'): CpuTopology {
  const { head, values: given } = parseProperties(text);
  const values = new Map(given);
  takeOnly('-smp', values, { dies: ONE, clusters: ONE });
  assertKeys('-smp', values, ['cpus', 'sockets', 'cores', 'threads', 'maxcpus']);
  const number = (key: string): number | undefined => (values.has(key) ? parseInteger(`-smp ${key}`, values.get(key)!, 1, 255) : undefined);
  const cpus = head === '' ? number('cpus') : parseInteger('-smp', head, 1, 255);
  const threads = number('threads') ?? 1;
  const [givenSockets, givenCores] = [number('sockets'), number('cores')];
  const maximum = number('maxcpus') ?? cpus;
  if (maximum !== undefined && cpus !== undefined && maximum !== cpus)
    throw new UsageError(`-smp maxcpus=${maximum}: CPUs cannot be plugged in later; write maxcpus=${cpus} or leave it out`);
  const total = cpus ?? (givenSockets ?? 1) * (givenCores ?? 1) * threads;
  const cores = givenCores ?? Math.max(1, Math.floor(total / ((givenSockets ?? 1) * threads)));
  const sockets = givenSockets ?? Math.max(1, Math.floor(total / (cores * threads)));
  if (sockets * cores * threads !== total)
    throw new UsageError(`-smp ${text}: ${sockets} sockets × ${cores} cores × ${threads} threads are not ${total} CPUs; make them match`);
  if (total > 16) throw new UsageError(`-smp ${text}: ${total} CPUs; Nestvm runs up to 16`);
  return { sockets, cores, threads };
}

/** Parses `-m`, to bytes; throws `UsageError`. */
export function parseMemory(text: string | undefined): number {
  if (text === undefined) return DEFAULT_MEMORY;
  const { head, values } = parseProperties(text);
  assertKeys('-m', values, ['size', 'slots', 'maxmem']);
  const bytes = parseSize('-m', head || (values.get('size') ?? '128M'));
  const maximum = values.get('maxmem');
  if (maximum !== undefined && parseSize('-m maxmem', maximum) !== bytes)
    throw new UsageError(`-m maxmem=${maximum}: memory cannot be plugged in later; leave slots and maxmem out`);
  if (bytes < SMALLEST_MEMORY) throw new UsageError(`-m ${text}: too little memory; give at least 1M (a Debian kernel needs about 128M)`);
  if (bytes > LARGEST_MEMORY) throw new UsageError(`-m ${text}: too much memory; one WebAssembly memory holds guest and engine, so at most 3840M`);
  return Math.ceil(bytes / 2 ** 20) * 2 ** 20;
}
