import type { Additions } from '../additions.js';
import { UsageError } from '../errors.js';
import { parseSwitch } from '../options/text.js';

/** A command about what devices are plugged into. */
interface AdditionRow {
  readonly help: string;
  readonly run: (additions: Additions, args: readonly string[]) => string | Promise<string | void> | void;
}

function one(command: string, args: readonly string[], what: string): string {
  if (args.length === 0) throw new UsageError(`write ${command} ${what}`);
  return args.join(' ');
}

/** Words of which the last must be there, the first not. */
function lastOf(command: string, args: readonly string[], what: string): readonly [last: string, first?: string] {
  if (args.length < 1 || args.length > 2) throw new UsageError(`write ${command} ${what}`);
  return args.length === 1 ? [args[0]!] : [args[1]!, args[0]!];
}

/** Commands of the monitor that add and remove networks, character devices and drives. */
export const additionCommands: Readonly<Record<string, AdditionRow>> = {
  netdev_add: {
    help: 'netdev_add user|socket|…,id=ID[,…]: a network, as -netdev, for device_add virtio-net-pci,netdev=ID',
    run: (additions, args) => additions.addNetwork(one('netdev_add', args, 'user,id=ID[,…]')),
  },
  netdev_del: {
    help: 'netdev_del ID: end a network that no card has',
    run: (additions, args) => additions.removeNetwork(one('netdev_del', args, 'ID')),
  },
  hostfwd_add: {
    help: 'hostfwd_add [NETDEV] tcp|udp:[HOST-ADDRESS]:PORT-[GUEST-ADDRESS]:PORT: open a port of the host that leads to the guest',
    run: (additions, args) => additions.addForward(...lastOf('hostfwd_add', args, '[NETDEV] tcp::8080-:80')),
  },
  hostfwd_remove: {
    help: 'hostfwd_remove [NETDEV] tcp|udp:[HOST-ADDRESS]:PORT: close it',
    run: (additions, args) => additions.removeForward(...lastOf('hostfwd_remove', args, '[NETDEV] tcp::8080')),
  },
  set_link: {
    help: 'set_link NAME on|off: the cable of a network card, which is named by itself or by its network',
    run: (additions, [name, state]) => {
      if (name === undefined || state === undefined) throw new UsageError('write set_link NAME on|off');
      additions.setLink(name, parseSwitch(name, state));
    },
  },
  'chardev-add': {
    help: 'chardev-add socket|file|pty|null,id=ID[,…]: a character device, as -chardev',
    run: async (additions, args) => {
      const name = await additions.addCharacter(one('chardev-add', args, 'socket,id=ID,path=PATH'));
      return name === undefined ? '' : `char device redirected to ${name}\n`;
    },
  },
  'chardev-remove': {
    help: 'chardev-remove ID: close a character device that no device has',
    run: (additions, args) => additions.removeCharacter(one('chardev-remove', args, 'ID')),
  },
  object_add: {
    help: 'object_add filter-dump|tls-creds-x509|…,id=ID[,…]: what -object makes',
    run: (additions, args) => additions.addObject(one('object_add', args, 'filter-dump,id=ID,netdev=ID,file=F')),
  },
  object_del: {
    help: 'object_del ID: end an object',
    run: (additions, args) => additions.removeObject(one('object_del', args, 'ID')),
  },
  drive_add: {
    help: 'drive_add 0 if=none,file=F,id=ID[,…]: a disk image, as -drive, for device_add …,drive=ID',
    run: (additions, args) =>
      additions.addDrive(one('drive_add', args[0] === undefined || args[0].includes('=') ? args : args.slice(1), '0 if=none,file=F,id=ID')),
  },
};
