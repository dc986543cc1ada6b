import { UsageError } from '../errors.js';
import { parseSize } from '../options/text.js';

/** What `migrate_set_parameter` sets. */
export interface MigrationParameters {
  /** Bytes a second; 0: no limit. */
  maxBandwidth: number;
  downtimeLimitMs: number;
  /** A line on which nothing moves for so long has failed. */
  lineTimeoutMs: number;
  /** File for a snapshot of the machine as it stands when it is handed over; empty: none. */
  checkpoint: string;
  /** ID of a `-object tls-creds-x509`; empty: the line is not encrypted. */
  tlsCreds: string;
  /** Name that the target's certificate must have; empty: the host of the address. */
  tlsHostname: string;
  /** The capability: the guest is slowed down when it dirties memory faster than the line takes it. */
  autoConverge: boolean;
  /** The capability: events tell of phases and passes. */
  events: boolean;
  /** Per cent of its time that the guest is held back at first, more with each pass, and at most. */
  throttleInitial: number;
  throttleIncrement: number;
  throttleMost: number;
}

export const createParameters = (): MigrationParameters => ({
  maxBandwidth: 0,
  downtimeLimitMs: 100,
  lineTimeoutMs: 30_000,
  checkpoint: '',
  tlsCreds: '',
  tlsHostname: '',
  autoConverge: false,
  events: true,
  throttleInitial: 20,
  throttleIncrement: 10,
  throttleMost: 99,
});

interface ParameterRow {
  readonly help: string;
  readonly set: (parameters: MigrationParameters, text: string) => void;
  readonly show: (parameters: MigrationParameters) => number | string;
}

function parseTime(text: string, most: number): number {
  const value = Number(text);
  if (text === '' || !(value >= 0 && value <= most)) throw new UsageError(`'${text}' is no time; write milliseconds up to ${most}`);
  return value;
}

function parsePercent(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 99) throw new UsageError(`'${text}' is no share; write per cent, 1 to 99`);
  return value;
}

/** The parameters, by QEMU's names; names with `x-` are ours. */
export const parameterRows: Readonly<Record<string, ParameterRow>> = {
  'max-bandwidth': {
    help: 'bytes a second that the line takes; 0: no limit (without K, M, G: MiB)',
    set: (parameters, text) => void (parameters.maxBandwidth = parseSize('max-bandwidth', text)),
    show: ({ maxBandwidth }) => maxBandwidth,
  },
  'downtime-limit': {
    help: 'milliseconds that the machine may stand still',
    set: (parameters, text) => void (parameters.downtimeLimitMs = parseTime(text, 2_000_000)),
    show: ({ downtimeLimitMs }) => downtimeLimitMs,
  },
  'cpu-throttle-initial': {
    help: 'per cent of its time that auto-converge takes from the guest at first',
    set: (parameters, text) => void (parameters.throttleInitial = parsePercent(text)),
    show: ({ throttleInitial }) => throttleInitial,
  },
  'cpu-throttle-increment': {
    help: 'per cent more with each pass that did not help',
    set: (parameters, text) => void (parameters.throttleIncrement = parsePercent(text)),
    show: ({ throttleIncrement }) => throttleIncrement,
  },
  'max-cpu-throttle': {
    help: 'per cent at most',
    set: (parameters, text) => void (parameters.throttleMost = parsePercent(text)),
    show: ({ throttleMost }) => throttleMost,
  },
  'tls-creds': {
    help: 'ID of the -object tls-creds-x509 that the line is encrypted with',
    set: (parameters, text) => void (parameters.tlsCreds = text),
    show: ({ tlsCreds }) => tlsCreds,
  },
  'tls-hostname': {
    help: "name that the target's certificate must have, where it is not the host of the address",
    set: (parameters, text) => void (parameters.tlsHostname = text),
    show: ({ tlsHostname }) => tlsHostname,
  },
  'x-checkpoint': {
    help: 'file for a snapshot of the machine, kept until it is known to run somewhere: made when it is stopped, and before (without writable disks)',
    set: (parameters, text) => void (parameters.checkpoint = text),
    show: ({ checkpoint }) => checkpoint,
  },
  'x-line-timeout': {
    help: 'milliseconds without a byte after which the line counts as broken',
    set: (parameters, text) => void (parameters.lineTimeoutMs = parseTime(text, 86_400_000) || 86_400_000),
    show: ({ lineTimeoutMs }) => lineTimeoutMs,
  },
};

/** Sets a parameter; throws `UsageError`. */
export function setParameter(parameters: MigrationParameters, name: string, text: string): void {
  const row = Object.hasOwn(parameterRows, name) ? parameterRows[name] : undefined;
  if (!row) throw new UsageError(`${name}: no such parameter; there are ${Object.keys(parameterRows).join(', ')}`);
  row.set(parameters, text);
}

interface CapabilityRow {
  readonly help: string;
  readonly set: (parameters: MigrationParameters, on: boolean) => void;
  readonly show: (parameters: MigrationParameters) => boolean;
}

/** The capabilities, by QEMU's names. */
export const capabilityRows: Readonly<Record<string, CapabilityRow>> = {
  'auto-converge': {
    help: 'a guest that dirties memory faster than the line takes it is held back',
    set: (parameters, on) => void (parameters.autoConverge = on),
    show: ({ autoConverge }) => autoConverge,
  },
  events: {
    help: 'QMP tells of phases and passes (MIGRATION, MIGRATION_PASS)',
    set: (parameters, on) => void (parameters.events = on),
    show: ({ events }) => events,
  },
};

/** Sets a capability; throws `UsageError`. */
export function setCapability(parameters: MigrationParameters, name: string, text: string): void {
  const row = Object.hasOwn(capabilityRows, name) ? capabilityRows[name] : undefined;
  if (!row) throw new UsageError(`${name}: no such capability; there are ${Object.keys(capabilityRows).join(', ')}`);
  if (text !== 'on' && text !== 'off') throw new UsageError(`write migrate_set_capability ${name} on|off`);
  row.set(parameters, text === 'on');
}
