import { cpuModelNames, parseCpu } from '@nestvm/isa/models';
import { boardNames, type Machine } from '@nestvm/machine';
import { isActive, strongestClass } from '@nestvm/migration';
import { capabilityRows, parameterRows } from '../migration/parameters.js';
import { findBalloon, guestBytes } from '../monitor/balloon.js';
import { machineUuid } from '../monitor/registers.js';
import type { MonitorTarget } from '../monitor/target.js';
import { QmpError } from './errors.js';
import { QMP_EVENTS } from './events.js';
import { qmpPhase } from './phases.js';
import { qmpVersion } from './version.js';

/** A command that only tells something. */
export type QmpQuery = (target: MonitorTarget) => unknown;

const HALTED = 1;
const PAGE_BYTES = 4096;

function cpus(target: MonitorTarget): unknown {
  const { topology } = target.machine().config.cpu;
  return target.machine().cpus.map((cpu) => ({
    'cpu-index': cpu.index,
    'qom-path': `/machine/unattached/cpu[${cpu.index}]`,
    'thread-id': process.pid,
    target: 'x86_64',
    props: {
      'socket-id': Math.floor(cpu.index / (topology.cores * topology.threads)),
      'core-id': Math.floor(cpu.index / topology.threads) % topology.cores,
      'thread-id': cpu.index % topology.threads,
    },
    'x-halted': cpu.get32('activity') === HALTED,
    'x-guest-mode': cpu.get32('guestMode') !== 0,
  }));
}

/** `query-migrate`: times in ms, sizes in bytes. */
function migration({ migration }: MonitorTarget): unknown {
  const { progress, lastError } = migration;
  const failed = lastError === undefined ? {} : { status: 'failed', 'error-desc': lastError };
  if (progress === undefined) return migration.cancelledEarly ? { status: 'cancelled' } : failed;
  const { phase, elapsedMs, transferredBytes, remainingBytes, totalBytes, throughput, dirtyRate, passes, downtimeMs, expectedDowntimeMs } = progress;
  const { sentPages, clearPages, throttle } = progress;
  return {
    status: qmpPhase(phase),
    'total-time': Math.round(elapsedMs),
    ...(downtimeMs === null ? { 'expected-downtime': Math.round(expectedDowntimeMs) } : { downtime: Math.round(downtimeMs) }),
    ram: {
      transferred: transferredBytes,
      remaining: remainingBytes,
      total: totalBytes,
      normal: sentPages,
      'normal-bytes': sentPages * PAGE_BYTES,
      duplicate: clearPages,
      skipped: 0,
      mbps: (throughput * 8) / 1e6,
      'dirty-sync-count': passes,
      'dirty-pages-rate': Math.round(dirtyRate / PAGE_BYTES),
      'page-size': PAGE_BYTES,
    },
    ...(throttle > 0 ? { 'cpu-throttle-percentage': Math.round(throttle * 100) } : {}),
    ...failed,
  };
}

/** `x-query-nested`: whether a nested guest forbids a snapshot, and every VMCS or VMCB that was entered. */
function nested(target: MonitorTarget): unknown {
  const contexts = target.machine().migratable.nested.inspect();
  const { entries, failedEntries, exits } = target.machine().levels();
  return {
    class: strongestClass(contexts),
    migratable: !contexts.some(isActive),
    contexts: contexts.map((context) => ({ ...context, active: isActive(context) })),
    entries,
    'failed-entries': failedEntries,
    exits,
  };
}

/** `query-block`: the drives under the names of their options. */
const block = ({ media }: MonitorTarget): unknown =>
  media.list().map(({ name, path, format, readOnly, removable, trayOpen, locked }) => ({
    device: name,
    qdev: name,
    type: 'unknown',
    removable,
    locked,
    ...(removable ? { tray_open: trayOpen } : {}),
    ...(path === undefined
      ? {}
      : { inserted: { file: path, drv: format ?? 'raw', ro: readOnly, encrypted: false, image: { filename: path, format: format ?? 'raw' } } }),
  }));

/** `query-named-block-nodes`: the drives of the command line, and what was added. */
const blockNodes = ({ media }: MonitorTarget): unknown =>
  media.named().map(({ name, path = '', format = 'raw', readOnly }) => ({
    'node-name': name,
    file: path,
    drv: format,
    ro: readOnly,
    encrypted: false,
    cache: { writeback: true, direct: false, 'no-flush': false },
    image: { filename: path, format },
  }));

function pci(target: MonitorTarget): unknown {
  const functions = target.machine().platform.pci?.functions ?? [];
  const devices = functions.flatMap((pciFunction, devfn) =>
    pciFunction === undefined
      ? []
      : [
          {
            bus: 0,
            slot: devfn >> 3,
            function: devfn & 7,
            qdev_id: pciFunction.name,
            class_info: { class: pciFunction.get16(10) },
            id: { vendor: pciFunction.get16(0), device: pciFunction.get16(2) },
            regions: pciFunction.bars.map(({ options }) => ({
              bar: options.index,
              type: options.kind === 'io' ? 'io' : 'memory',
              address: pciFunction.barBase(options),
              size: options.size,
            })),
          },
        ],
  );
  return functions.length === 0 ? [] : [{ bus: 0, devices }];
}

/** The machine, if it has a balloon. */
export function activeBalloon(target: MonitorTarget): Machine {
  const machine = target.machine();
  if (findBalloon(machine)) return machine;
  throw new QmpError('DeviceNotActive', 'No balloon device has been activated');
}

const definition = (name: string): unknown => {
  const { missing } = parseCpu(name);
  return {
    name,
    typename: `${name}-x86_64-cpu`,
    static: false,
    'migration-safe': name !== 'max' && name !== 'host',
    'unavailable-features': missing,
  };
};

/** The commands that change nothing. */
export const queries: Readonly<Record<string, QmpQuery>> = {
  'query-version': () => qmpVersion,
  'query-status': (target) => ({ status: target.state(), running: target.state() === 'running', singlestep: false }),
  'query-name': ({ name }) => ({ name }),
  'query-target': () => ({ arch: 'x86_64' }),
  'query-kvm': () => ({ enabled: false, present: false }),
  'query-uuid': (target) => ({ UUID: machineUuid(target.machine()) }),
  'query-iothreads': () => [],
  'query-block-jobs': () => [],
  'query-jobs': () => [],
  'query-events': () => QMP_EVENTS.map((name) => ({ name })),
  'query-machines': () =>
    boardNames.map((name) => ({ name, 'cpu-max': 255, 'hotpluggable-cpus': false, ...(name === 'pc' ? { 'is-default': true } : {}) })),
  'query-cpu-definitions': () => cpuModelNames.map(definition),
  'query-cpus-fast': cpus,
  'query-memory-size-summary': (target) => ({ 'base-memory': target.machine().config.memoryBytes }),
  'query-block': block,
  'query-named-block-nodes': blockNodes,
  'query-chardev': (target) => target.characters().map(({ label, filename }) => ({ label, filename, 'frontend-open': true })),
  'query-migrate': migration,
  'query-balloon': (target) => ({ actual: guestBytes(activeBalloon(target)) }),
  'query-migrate-parameters': ({ migration: { parameters } }) =>
    Object.fromEntries(Object.entries(parameterRows).map(([name, { show }]) => [name, show(parameters)])),
  'query-migrate-capabilities': ({ migration: { parameters } }) =>
    Object.entries(capabilityRows).map(([capability, { show }]) => ({ capability, state: show(parameters) })),
  'query-pci': pci,
  'x-query-nested': nested,
};
