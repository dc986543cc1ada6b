import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { expect, it } from 'vitest';
import { freePort } from './ports.js';
import { negotiated } from './qmp-client.js';
import { fileOf, pathFor } from './spawn.js';

const TIMEOUT = 300_000;
/** Waits for interrupts, for ever. */
const IDLE = [0xfb, 0xf4, 0xeb, 0xfd];

async function control(...options: string[]) {
  const { running, qmp } = await negotiated(IDLE, ...options);
  return {
    qmp,
    running,
    succeeds: async (command: string, given?: unknown): Promise<void> => expect(await qmp.call(command, given)).toEqual({ return: {} }),
    refuses: async (command: string, given: unknown, reason: RegExp): Promise<void> =>
      expect((await qmp.call(command, given)).error?.desc).toMatch(reason),
    say: async (line: string): Promise<string> => (await qmp.call('human-monitor-command', { 'command-line': line })).return as string,
    end: async (): Promise<void> => {
      await qmp.call('quit');
      expect(await running.ended).toMatchObject({ status: 0, err: '' });
    },
  };
}

const canConnect = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => (socket.destroy(), resolve(true)));
    socket.once('error', () => resolve(false));
  });

it(
  'networks come and go, with their ports and their cables',
  async () => {
    const { succeeds, refuses, say, end } = await control();
    const port = await freePort();
    await succeeds('netdev_add', { type: 'user', id: 'n', hostfwd: [{ str: `tcp::${port}-:22` }], restrict: true });
    expect(await canConnect(port)).toBe(true);
    await refuses('netdev_add', { type: 'user', id: 'n' }, /a network 'n' already/);
    await refuses('netdev_add', { type: 'user', id: 'm', hostfwd: [{ str: `tcp::${port}-:22` }] }, /the port is in use; choose another port/);
    await refuses('netdev_add', { type: 'tap', id: 't' }, /no such network; there are user.*hostfwd=/);
    await refuses('netdev_add', { type: 'user' }, /Parameter 'id' is missing/);
    await refuses('netdev_add', { type: 'hubport', id: 'h', hubid: 1, netdev: 'zz' }, /no -netdev has the id 'zz'/);
    await succeeds('device_add', { driver: 'virtio-net-pci', netdev: 'n', id: 'card' });
    await refuses('netdev_del', { id: 'n' }, /a card or a hub has the network 'n'/);
    await succeeds('set_link', { name: 'n', up: false });
    await succeeds('set_link', { name: 'card', up: true });
    expect(await say('info network')).toBe('card: type=nic,model=virtio-net-pci,macaddr=52:54:00:12:34:56\r\n \\ n: type=user\r\n');
    const dump = pathFor('dump.pcap');
    await succeeds('object-add', { 'qom-type': 'filter-dump', id: 'f', netdev: 'n', file: dump });
    await refuses('object-add', { 'qom-type': 'filter-dump', id: 'f', netdev: 'n', file: dump }, /an object 'f' already/);
    await refuses('object-add', { 'qom-type': 'filter-dump', id: 'g', netdev: 'zz', file: dump }, /no -netdev has the id 'zz'/);
    await refuses('object-add', { 'qom-type': 'can-bus', id: 'g' }, /no such object; there are filter-dump/);
    await succeeds('object-del', { id: 'f' });
    expect(readFileSync(dump).length).toBe(24);
    expect(await say('object_add iothread,id=io')).toBe('');
    expect(await say('object_del io')).toBe('');
    expect(await say('object_del io')).toMatch(/there is no object 'io'; there are none/);
    await refuses('set_link', { name: 'other', up: true }, /no network card 'other'; there are card/);
    const second = await freePort();
    expect(await say(`hostfwd_add tcp::${second}-:80`)).toBe('');
    expect(await canConnect(second)).toBe(true);
    expect(await say(`hostfwd_add n tcp::${second}-:80`)).toMatch(/^hostfwd_add: port \d+: the port is in use; choose another port/);
    expect(await say(`hostfwd_remove n tcp::${second}`)).toBe('');
    expect(await canConnect(second)).toBe(false);
    expect(await say(`hostfwd_remove tcp::${second}`)).toMatch(/there is no forward/);
    expect(await say('hostfwd_add')).toMatch(/write hostfwd_add \[NETDEV\]/);
    expect(await say('netdev_add user,id=other,net=10.9.0.0/24')).toBe('');
    expect(await say('hostfwd_add tcp::1-:1')).toMatch(/which user network is meant\? There are n, other/);
    expect(await say('netdev_del other')).toBe('');
    expect(await say('netdev_del other')).toMatch(/no -netdev has the id 'other'; there are n/);
    await end();
  },
  TIMEOUT,
);

it(
  'character devices and drives come and go, and units and ports on them',
  async () => {
    const image = fileOf(new Uint8Array(4096));
    const { qmp, succeeds, refuses, say, end } = await control('-device', 'virtio-scsi-pci,id=s', '-device', 'virtio-serial-pci,id=v,max_ports=3');
    const unix = { type: 'unix', data: { path: pathFor('chardev') } };
    await succeeds('chardev-add', { id: 'c', backend: { type: 'socket', data: { addr: unix, server: true, wait: false } } });
    await refuses('chardev-add', { id: 'c', backend: { type: 'null', data: {} } }, /a character device 'c' already/);
    await refuses('chardev-add', { id: 'x', backend: { type: 'stdio', data: {} } }, /given away when the machine starts/);
    await refuses('chardev-add', { id: 'x', backend: { type: 'foo', data: {} } }, /no such character device/);
    await refuses('chardev-add', { id: 'x', backend: { type: 'file', data: { out: '/nonexistent/x' } } }, /no such file/);
    expect((await qmp.call('chardev-add', { id: 'p', backend: { type: 'pty', data: {} } })).return).toEqual({
      pty: expect.stringMatching(/^\/dev\//),
    });
    await succeeds('device_add', { driver: 'virtserialport', chardev: 'c', name: 'org.example', id: 'port' });
    await refuses('device_add', { driver: 'virtserialport', chardev: 'c' }, /another device has this socket/);
    await refuses('chardev-remove', { id: 'c' }, /a device or a monitor has the character device 'c'/);
    await succeeds('device_add', { driver: 'virtserialport', chardev: 'p', bus: 'v.0' });
    await refuses('device_add', { driver: 'virtserialport', chardev: 'p', nr: 2 }, /another port has this number|another device/);
    await succeeds('device_del', { id: 'port' });
    await succeeds('chardev-remove', { id: 'c' });
    expect(await say('info chardev')).toMatch(/^p: filename=pty:[^]*serial0/);

    expect(await say(`drive_add 0 if=none,format=raw,id=d,file=${image}`)).toBe('');
    await succeeds('device_add', { driver: 'scsi-hd', drive: 'd', id: 'disk', bus: 's.0', lun: 1 });
    await refuses('device_add', { driver: 'scsi-hd', drive: 'd' }, /another device has the drive 'd'/);
    await refuses('device_add', { driver: 'scsi-hd', drive: 'none', id: 'disk' }, /a device 'disk' already/);
    await refuses('device_add', { driver: 'scsi-cd', 'scsi-id': 0, lun: 1 }, /two units at target 0, unit 1/);
    await refuses('device_add', { driver: 'scsi-hd', drive: 'none' }, /no such drive/);
    await succeeds('device_add', { driver: 'scsi-cd', id: 'cd' });
    expect(await say('info block')).toMatch(/d: .*\(raw\)\r?\ncd: \[not inserted\]/);
    expect(await say('drive_del d')).toMatch(/'d' is in .*; take it out first/);
    await succeeds('device_del', { id: 'disk' });
    expect((await qmp.event('DEVICE_DELETED'))['data']).toMatchObject({ device: 'port' });
    expect(await say('drive_del d')).toBe('');
    await succeeds('device_del', { id: 'cd' });
    await refuses('device_del', { id: 'cd' }, /no virtio device 'cd'/);
    expect(await say('info block')).toMatch(/no drives/);
    await end();
  },
  TIMEOUT,
);
