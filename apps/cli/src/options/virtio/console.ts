import { UsageError } from '../../errors.js';
import { type CharacterSpec, namedCharacterDevice } from '../character.js';
import { parseInteger } from '../text.js';
import { type ChildRow, parentOf } from './children.js';
import type { VirtioRow } from './row.js';

const MOST_PORTS = 31;

/** A port: a terminal of the guest, or a channel with a name. */
export interface PortSpec {
  readonly id?: string;
  readonly number: number;
  readonly console: boolean;
  readonly name?: string;
  readonly to: CharacterSpec;
}

/** What a console device is told; the ports add themselves. */
export interface ConsoleSpec {
  readonly kind: 'console';
  readonly ports: PortSpec[];
  readonly mostPorts: number;
  /** There is room for as many ports from the start, so that some may come later. */
  readonly room: boolean;
}

/** `virtio-serial`. */
export const consoleRow: VirtioRow<ConsoleSpec> = {
  stem: 'virtio-serial',
  keys: ['max_ports'],
  help: 'ports for virtconsole and virtserialport',
  parse: (option, values) => ({
    kind: 'console',
    ports: [],
    room: values.has('max_ports'),
    mostPorts: parseInteger(`${option},max_ports`, values.get('max_ports') ?? String(MOST_PORTS), 1, MOST_PORTS),
  }),
};

type Specs = ConsoleSpec & { readonly id?: string };
type Parent = { readonly kind: string; readonly id?: string };

const portRow = (console: boolean, properties: readonly string[], help: string): ChildRow<Parent, ConsoleSpec> => ({
  properties,
  help,
  attach: (devices, option, values, characters) => {
    const parent = parentOf<Specs, 'console'>(
      devices as readonly Specs[],
      { kind: 'console', controller: 'virtio-serial-pci' },
      option,
      values.get('bus'),
    );
    const { ports, mostPorts } = parent;
    const chardev = values.get('chardev');
    if (chardev === undefined)
      throw new UsageError(`${option}: chardev= is missing; write -chardev socket,id=c0,path=P,server=on ${option},chardev=c0`);
    const name = values.get('name');
    const id = values.get('id');
    const number = portNumber(option, values.get('nr'), console, ports, mostPorts);
    ports.push({
      number,
      console,
      to: namedCharacterDevice(option, chardev, characters),
      ...(name === undefined ? {} : { name }),
      ...(id === undefined ? {} : { id }),
    });
    return parent;
  },
});

/** The number that is asked for, or the first free one: port 0 is kept for a console, which drivers without ports see. */
function portNumber(option: string, wish: string | undefined, console: boolean, ports: readonly PortSpec[], most: number): number {
  const free = (number: number): boolean => !ports.some((port) => port.number === number);
  let number = console ? 0 : 1;
  if (wish !== undefined) number = parseInteger(`${option},nr`, wish, 0, most - 1);
  else while (!free(number)) number++;
  if (wish !== undefined && !free(number)) throw new UsageError(`${option},nr=${number}: another port has this number; leave nr= out for a free one`);
  if (number >= most) throw new UsageError(`${option}: the device has ${most} ports at most; add another virtio-serial-pci`);
  return number;
}

/** What is plugged into a `virtio-serial`. */
export const portRows: Readonly<Record<string, ChildRow<Parent, ConsoleSpec>>> = {
  virtconsole: portRow(true, ['id', 'bus', 'chardev', 'name', 'nr'], 'a terminal of the guest (hvc0 …) on a -chardev, in a virtio-serial'),
  virtserialport: portRow(false, ['id', 'bus', 'chardev', 'name', 'nr'], 'a channel (/dev/virtio-ports/NAME) on a -chardev, in a virtio-serial'),
};
