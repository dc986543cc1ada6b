/** A play for `pnpm test:guests`: virtio devices that come and go while Debian runs, by ACPI. */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, withGuest } from './devices.mjs';
import { check } from './player.mjs';

/** Disks, a channel and a network card are plugged in, used, taken out and plugged in again; the guest lets go of one by itself. */
export async function hotplug(name, { machine, suffix, more, report }) {
  const image = randomBytes(2 ** 20);
  const devices = (folder) => {
    writeFileSync(join(folder, 'disk.raw'), image);
    const controllers = ['-device', `virtio-scsi-${suffix},id=scsi`, '-device', `virtio-serial-${suffix},id=serial,max_ports=4`];
    return [...controllers, '-netdev', 'user,id=lan', '-qmp', `unix:${join(folder, 'qmp')},server=on,wait=off`];
  };
  await withGuest(name, machine, devices, async (guest, folder) => {
    const qmp = await Client.open(join(folder, 'qmp'));
    const execute = async (command, given) => {
      const from = qmp.text.length;
      qmp.write(JSON.stringify({ execute: command, arguments: given }));
      for (;;) {
        const answer = await qmp.waitFor(new RegExp(`^[^]{${from}}[^]*?("return"|"error"): *(\\{[^]*?\\})`));
        check(answer[1] === '"return"', `${command}: ${answer[2]}`);
        return;
      }
    };
    const gone = async (id) => {
      const from = qmp.text.length;
      await execute('device_del', { id });
      await qmp.waitFor(new RegExp(`^[^]{${from}}[^]*DEVICE_DELETED[^]*"${id}"`), 120);
    };
    await execute('qmp_capabilities', {});
    await execute('blockdev-add', { driver: 'raw', 'node-name': 'd0', file: { driver: 'file', filename: join(folder, 'disk.raw') } });
    const sum = createHash('md5').update(image).digest('hex');
    for (const turn of ['first', 'again']) {
      await execute('device_add', { driver: `virtio-blk-${suffix}`, id: 'disk0', drive: 'd0', ...more });
      const read = await guest.shell('until [ -b /dev/vda ]; do sleep 0.1; done; md5sum </dev/vda');
      check(read.includes(sum), `${turn}: the disk was not read as it is: ${read}`);
      await gone('disk0');
      const left = await guest.shell('ls /dev/vda');
      check(/No such file/.test(left), `${turn}: the disk is still there: ${left}`);
    }
    report('a disk was plugged in, read, taken out, and all that again');
    for (const turn of ['first', 'again']) {
      await execute('device_add', { driver: 'scsi-hd', id: 'disk1', drive: 'd0' });
      const read = await guest.shell('until [ -b /dev/sda ]; do sleep 0.1; done; md5sum </dev/sda');
      check(read.includes(sum), `${turn}: the SCSI disk was not read as it is: ${read}`);
      await execute('device_del', { id: 'disk1' });
      const left = await guest.shell('while [ -b /dev/sda ]; do sleep 0.1; done; echo it has left');
      check(/it has left/.test(left), `${turn}: the SCSI disk is still there: ${left}`);
    }
    report('a SCSI disk was plugged into its controller, read, taken out, and all that again');
    await execute('blockdev-del', { 'node-name': 'd0' });
    await execute('chardev-add', { id: 'channel', backend: { type: 'file', data: { out: join(folder, 'channel') } } });
    await execute('device_add', { driver: 'virtserialport', id: 'port', chardev: 'channel', name: 'org.example' });
    await guest.shell('until [ -c /dev/vport*p1 ]; do sleep 0.1; done; port=$(ls /dev/vport*p1); echo over the channel >$port');
    check(readFileSync(join(folder, 'channel'), 'utf8') === 'over the channel\n', 'nothing came over the channel');
    await execute('device_del', { id: 'port' });
    await guest.shell('while [ -c /dev/vport*p1 ]; do sleep 0.1; done');
    await execute('chardev-remove', { id: 'channel' });
    report('a channel was plugged in on a new character device, used, and taken out');
    await execute('device_add', { driver: `virtio-net-${suffix}`, id: 'card', netdev: 'lan', ...more });
    const address = await guest.shell('until [ -d /sys/class/net/eth0 ]; do sleep 0.1; done; ip link set eth0 up; udhcpc -n -q -i eth0');
    check(/10\.0\.2\.15/.test(address), `no address for the card: ${address}`);
    report('a network card was plugged in, and has an address');
    const carrier = 'cat /sys/class/net/eth0/carrier';
    await execute('set_link', { name: 'lan', up: false });
    await guest.shell(`while [ $(${carrier}) = 1 ]; do sleep 0.1; done`);
    await execute('set_link', { name: 'card', up: true });
    await guest.shell(`while [ $(${carrier}) = 0 ]; do sleep 0.1; done`);
    report('its cable was pulled and put back');
    const from = qmp.text.length;
    const slots = await guest.shell(
      's=$(basename $(readlink -f /sys/class/net/eth0/device/..)); for i in /sys/bus/pci/slots/*; do case $s in $(cat $i/address).*) echo 0 >$i/power;; esac; done; ls /sys/class/net',
    );
    check(!/eth0/.test(slots.split('\n').slice(1).join(' ')), `the card is still there: ${slots}`);
    await qmp.waitFor(new RegExp(`^[^]{${from}}[^]*DEVICE_DELETED[^]*"card"`), 120);
    report('the guest let go of the card by itself, and QMP told of it');
  });
}
