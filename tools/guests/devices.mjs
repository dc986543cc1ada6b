/** Plays for `pnpm test:guests`: virtio devices that the host has the other end of, with Debian's drivers. */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { check, debian, Guest, LOAD_DRIVERS, pause, scratch } from './player.mjs';

const PROMPT = 'nestvm# ';

/** A client of a unix socket: collects what comes. */
export class Client {
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

  /** Resolves to the match; throws when for so long nothing has come: a host that is busy makes a line slow, not silent. */
  async waitFor(pattern, seconds = 60) {
    let seen = this.text.length;
    for (let i = 0; i < seconds * 20; i++) {
      const match = pattern.exec(this.text);
      if (match) return match;
      if (this.text.length > seen) i = 0;
      seen = this.text.length;
      await pause(50);
    }
    throw new Error(`no ${pattern} in: ${this.text.slice(-300)}`);
  }
}

/** Boots a guest with devices, loads its drivers, lets `play` go on, and switches it off. */
export async function withGuest(name, machine, devices, play) {
  const folder = scratch();
  const guest = new Guest(name, folder, debian('virtio.cpio', 'nestvm.fin=poweroff', '-M', machine, '-m', '256M', ...devices(folder)));
  try {
    await guest.waitFor(PROMPT);
    const loaded = await guest.shell(LOAD_DRIVERS);
    check(!/insmod/.test(loaded.split('\n').slice(1).join('\n')), `drivers were not loaded: ${loaded}`);
    await play(guest, folder);
    await guest.switchOff(machine);
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

const KIBIBYTES_FREE = 'awk \'/MemFree/ { print "free-" $2 }\' /proc/meminfo';
const PATTERN = 'NESTVM-BALLOON-PATTERN';

/** Memory that a guest gives away is cleared in its RAM, comes back, and comes back by itself when the guest needs it. */
export async function balloon(name, { machine, suffix, more, report }) {
  const qmp = (folder) => ['-qmp', `unix:${join(folder, 'qmp')},server=on,wait=off`];
  const devices = (folder) => ['-device', `virtio-balloon-${suffix},deflate-on-oom=on${more}`, ...qmp(folder)];
  await withGuest(name, machine, devices, async (guest, folder) => {
    const client = await Client.open(join(folder, 'qmp'));
    const execute = (command, given) => client.write(JSON.stringify({ execute: command, arguments: given }));
    execute('qmp_capabilities', {});
    execute('query-balloon', {});
    await client.waitFor(/"actual":268435456/);
    const free = async () => Number(/free-(\d+)/.exec((await guest.shell(KIBIBYTES_FREE)).split('awk').at(-1))?.[1]);
    const before = await free();
    execute('balloon', { value: 160 * 2 ** 20 });
    await client.waitFor(/BALLOON_CHANGE[^]*"actual":167772160/, 300);
    const between = await free();
    check(before - between > 80 * 1024, `96 MiB were given away, and ${before - between} KiB are missing`);
    report(`balloon 160: ${before - between} KiB less are free; QMP told of it`);
    await guest.shell('sleep 1');
    await guest.ask('info balloon');
    await guest.shell('sleep 1');
    const said = await guest.ask('info balloon');
    check(/actual=160[^]*free-memory: \d+/.test(said), `info balloon: ${said}`);
    await guest.ask('balloon 256');
    for (let i = 0; i < 300 && !/actual=256/.test(await guest.ask('info balloon')); i++) await pause(200);
    check((await free()) > between + 80 * 1024, 'the memory has not come back');
    report('balloon 256: the memory is back');
    // What a process had leaves the RAM when its pages are reported as free (whole 2 MiB of them), or go into the balloon.
    // busybox's head takes byte after byte, so it makes one mebibyte only.
    await guest.shell(`yes ${PATTERN.slice(0, 7)}''${PATTERN.slice(7)} | head -c 1m >/tmp/one`, { minutes: 5 });
    await guest.shell('for i in $(seq 100); do cat /tmp/one; done >/tmp/pattern; rm /tmp/one', { minutes: 5 });
    const dump = join(folder, 'ram');
    const count = async () => {
      await guest.ask(`pmemsave 0x100000 ${255 * 2 ** 20} ${dump}`);
      return readFileSync(dump).toString('latin1').split(PATTERN).length - 1;
    };
    const kept = await count();
    check(kept > 4_000_000, `${kept} patterns are in RAM`);
    await guest.shell('rm /tmp/pattern; sleep 6');
    const reported = await count();
    check(reported < kept * 0.7, `${reported} of ${kept} patterns are still in RAM`);
    await guest.ask('balloon 100');
    await guest.shell('sleep 8');
    const left = await count();
    check(left < kept / 4, `${left} of ${kept} patterns are still in RAM`);
    report(`${kept} patterns in RAM became ${reported} by free page reporting, and ${left} by the balloon`);
    await guest.ask('balloon 40');
    await guest.shell('sleep 5; dd if=/dev/zero of=/tmp/much bs=64k count=1600; ls -l /tmp/much; rm /tmp/much', { minutes: 20 });
    check(!/Kernel panic/.test(guest.output), 'the guest died for want of memory');
    report(`balloon 40 left enough: ${(await guest.ask('info balloon')).split('\n')[0]}`);
  });
}

/** The guest echoes to the host, and the host to the guest; each gets back what it has sent. */
export async function sockets(name, { machine, suffix, more, report }) {
  const devices = (folder) => ['-device', `vhost-vsock-${suffix},guest-cid=42,path=${join(folder, 'vsock')}${more}`];
  await withGuest(name, machine, devices, async (guest, folder) => {
    guest.type('vsock listen 5000 &\n');
    await guest.waitFor('listening on port 5000');
    const client = await Client.open(join(folder, 'vsock'));
    client.write('CONNECT 5000\n');
    await client.waitFor(/^OK \d+\n/);
    const sent = Array.from({ length: 60_000 }, (_, i) => `line ${i}\n`).join('');
    client.write(sent);
    client.socket.end();
    await client.waitFor(/line 59999\n/, 300);
    check(client.text.replace(/^OK \d+\n/, '') === sent, 'what came back is not what was sent');
    report(`${sent.length} bytes went to port 5000 of the guest and came back`);
    const refused = await Client.open(join(folder, 'vsock'));
    refused.write('CONNECT 5001\n');
    await new Promise((done) => refused.socket.once('close', done));
    check(refused.text === '', `a port that nobody answers said ${refused.text}`);
    const server = createServer((socket) => socket.on('error', () => {}).pipe(socket)).listen(join(folder, 'vsock_6000'));
    try {
      const said = await guest.shell('seq 50000 | vsock connect 2 6000 | md5sum; seq 50000 | md5sum; vsock connect 2 6001', { minutes: 5 });
      const sums = said.match(/[0-9a-f]{32}/g) ?? [];
      check(sums.length === 2 && sums[0] === sums[1], `the guest got ${sums[0]} for ${sums[1]}`);
      check(/vsock: connect: Connection reset/.test(said), `a port that nobody answers: ${said}`);
    } finally {
      server.close();
    }
    report('the guest reached a socket of the host, and got back what it sent');
  });
}

/** A CD drive: the disc is read, cannot be written, and the tray opens. */
export async function compactDisc(name, { machine, suffix, more, report }) {
  const image = randomBytes(2048 * 1500);
  const devices = (folder) => {
    writeFileSync(join(folder, 'disc.iso'), image);
    const drive = `file=${join(folder, 'disc.iso')},format=raw,if=none,id=disc`;
    return ['-drive', drive, '-device', `virtio-scsi-${suffix}${more}`, '-device', 'scsi-cd,drive=disc,scsi-id=2', '-device', 'scsi-cd,scsi-id=4'];
  };
  await withGuest(name, machine, devices, async (guest, folder) => {
    const said = await guest.shell(
      'until [ -b /dev/sr1 ]; do sleep 0.1; done; cat /sys/block/sr0/size /sys/block/sr0/ro; md5sum </dev/sr0; cat /proc/sys/dev/cdrom/info',
    );
    check(said.includes(createHash('md5').update(image).digest('hex')), `the disc was not read as it is: ${said}`);
    check(/^6000\s/m.test(said), `the disc has not 6000 sectors: ${said}`);
    report('a disc of 1500 blocks was read as it is; a drive without one is there, too');
    const after = await guest.shell('dd if=/dev/zero of=/dev/sr0 bs=2048 count=1; dd if=/dev/sr1 of=/dev/null bs=2048 count=1');
    check(/sr0'?: Read-only file system/.test(after) && /sr1'?: No medium found/.test(after), `what cannot be: ${after}`);
    report('it cannot be written, and the empty drive says so');
    const other = randomBytes(2048 * 900);
    writeFileSync(join(folder, 'other.iso'), other);
    for (const [drive, device] of /** @type {const} */ ([
      ['disc', 'sr0'],
      ['scsi-cd4-0', 'sr1'],
    ])) {
      await guest.ask(`change ${drive} ${join(folder, 'other.iso')}`);
      const seen = await guest.shell(`md5sum </dev/${device}; cat /sys/block/${device}/size`);
      check(seen.includes(createHash('md5').update(other).digest('hex')) && /^3600\s/m.test(seen), `another disc in ${device}: ${seen}`);
    }
    await guest.ask('eject disc');
    const gone = await guest.shell('dd if=/dev/sr0 of=/dev/null bs=2048 count=1');
    check(/sr0'?: No medium found/.test(gone), `an ejected disc: ${gone}`);
    report('discs are changed and ejected while the guest runs');
  });
}
