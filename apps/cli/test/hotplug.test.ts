import { expect, it } from 'vitest';
import { negotiated } from './qmp-client.js';
import { fileOf } from './spawn.js';

const TIMEOUT = 300_000;
/** Waits for interrupts, for ever. */
const IDLE = [0xfb, 0xf4, 0xeb, 0xfd];

it(
  'plugs devices in and asks for them back; a reset takes out what the guest does not let go of',
  async () => {
    const image = fileOf(new Uint8Array(4096));
    const drive = (id: string): string[] => ['-drive', `file=${image},format=raw,if=none,readonly=on,id=${id}`];
    const { running, qmp } = await negotiated(IDLE, ...drive('d0'), ...drive('d1'), '-device', 'virtio-blk-pci,drive=d1', '-netdev', 'user,id=lan');
    const refuses = async (command: string, given: unknown, reason: RegExp): Promise<void> =>
      expect((await qmp.call(command, given)).error?.desc).toMatch(reason);
    const succeeds = async (command: string, given?: unknown): Promise<void> => expect((await qmp.call(command, given)).return).toEqual({});
    await refuses('device_add', { driver: 'ide-hd', drive: 'd0' }, /only virtio devices on PCI/);
    await refuses('device_add', { driver: 'virtio-blk-pci', drive: 'd1' }, /another device has the drive 'd1'/);
    await refuses('device_add', { driver: 'virtio-blk-pci', drive: 'none' }, /no such drive/);
    await refuses('device_add', { driver: 'virtio-blk-pci', drive: 'd0', speed: 3 }, /no property 'speed'|speed/);
    await refuses('device_add', { driver: 'virtio-rng-device' }, /only devices on PCI/);
    await refuses('device_add', { driver: 'virtio-gpu-pci' }, /graphics card is there from the start/);
    await refuses('device_del', { id: 'hot' }, /no virtio device 'hot'/);
    await succeeds('device_add', { driver: 'virtio-blk-pci', id: 'hot', drive: 'd0', packed: true, addr: 9 });
    await refuses('device_add', { driver: 'virtio-blk-pci', id: 'other', drive: 'd0' }, /another device has the drive 'd0'/);
    await refuses('device_add', { driver: 'virtio-rng-pci', id: 'hot' }, /a device 'hot' already/);
    await refuses('device_add', { driver: 'virtio-rng-pci', id: 'rng', addr: 9 }, /slot 9/);
    await succeeds('device_add', { driver: 'virtio-net-pci', id: 'card', netdev: 'lan' });
    await refuses('device_add', { driver: 'virtio-net-pci', id: 'second', netdev: 'lan' }, /another card or a hub/);
    const pci = (await qmp.call('human-monitor-command', { 'command-line': 'info pci' })).return as string;
    expect(pci).toMatch(/9/);
    const tree = (await qmp.call('human-monitor-command', { 'command-line': 'info qtree' })).return as string;
    expect(tree.replaceAll('\r', '')).toMatch(
      /\n {6}dev: virtio-blk-pci, id "hot"\n {8}addr = 09\.0\n[^]*\n {10}dev: virtio-blk-device, id ""\n {12}packed = true\n {12}drive = "d0"\n/,
    );
    await succeeds('device_del', { id: 'card' });
    await succeeds('system_reset');
    expect((await qmp.event('DEVICE_DELETED'))['data']).toEqual({ device: 'card', path: '/machine/peripheral/card' });
    // What it had can be had again.
    await succeeds('device_add', { driver: 'virtio-net-pci', id: 'second', netdev: 'lan' });
    const words = { 'command-line': 'device_add virtio-rng-pci,id=rng' };
    expect((await qmp.call('human-monitor-command', words)).return).toBe('');
    await succeeds('device_del', { id: 'rng' });
    await qmp.call('quit');
    expect((await running.ended).status).toBe(0);
  },
  TIMEOUT,
);

it(
  'is refused on boards whose guests would not hear of it',
  async () => {
    const { running, qmp } = await negotiated(IDLE, '-M', 'microvm');
    expect((await qmp.call('device_add', { driver: 'virtio-rng-pci' })).error?.desc).toMatch(/'microvm' has no ACPI with PCI/);
    await qmp.call('quit');
    await running.ended;
  },
  TIMEOUT,
);
