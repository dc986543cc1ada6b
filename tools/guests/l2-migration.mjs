/** L2 moves from one L1 to another: two machines joined by a network cable, each a Debian with KVM and QEMU; QEMU's own migration carries L2 over. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { LOAD_MODULES, PROMPT, saveAndContinue } from './migration.mjs';
import { freePort } from './peer.mjs';
import { check, debian, Guest, pause, scratch } from './player.mjs';

/** L2's console and its QEMU's monitor are pipes, and files of what came out of them. */
const PIPES =
  'cd /tmp; mkfifo con.in con.out mon.in mon.out; (cat con.out >console &) ; (cat mon.out >monitor &) ; (sleep 100000 >con.in &) ; (sleep 100000 >mon.in &) ; cd /';
const QEMU =
  'qemu-system-x86_64 -L /usr/share/qemu -enable-kvm -cpu host -M pc -m 128 -nodefaults -display none -chardev pipe,id=con,path=/tmp/con -serial chardev:con -chardev pipe,id=mon,path=/tmp/mon -mon chardev=mon -kernel /guest/vmlinuz -initrd /guest/initrd.cpio -append "console=ttyS0 quiet cryptomgr.notests"';
const COUNT = 'i=0; while :; do i=$((i+1)); echo "count $i"; sleep 0.2; done';

/** Waits until a file of the guest's has a line like `pattern`. */
const untilIn = (guest, file, pattern, minutes = 40) => guest.shell(`until grep -q '${pattern}' ${file}; do sleep 0.3; done`, { minutes });

/** One L1 with its modules loaded and its address set. */
async function startL1(name, folder, args, address) {
  const guest = new Guest(name, folder, args);
  await guest.waitFor(PROMPT);
  const loaded = await guest.shell(LOAD_MODULES);
  check(!/can't insert|failed/.test(loaded), `modules were not loaded: ${loaded}`);
  await guest.shell(`ip addr add ${address}/24 dev eth0; ip link set eth0 up; ${PIPES}`);
  return guest;
}

/** What L2 has counted, from what both L1s have kept of its console. */
async function counted(here, there) {
  const text = async (guest) => {
    const said = await guest.shell('base64 -w 0 /tmp/console; echo');
    return Buffer.from(/^[A-Za-z0-9+/=]{8,}$/m.exec(said)?.[0] ?? '', 'base64').toString('latin1');
  };
  const [before, after] = [await text(here), await text(there)];
  const numbers = (part) => [...part.matchAll(/^count (\d+)\r?$/gm)].map((match) => Number(match[1]));
  return { all: numbers(before + after), before: numbers(before).length };
}

export async function l2Moves(name, cpu, report) {
  const folder = scratch();
  const port = await freePort();
  const args = (cable) =>
    debian(
      'nested-net.cpio',
      'nestvm.fin=poweroff',
      '--nested',
      '-cpu',
      cpu,
      '-m',
      '768M',
      '-netdev',
      `socket,id=n0,${cable}`,
      '-device',
      'virtio-net-pci,netdev=n0',
    );
  const guests = [];
  const l1 = async (side, cable, address) => {
    const guest = await startL1(`${name}-${side}`, folder, args(cable), address);
    guests.push(guest);
    return guest;
  };
  try {
    const first = await l1('source', `listen=127.0.0.1:${port}`, '10.0.5.1');
    const second = await l1('target', `connect=127.0.0.1:${port}`, '10.0.5.2');
    const pinged = await first.shell('ping -c 1 -W 10 10.0.5.2');
    check(/1 packets received/.test(pinged), `the two L1s do not reach each other: ${pinged}`);
    await first.shell(`(${QEMU} >/tmp/qemu 2>&1; echo ended >>/tmp/qemu) & true`);
    await second.shell(`(${QEMU} -incoming tcp:0:4444 >/tmp/qemu 2>&1; echo ended >>/tmp/qemu) & true`);
    await untilIn(first, '/tmp/console', 'NESTVM-GUEST-READY');
    report('L2 has booted in the first L1');
    await first.shell(`sleep 1; echo '${COUNT}' >/tmp/con.in`);
    await untilIn(first, '/tmp/console', 'count 5');
    const refusal = await first.ask(`savevm ${join(folder, 'refused.snapshot')}`);
    check(/a nested guest \(L2\) is active/.test(refusal), `savevm of an L1 whose L2 runs was not refused: ${refusal}`);
    await first.shell("echo 'migrate -d tcp:10.0.5.2:4444' >/tmp/mon.in");
    await first.shell(
      "until grep -q 'status: completed' /tmp/monitor; do echo 'info migrate' >/tmp/mon.in; sleep 1; ! grep -q 'status: failed' /tmp/monitor || break; done",
      { minutes: 40 },
    );
    const status = await first.shell("grep -a 'status:\\|total time\\|downtime:' /tmp/monitor | tail -3");
    check(/completed/.test(status), `QEMU's migration: ${status}`);
    await second.shell('n=$(wc -l </tmp/console); until [ $(wc -l </tmp/console) -gt $((n+20)) ]; do sleep 0.3; done', { minutes: 40 });
    const { all, before } = await counted(first, second);
    const gap = all.findIndex((number, i) => number !== i + 1);
    check(gap < 0 && all.length > before + 10, `L2 counted ${all.length}, ${before} of them in the first L1; number ${gap + 1} is ${all[gap]}`);
    report(`L2 has moved by QEMU's migrate and counted on without a gap: ${before} in the first L1, ${all.length - before} in the second`);
    await first.shell('echo quit >/tmp/mon.in; until grep -q ended /tmp/qemu; do sleep 0.2; done; sleep 1.5', { minutes: 20 });
    guests.push(await saveAndContinue(first, `${name}-saved`, folder, args(`listen=127.0.0.1:${await freePort()}`)));
    report('the first L1, without its L2, was saved and goes on in another process');
    const other = await second.ask(`savevm ${join(folder, 'refused.snapshot')}`);
    check(/a nested guest \(L2\) is active/.test(other), `savevm of the second L1 was not refused: ${other}`);
    await pause(0);
  } finally {
    await Promise.all(guests.map((guest) => guest.kill()));
    rmSync(folder, { recursive: true, force: true });
  }
}
