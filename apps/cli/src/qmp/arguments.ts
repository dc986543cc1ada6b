import { QmpError } from './errors.js';

/** Arguments of a command, as they came. */
export type QmpArguments = Readonly<Record<string, unknown>>;

const wrong = (name: string, type: string): QmpError => new QmpError('GenericError', `Invalid parameter type for '${name}', expected: ${type}`);
const missing = (name: string): QmpError => new QmpError('GenericError', `Parameter '${name}' is missing`);

/** A text that must be there. */
export function textOf(given: QmpArguments, name: string): string {
  const value = given[name];
  if (value === undefined) throw missing(name);
  if (typeof value !== 'string') throw wrong(name, 'string');
  return value;
}

/** A switch, false when it is absent. */
export function flagOf(given: QmpArguments, name: string): boolean {
  const value = given[name] ?? false;
  if (typeof value !== 'boolean') throw wrong(name, 'boolean');
  return value;
}

/** What fits into the 64 bits of the widest number that there is. */
const LIMIT = 2 ** 64;

/** A whole number from 0 on, undefined when it is absent. */
export function optionalNumber(given: QmpArguments, name: string): number | undefined {
  const value = given[name];
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value >= LIMIT) throw wrong(name, 'number');
  return value;
}

/** The number of a vCPU, the first when it is absent. */
export function cpuOf(given: QmpArguments, count: number): number {
  const cpu = optionalNumber(given, 'cpu-index') ?? 0;
  if (cpu >= count) throw new QmpError('GenericError', "Parameter 'cpu-index' expects a CPU number");
  return cpu;
}

/** A number from 0 on that must be there. */
export function numberOf(given: QmpArguments, name: string): number {
  const value = optionalNumber(given, name);
  if (value === undefined) throw missing(name);
  return value;
}
