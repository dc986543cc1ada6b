import type { QmpCommand, QmpParameters, QmpType } from './command.js';
import { QMP_EVENTS } from './events.js';

/** Types that have no parts, with what JSON has for them ("QEMU QAPI", Client JSON Protocol introspection). */
const BUILT_IN: Readonly<Record<Exclude<QmpType, '[any]'>, string>> = { str: 'string', int: 'int', bool: 'boolean', any: 'value' };

/** Name of the object type without members. */
const EMPTY = '0';

const membersOf = (parameters: QmpParameters): unknown[] =>
  Object.entries(parameters).map(([name, type]) => (name.startsWith('*') ? { name: name.slice(1), type, default: null } : { name, type }));

/** `query-qmp-schema`: the commands with their arguments, and the events; results are any value. */
export function describeCommands(commands: Readonly<Record<string, QmpCommand>>): unknown[] {
  const types: unknown[] = [{ name: EMPTY, 'meta-type': 'object', members: [] }];
  const described = Object.entries(commands).map(([name, { arguments: parameters }]) => {
    const argument = parameters ? `q_obj_${name}-arg` : EMPTY;
    if (parameters) types.push({ name: argument, 'meta-type': 'object', members: membersOf(parameters) });
    return { name, 'meta-type': 'command', 'arg-type': argument, 'ret-type': 'any', 'allow-oob': false };
  });
  const capabilities = { name: 'qmp_capabilities', 'meta-type': 'command', 'arg-type': EMPTY, 'ret-type': EMPTY, 'allow-oob': false };
  return [
    ...described,
    capabilities,
    ...QMP_EVENTS.map((name) => ({ name, 'meta-type': 'event', 'arg-type': EMPTY })),
    ...types,
    { name: '[any]', 'meta-type': 'array', 'element-type': 'any' },
    ...Object.entries(BUILT_IN).map(([name, json]) => ({ name, 'meta-type': 'builtin', 'json-type': json })),
  ];
}
