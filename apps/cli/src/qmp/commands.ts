import { assertMigratable } from '@nestvm/migration';
import { writeBytes } from '../files.js';
import { parameterRows, setCapability, setParameter } from '../migration/parameters.js';
import { askForMemory } from '../monitor/balloon.js';
import { createMonitorMemory, execute, type MonitorMemory, sendKeys } from '../monitor/commands.js';
import type { MonitorTarget } from '../monitor/target.js';
import { dumpScreen } from '../screendump.js';
import { addCharacter, addNetwork, addObject, setLink } from './additions.js';
import { cpuOf, flagOf, numberOf, optionalNumber, type QmpArguments, textOf } from './arguments.js';
import type { QmpCommand } from './command.js';
import { QmpError } from './errors.js';
import { sendEvents } from './input.js';
import { activeBalloon, type QmpQuery, queries } from './queries.js';
import { describeCommands } from './schema.js';

/** `migrate`: says no at once to what is no address, and while an L2 is active, unless it is to wait; from then on `query-migrate` and events tell how it goes. */
function migrate(target: MonitorTarget, given: QmpArguments): void {
  const uri = textOf(given, 'uri');
  const wait = flagOf(given, 'x-wait-for-l2');
  target.migration.assertCanMigrate(uri);
  if (!wait) assertMigratable(target.machine().migratable, 'migrate this machine');
  // The failure is kept for query-migrate.
  target.migration.migrate(uri, wait).catch(() => {});
}

function setParameters(target: MonitorTarget, given: QmpArguments): void {
  const { parameters } = target.migration;
  for (const [name, value] of Object.entries(given)) {
    if (typeof value !== 'string' && typeof value !== 'number') throw new QmpError('GenericError', `Invalid parameter type for '${name}'`);
    // Numbers of QMP are bytes and milliseconds; those of the monitor have units.
    if (name === 'max-bandwidth') parameters.maxBandwidth = numberOf(given, name);
    else setParameter(parameters, name, String(value));
  }
}

function setCapabilities(target: MonitorTarget, given: QmpArguments): void {
  const list = given['capabilities'];
  if (!Array.isArray(list)) throw new QmpError('GenericError', "Invalid parameter type for 'capabilities', expected: array");
  for (const item of list) {
    const { capability, state } = (item ?? {}) as { capability?: unknown; state?: unknown };
    if (typeof state !== 'boolean') throw new QmpError('GenericError', "capabilities: write {'capability': NAME, 'state': true|false}");
    setCapability(target.migration.parameters, String(capability), state ? 'on' : 'off');
  }
}

async function monitorLine(target: MonitorTarget, given: QmpArguments): Promise<string> {
  const memory: MonitorMemory = createMonitorMemory();
  memory.cpu = cpuOf(given, target.machine().cpus.length);
  let said = '';
  const answer = await execute(target, memory, textOf(given, 'command-line'), (text) => {
    said += text;
  });
  return (said + answer).replaceAll('\n', '\r\n');
}

function keys(target: MonitorTarget, given: QmpArguments): void {
  const list = given['keys'];
  if (!Array.isArray(list)) throw new QmpError('GenericError', "Invalid parameter type for 'keys', expected: array");
  const names = list.map((key: unknown) => {
    const { type, data } = (key ?? {}) as { type?: unknown; data?: unknown };
    if (type !== 'qcode' || typeof data !== 'string') throw new QmpError('GenericError', "keys: write {'type': 'qcode', 'data': NAME}");
    return data;
  });
  sendKeys(target, names, optionalNumber(given, 'hold-time'));
}

function balloon(target: MonitorTarget, given: QmpArguments): void {
  const bytes = numberOf(given, 'value');
  if (bytes === 0) throw new QmpError('GenericError', "Parameter 'target' expects a size");
  askForMemory(activeBalloon(target), bytes);
}

function saveMemory(target: MonitorTarget, given: QmpArguments, physical: boolean): void {
  const { inspector, config, cpus } = target.machine();
  const address = numberOf(given, 'val');
  const size = numberOf(given, 'size');
  if (size > config.memoryBytes) throw new QmpError('GenericError', `size: ${size} bytes are more than the machine's memory`);
  const bytes = new Uint8Array(size);
  const done = physical ? inspector.readPhysical(address, bytes) : inspector.readLinear(cpuOf(given, cpus.length), BigInt(address), bytes);
  if (done < size) throw new QmpError('GenericError', `Invalid addr 0x${address.toString(16)}/size ${size} specified: ${done} bytes can be read`);
  writeBytes(physical ? 'pmemsave' : 'memsave', textOf(given, 'filename'), bytes);
}

function screenDump(target: MonitorTarget, given: QmpArguments): void {
  const [format, device] = [given['format'], given['device']];
  dumpScreen(target.machine(), {
    path: textOf(given, 'filename'),
    ...(format === undefined ? {} : { format: textOf(given, 'format') }),
    ...(device === undefined ? {} : { device: textOf(given, 'device') }),
  });
}

function changeMedium(target: MonitorTarget, given: QmpArguments): Promise<void> {
  const format = given['format'];
  if (format !== undefined && format !== 'raw' && format !== 'qcow2')
    throw new QmpError('GenericError', `Unknown driver '${JSON.stringify(format)}'`);
  const mode = given['read-only-mode'] ?? 'retain';
  if (mode !== 'retain' && mode !== 'read-only') throw new QmpError('GenericError', `read-only-mode: '${JSON.stringify(mode)}': a CD is read-only`);
  return target.media.change(driveOf(given), textOf(given, 'filename'), { force: given['force'] === true, ...(format ? { format } : {}) });
}

/** The drive that `id` or `device` names. */
const driveOf = (given: QmpArguments): string => textOf(given, given['id'] === undefined ? 'device' : 'id');

/** The words of `-device` as JSON has them. */
function addDevice(target: MonitorTarget, given: QmpArguments): Promise<void> {
  const values = new Map<string, string>();
  for (const [key, value] of Object.entries(given)) {
    if (key === 'driver') continue;
    if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean')
      throw new QmpError('GenericError', `Invalid parameter type for '${key}', expected: a text, a number or a boolean`);
    values.set(key, typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value));
  }
  return target.plugging.add(textOf(given, 'driver'), values);
}

/** Names of the arguments that a command takes. */
export const parametersOf = ({ arguments: parameters = {} }: QmpCommand): string[] => Object.keys(parameters).map((name) => name.replace('*', ''));

const query = (run: QmpQuery): QmpCommand => ({ run });

/** Every command of QMP that there is here. Names with `x-` are ours. */
export const qmpCommands: Readonly<Record<string, QmpCommand>> = {
  stop: { run: (target) => target.stop() },
  cont: { run: (target) => target.resume() },
  quit: { run: (target) => target.quit() },
  system_reset: { run: (target) => target.reset() },
  system_powerdown: { run: (target) => target.powerButton() },
  'inject-nmi': { run: (target) => target.machine().nmi() },
  'input-send-event': { arguments: { '*device': 'str', '*head': 'int', events: '[any]' }, run: sendEvents },
  'send-key': { arguments: { keys: '[any]', '*hold-time': 'int' }, run: keys },
  'human-monitor-command': { arguments: { 'command-line': 'str', '*cpu-index': 'int' }, run: monitorLine },
  balloon: { arguments: { value: 'int' }, run: balloon },
  memsave: { arguments: { val: 'int', size: 'int', filename: 'str', '*cpu-index': 'int' }, run: (target, given) => saveMemory(target, given, false) },
  pmemsave: { arguments: { val: 'int', size: 'int', filename: 'str' }, run: (target, given) => saveMemory(target, given, true) },
  screendump: { arguments: { filename: 'str', '*device': 'str', '*head': 'int', '*format': 'str' }, run: screenDump },
  eject: {
    arguments: { '*device': 'str', '*id': 'str', '*force': 'bool' },
    run: (target, given) => target.media.eject(driveOf(given), given['force'] === true),
  },
  'blockdev-open-tray': {
    arguments: { '*device': 'str', '*id': 'str', '*force': 'bool' },
    run: (target, given) => target.media.eject(driveOf(given), given['force'] === true),
  },
  'blockdev-change-medium': {
    arguments: { '*device': 'str', '*id': 'str', filename: 'str', '*format': 'str', '*force': 'bool', '*read-only-mode': 'str' },
    run: changeMedium,
  },
  'blockdev-close-tray': { arguments: { '*device': 'str', '*id': 'str' }, run: (target, given) => target.media.assertCd(driveOf(given)) },
  'blockdev-remove-medium': { arguments: { id: 'str' }, run: (target, given) => target.media.eject(driveOf(given), true) },
  'blockdev-insert-medium': {
    arguments: { id: 'str', 'node-name': 'str' },
    run: (target, given) => target.media.insert(driveOf(given), textOf(given, 'node-name')),
  },
  'blockdev-add': { arguments: { driver: 'str', 'node-name': 'str' }, open: true, run: (target, given) => target.media.addNode(given) },
  'blockdev-del': { arguments: { 'node-name': 'str' }, run: (target, given) => target.media.removeNode(textOf(given, 'node-name')) },
  netdev_add: { arguments: { type: 'str', id: 'str' }, open: true, run: addNetwork },
  netdev_del: { arguments: { id: 'str' }, run: (target, given) => target.additions.removeNetwork(textOf(given, 'id')) },
  set_link: { arguments: { name: 'str', up: 'bool' }, run: setLink },
  'chardev-add': { arguments: { id: 'str', backend: 'any' }, run: addCharacter },
  'chardev-remove': { arguments: { id: 'str' }, run: (target, given) => target.additions.removeCharacter(textOf(given, 'id')) },
  'object-add': { arguments: { 'qom-type': 'str', id: 'str' }, open: true, run: addObject },
  'object-del': { arguments: { id: 'str' }, run: (target, given) => target.additions.removeObject(textOf(given, 'id')) },
  device_add: { arguments: { driver: 'str', '*id': 'str' }, open: true, run: addDevice },
  device_del: { arguments: { id: 'str' }, run: (target, given) => target.plugging.remove(textOf(given, 'id')) },
  migrate: {
    arguments: { uri: 'str', '*blk': 'bool', '*inc': 'bool', '*detach': 'bool', '*resume': 'bool', '*x-wait-for-l2': 'bool' },
    run: migrate,
  },
  'migrate-incoming': { arguments: { uri: 'str' }, run: (target, given) => target.migration.receiveFrom(textOf(given, 'uri')) },
  migrate_cancel: { run: (target) => void target.migration.cancelMigration() },
  'migrate-set-parameters': {
    arguments: Object.fromEntries(Object.keys(parameterRows).map((name) => [`*${name}`, 'any'] as const)),
    run: setParameters,
  },
  'migrate-set-capabilities': { arguments: { capabilities: '[any]' }, run: setCapabilities },
  'x-savevm': { arguments: { path: 'str' }, run: (target, given) => target.migration.save(textOf(given, 'path')).then(() => {}) },
  'x-loadvm': { arguments: { path: 'str' }, run: (target, given) => target.migration.load(textOf(given, 'path')).then(() => {}) },
  ...Object.fromEntries(Object.entries(queries).map(([name, run]) => [name, query(run)])),
  'query-qmp-schema': { run: () => describeCommands(qmpCommands) },
  'query-commands': { run: () => [...Object.keys(qmpCommands), 'qmp_capabilities'].sort().map((name) => ({ name })) },
};
