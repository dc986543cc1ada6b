/** Plays for `pnpm test:guests`: virtio devices that the host has the other end of, with Debian's drivers. */
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { check, debian, Guest, pause, scratch } from './player.mjs';

const PROMPT = 'nestvm# ';
const LOAD = 'for m in $(cat /lib/modules/order); do insmod /lib/modules/$m || echo "insmod $m failed"; done';

/** A client of a unix socket: collects what comes. */
class Client {
  text = '';

  static async open(path) {
    for (let tries = 0; !existsSync(path); tries++) {
      check(tries < 600, `nobody listens at ${path}`);
      await pause(50);
    }
    const socket = connect(path);
    await new Promise((done, fail) => socket.once('connect', done).once('error', fail));
    return new Client(socket);
  }

  constructor(socket) {
    this.socket = socket;
    socket.on('data', (data) => (this.text += String(data)));
    socket.on('error', () => {});
  }

  write(text) {
    this.socket.write(text);
  }

  async waitFor(pattern, seconds = 60) {
    for (let i = 0; i < seconds * 20; i++) {
      const match = pattern.exec(this.text);
      if (match) return match;
      await pause(50);
    }
    throw new Error(`no ${pattern} in: ${this.text.slice(-300)}`);
  }
}

/** Boots a guest with devices, loads its drivers, lets `play` go on, and switches it off. */
async function withGuest(name, machine, devices, play) {
  const folder = scratch();
  const guest = new Guest(name, folder, debian('virtio.cpio', 'nestvm.fin=poweroff', '-M', machine, '-m', '256M', ...devices(folder)));
  try {
    await guest.waitFor(PROMPT);
    const loaded = await guest.shell(LOAD);
    check(!/insmod/.test(loaded.split('\n').slice(1).join('\n')), `drivers were not loaded: ${loaded}`);
    await play(guest, folder);
    guest.type(machine === 'microvm' ? 'reboot -f\n' : 'poweroff -f\n');
    await guest.ended;
    check(guest.ending === 0, `ended with ${guest.ending}`);
  } finally {
    await guest.kill();
  }
}

/** A shell on hvc0 beside the one on the serial port, and two named channels, in both directions. */
export async function consoles(name, { machine, suffix, more, report }) {
  const plugged = [
    `virtio-serial-${suffix}${more}`,
    'virtconsole,chardev=hvc',
    'virtserialport,chardev=one,name=org.nestvm.one',
    'virtserialport,chardev=two,name=org.nestvm.two,nr=5',
  ];
  const devices = (folder) => [
    ...['hvc', 'one', 'two'].flatMap((id) => ['-chardev', `socket,id=${id},path=${join(folder, id)},server=on,wait=off`]),
    ...plugged.flatMap((device) => ['-device', device]),
  ];
  await withGuest(name, machine, devices, async (guest, folder) => {
    const hvc = await Client.open(join(folder, 'hvc'));
    guest.type("setsid sh -c 'exec sh -l </dev/hvc0 >/dev/hvc0 2>&1' &\n");
    await hvc.waitFor(/nestvm# /);
    hvc.write('echo sum-$((6*7)) on $(tty); stty size\n');
    await hvc.waitFor(/sum-42 on \/dev\/hvc0\s+24 80/);
    report('a shell on hvc0, 24 rows of 80');
    hvc.write('seq 20000 | md5sum; seq 20000; echo end-$((40+2))\n');
    await hvc.waitFor(/end-42/);
    check((hvc.text.match(/^\d+\r?$/gm) ?? []).length === 20000, 'lines were lost on hvc0');
    report('20000 lines came over hvc0');
    const names = await guest.shell('cat /sys/class/virtio-ports/vport*p1/name /sys/class/virtio-ports/vport*p5/name');
    check(/org\.nestvm\.one\s+org\.nestvm\.two/.test(names), `names of the ports: ${names}`);
    const one = await Client.open(join(folder, 'one'));
    const two = await Client.open(join(folder, 'two'));
    await guest.shell('one=$(ls /dev/vport*p1) two=$(ls /dev/vport*p5); (cat $one >$two) & sleep 0.2');
    const sent = Array.from({ length: 30_000 }, (_, i) => `line ${i}\n`).join('');
    one.write(`${sent}last line\n`);
    await two.waitFor(/last line\n/);
    check(two.text === `${sent}last line\n`, `${two.text.length} of ${sent.length + 10} bytes came through the guest`);
    report(`${two.text.length} bytes went in by one port and came back by another`);
  });
}
