import type { HostForward } from '@nestvm/networks';
import { UsageError } from '../errors.js';
import type { DatagramSpec } from '../networks/datagram-cable.js';
import { takeOnly, userOnly } from './only.js';
import { assertKeys, parseInteger, parseProperties, parseSwitch, splitCommas } from './text.js';

/** A network of `-netdev` or `-nic`. */
export type NetworkSpec = { readonly id: string; readonly option: string } & (
  | {
      readonly kind: 'user';
      readonly net?: string;
      readonly restrict: boolean;
      readonly hostName?: string;
      readonly domainName?: string;
      readonly hostAddress?: string;
      readonly dnsAddress?: string;
      readonly dhcpStart?: string;
      /** Folder that guests read by TFTP, and the file in it that DHCP names. */
      readonly tftpFolder?: string;
      readonly bootFile?: string;
      readonly forwards: readonly HostForward[];
      readonly guestForwards?: readonly GuestForwardSpec[];
    }
  | { readonly kind: 'socket'; readonly end: 'listen' | 'connect'; readonly address: string; readonly port: number }
  | { readonly kind: 'datagrams'; readonly datagrams: DatagramSpec }
  | { readonly kind: 'websocket'; readonly url: string }
  | { readonly kind: 'hubport'; readonly hub: number; readonly netdev?: string }
);

/** `guestfwd=`: a place in the network of the guest, and what is behind it. */
export interface GuestForwardSpec {
  readonly address: string;
  readonly port: number;
  readonly to: { readonly kind: 'tcp'; readonly address: string; readonly port: number } | { readonly kind: 'command'; readonly command: string };
}

/** `-object filter-dump`. */
export interface DumpSpec {
  readonly id: string;
  readonly netdev: string;
  readonly path: string;
  readonly mostBytes: number;
}

/** A card that `-nic` plugs in. */
export interface NicSpec {
  readonly netdev: string;
  readonly mac?: string;
}

/** All about networks on the command line. */
export interface NetworkSpecs {
  readonly networks: readonly NetworkSpec[];
  readonly nics: readonly NicSpec[];
  readonly dumps: readonly DumpSpec[];
}

type Values = ReadonlyMap<string, string>;

/** `tcp:[hostaddr]:hostport-[guestaddr]:guestport`; throws `UsageError`. */
export function parseForward(text: string): HostForward {
  const match = /^(?:(tcp|udp):)?([\d.]*):(\d+)-([\d.]*):(\d+)$/.exec(text);
  if (!match) throw new UsageError(`hostfwd=${text}: not a rule; write hostfwd=tcp::8080-:80 (tcp|udp:[HOST-ADDRESS]:PORT-[GUEST-ADDRESS]:PORT)`);
  const [, protocol = 'tcp', hostAddress, hostPort, guestAddress, guestPort] = match;
  return {
    protocol: protocol as 'tcp' | 'udp',
    ...(hostAddress ? { hostAddress } : {}),
    hostPort: parseInteger('hostfwd', hostPort!, 0, 65_535),
    ...(guestAddress ? { guestAddress } : {}),
    guestPort: parseInteger('hostfwd', guestPort!, 1, 65_535),
  };
}

/** `tcp:ADDRESS:PORT-tcp:ADDRESS:PORT`, or `-cmd:COMMAND`. */
function parseGuestForward(text: string): GuestForwardSpec {
  const [, address, port, target = ''] = /^(?:tcp)?:([\d.]+):(\d+)-(.*)$/s.exec(text) ?? [];
  const [, tcpAddress, tcpPort] = /^tcp:([\d.]+):(\d+)$/.exec(target) ?? [];
  const [, command] = /^cmd:\s*(.+)$/s.exec(target) ?? [];
  if (address === undefined || (tcpPort === undefined && command === undefined))
    throw new UsageError(`guestfwd=${text}: not a rule; write guestfwd=tcp:10.0.2.100:7-tcp:127.0.0.1:7000, or -cmd:COMMAND at its end`);
  const place = { address, port: parseInteger('guestfwd', port!, 1, 65_535) };
  if (command !== undefined) return { ...place, to: { kind: 'command', command } };
  return { ...place, to: { kind: 'tcp', address: tcpAddress!, port: parseInteger('guestfwd', tcpPort!, 1, 65_535) } };
}

type UserSpec = Omit<Extract<NetworkSpec, { kind: 'user' }>, 'kind' | 'id' | 'option'>;

/** Texts of a user network, and what they are called in it. */
const USER_TEXTS = {
  net: 'net',
  hostname: 'hostName',
  domainname: 'domainName',
  host: 'hostAddress',
  dns: 'dnsAddress',
  dhcpstart: 'dhcpStart',
  tftp: 'tftpFolder',
  bootfile: 'bootFile',
} as const;

function parseUser(option: string, text: string, given: Values): UserSpec {
  const values = new Map(given);
  takeOnly(option, values, userOnly);
  assertKeys(option, values, [...Object.keys(USER_TEXTS), 'restrict', 'hostfwd', 'guestfwd']);
  const all = <T>(key: string, parse: (value: string) => T): T[] =>
    splitCommas(text).flatMap((part) => (part.startsWith(`${key}=`) ? [parse(part.slice(key.length + 1))] : []));
  const texts = Object.entries(USER_TEXTS).flatMap(([key, name]) => (values.has(key) ? [[name, values.get(key)!] as const] : []));
  const guestForwards = all('guestfwd', parseGuestForward);
  return {
    restrict: values.has('restrict') && parseSwitch(`${option} restrict`, values.get('restrict')!),
    forwards: all('hostfwd', parseForward),
    ...(guestForwards.length > 0 ? { guestForwards } : {}),
    ...(Object.fromEntries(texts) as Partial<Record<(typeof USER_TEXTS)[keyof typeof USER_TEXTS], string>>),
  };
}

function parseSocket(option: string, values: Values): { end: 'listen' | 'connect'; address: string; port: number } {
  const end = values.has('listen') ? 'listen' : 'connect';
  const place = values.get(end);
  const match = /^([^:]*):(\d+)$/.exec(place ?? '');
  if (!match || values.has('listen') === values.has('connect'))
    throw new UsageError(`${option}: which end of the cable is missing; write listen=:1234 or connect=127.0.0.1:1234`);
  return { end, address: match[1] || '127.0.0.1', port: parseInteger(option, match[2]!, 0, 65_535) };
}

/** `ADDRESS:PORT`; throws `UsageError`. */
function parsePlace(option: string, key: string, text: string | undefined): { address: string; port: number } {
  const match = /^([\d.]+):(\d+)$/.exec(text ?? '');
  if (!match) throw new UsageError(`${option}: ${key}=${text ?? ''}: write ${key}=ADDRESS:PORT`);
  return { address: match[1]!, port: parseInteger(option, match[2]!, 1, 65_535) };
}

/** `mcast=GROUP:PORT[,localaddr=ADDRESS]` or `udp=ADDRESS:PORT,localaddr=ADDRESS:PORT`; throws `UsageError`. */
function parseDatagrams(option: string, values: Values): DatagramSpec {
  const local = values.get('localaddr');
  if (values.has('udp')) {
    const { address, port } = parsePlace(option, 'localaddr', local);
    return { kind: 'peer', ...parsePlace(option, 'udp', values.get('udp')), localAddress: address, localPort: port };
  }
  const group = parsePlace(option, 'mcast', values.get('mcast'));
  const first = Number(group.address.split('.')[0]);
  if (!(first >= 224 && first <= 239))
    throw new UsageError(`${option}: mcast=${group.address}: not a group; use an address from 224.0.0.0 to 239.255.255.255`);
  return { kind: 'group', ...group, ...(local === undefined ? {} : { localAddress: local }) };
}

/** Networks of QEMU that are not here, and what does their work. */
const ABSENT: Readonly<Record<string, string>> = {
  tap: '; user reaches what the host reaches, with hostfwd= for the way in',
  bridge: '; user reaches what the host reaches, with hostfwd= for the way in',
  passt: '; user does the same work',
  stream: '; socket,listen=:PORT and socket,connect=HOST:PORT are the same cable',
  dgram: '; socket,udp=HOST:PORT,localaddr=HOST:PORT and socket,mcast=GROUP:PORT are the same cable',
};

/** Parses what is behind the name of a kind of network; throws `UsageError`. */
export function parseNetwork(kind: string, id: string, option: string, text: string, values: Values): NetworkSpec {
  const without = new Map([...values].filter(([key]) => key !== 'id' && key !== 'model' && key !== 'mac' && key !== 'netdev'));
  switch (kind) {
    case 'user': {
      return { kind, id, option, ...parseUser(option, text, without) };
    }
    case 'socket':
      if (without.has('mcast') || without.has('udp')) {
        assertKeys(option, without, [without.has('udp') ? 'udp' : 'mcast', 'localaddr']);
        return { kind: 'datagrams', id, option, datagrams: parseDatagrams(option, without) };
      }
      assertKeys(option, without, ['listen', 'connect']);
      return { kind, id, option, ...parseSocket(option, values) };
    case 'websocket': {
      assertKeys(option, without, ['url']);
      const url = values.get('url') ?? '';
      if (!/^wss?:\/\//.test(url) || !URL.canParse(url)) throw new UsageError(`${option}: url=${url}: not a relay; write url=ws://HOST:PORT/`);
      return { kind, id, option, url };
    }
    case 'hubport': {
      assertKeys(option, without, ['hubid']);
      const netdev = values.get('netdev');
      return { kind, id, option, hub: parseInteger(`${option} hubid`, values.get('hubid') ?? '0', 0, 255), ...(netdev ? { netdev } : {}) };
    }
    default:
      throw new UsageError(`${option}: no such network; there are user, socket, websocket, hubport${ABSENT[kind] ?? ''}`);
  }
}

/** Parses the argument of `-netdev`, or of `netdev_add`; throws `UsageError`. */
export function parseNetdev(text: string, word = '-netdev'): NetworkSpec {
  const { head, values } = parseProperties(text);
  const id = values.get('id');
  if (id === undefined) throw new UsageError(`${word} ${text}: an id is missing; write ${word} ${head || 'user'},id=n0`);
  return parseNetwork(head, id, `${word} ${head},id=${id}`, text, values);
}

/** Throws unless a network has this name. */
export function assertNetwork(option: string, id: string, networks: readonly NetworkSpec[]): void {
  if (networks.some((network) => network.id === id)) return;
  const known = networks.map((network) => network.id);
  throw new UsageError(
    `${option}: no -netdev has the id '${id}'; ${known.length > 0 ? `there are ${known.join(', ')}` : `add -netdev user,id=${id}`}`,
  );
}
