/** Plays for `pnpm test:guests`: guests of two emulators on one cable, `-netdev socket`. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { defaultOutput } from './build.mjs';
import { freePort } from './peer.mjs';
import { check, debian, Guest, LOAD_DRIVERS, scratch } from './player.mjs';

const card = (end, mac) => ['-netdev', `socket,id=n0,${end}`, '-device', `virtio-net-pci,netdev=n0,mac=52:54:00:12:34:${mac}`];

/** Brings the card of a guest up, at an address. */
async function goOnline(guest, address) {
  await guest.waitFor('nestvm# ');
  await guest.shell(LOAD_DRIVERS);
  const shown = await guest.shell(`ip link set eth0 up; ip addr add ${address}/24 dev eth0; ip addr show eth0 | grep -c ${address}`);
  check(/\n1\n/.test(shown), `no address: ${shown}`);
}

async function pings(guest, address, report, what) {
  const printed = await guest.shell(`ping -c 5 -W 10 ${address}`);
  check(/5 packets transmitted, 5 packets received/.test(printed), `${what}: ${printed}`);
  report(`${what}: 5 of 5 pings were answered`);
}

/** Two processes of the emulator ping each other. */
export async function twoMachines(name, report) {
  const folder = scratch();
  const port = await freePort();
  const start = (suffix, end, mac) =>
    new Guest(`${name}-${suffix}`, folder, debian('virtio.cpio', 'nestvm.fin=poweroff', '-m', '192M', ...card(end, mac)));
  const left = start('left', `listen=127.0.0.1:${port}`, '01');
  const guests = [left];
  try {
    await goOnline(left, '10.9.0.1');
    const right = start('right', `connect=127.0.0.1:${port}`, '02');
    guests.push(right);
    await goOnline(right, '10.9.0.2');
    await pings(right, '10.9.0.1', report, 'right to left');
    await pings(left, '10.9.0.2', report, 'left to right');
  } finally {
    for (const guest of guests) await guest.kill();
  }
}

/** QEMU has the other end: its guest answers ours. Without QEMU on this machine there is nothing to be seen. */
export async function withQemu(name, report) {
  const folder = scratch();
  const port = await freePort();
  const guest = new Guest(name, folder, debian('virtio.cpio', 'nestvm.fin=poweroff', '-m', '192M', ...card(`listen=127.0.0.1:${port}`, '01')));
  let peer;
  try {
    await goOnline(guest, '10.9.0.1');
    const kernel = ['-kernel', join(defaultOutput, 'vmlinuz'), '-initrd', join(defaultOutput, 'virtio.cpio'), '-append', 'console=ttyS0 quiet'];
    const args = ['-accel', 'tcg', '-m', '192M', '-nographic', '-no-reboot', ...kernel, ...card(`connect=127.0.0.1:${port}`, '02')];
    peer = spawn('qemu-system-x86_64', args, { stdio: ['pipe', 'pipe', 'ignore'] });
    let said = '';
    const heard = new Promise((done, fail) => {
      peer.once('error', () => fail(new Error('qemu-system-x86_64 is not installed; install Debian’s qemu-system-x86')));
      peer.stdout.on('data', (data) => {
        const before = said;
        said += data;
        if (!before.includes('nestvm# ') && said.includes('nestvm# '))
          peer.stdin.write(`${LOAD_DRIVERS}; ip link set eth0 up; ip addr add 10.9.0.2/24 dev eth0; ping -c 5 -W 10 10.9.0.1; echo peer-$((40+2))\n`);
        if (said.includes('peer-42')) done();
      });
      setTimeout(() => fail(new Error(`QEMU's guest is not there: ${said.slice(-400)}`)), 480_000).unref();
    });
    await heard;
    check(/5 packets transmitted, 5 packets received/.test(said), `QEMU's guest to ours: ${said.slice(-600)}`);
    report("QEMU's guest to ours: 5 of 5 pings were answered");
    await pings(guest, '10.9.0.2', report, "ours to QEMU's guest");
  } finally {
    peer?.kill('SIGKILL');
    await guest.kill();
  }
}
