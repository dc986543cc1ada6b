/** Plays for `pnpm test:guests`: snapshots and migrations of real guests, and when they are refused. */
import { createHash } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Peer } from './peer.mjs';
import { check, debian, Guest, pause, scratch } from './player.mjs';

export const PROMPT = 'nestvm# ';
/** Guest time by instructions, and no sleeping: the same run on a busy host. */
const COUNTED = ['-icount', 'shift=0,sleep=off'];
export const LOAD_MODULES =
  'for m in $(cat /lib/modules/order); do case $m in kvm_intel.ko) grep -qw vmx /proc/cpuinfo || continue;; kvm_amd.ko) grep -qw svm /proc/cpuinfo || continue;; esac; insmod /lib/modules/$m; done';
/** L2's console is a pipe and a file, so that L1's shell stays free. tkvm has no I/O APIC: without noapic the serial port's interrupts do not reach Linux. */
const START_L2 =
  'rm -f /tmp/in /tmp/out; mkfifo /tmp/in; (tkvm -m 160 -k /guest/vmlinuz -i /guest/initrd.cpio -a "console=ttyS0 quiet noapic cryptomgr.notests nestvm.fin=reset" </tmp/in >/tmp/out 2>&1; echo "status $?" >/tmp/status) & exec 3>/tmp/in';

const MOVE_L2 =
  'until pidof tkvm >/dev/null; do sleep 0.02; done; (while pidof tkvm >/dev/null; do taskset -p 1 $(pidof tkvm); sleep 0.03; taskset -p 2 $(pidof tkvm); sleep 0.03; done) >/dev/null 2>&1 & true';

async function refused(guest, file, count) {
  for (let i = 0; i < count; i++) {
    await pause(Math.random() * 60);
    const answer = await guest.ask(`savevm ${file}`);
    check(
      /cannot save this machine: a nested guest \(L2\) is active[^]*(executing|resident|parked)/.test(answer),
      `attempt ${i} was not refused: ${answer}`,
    );
    check(!existsSync(file), `attempt ${i} left a file`);
  }
  const answer = await guest.ask(`migrate unix:${file}.socket`);
  check(/a nested guest \(L2\) is active/.test(answer), `migrate was not refused: ${answer}`);
}

const FACTS = 'echo n=$n cpus-$(nproc) kvm-$(grep -c ^kvm_ /proc/modules); echo sum-$(sha256sum /guest/vmlinuz | cut -c1-8)';

/** What a guest says of itself. */
async function factsOf(guest) {
  const text = await guest.shell(FACTS, { minutes: 30 });
  return text
    .split('\n')
    .filter((line) => /^(n=\d|sum-[0-9a-f]{8}$)/.test(line))
    .join(' ');
}

/** Saves, and lets a second process go on with it. */
export async function saveAndContinue(guest, name, folder, args) {
  const file = join(folder, `${name}.snapshot`);
  await guest.shell('n=$((n+1)); echo saved-here');
  const answer = await guest.ask(`savevm ${file}`);
  check(answer.includes('saved to'), `savevm was refused: ${answer}`);
  // An idle guest on the virtual clock keeps its host's CPU busy, which the second one needs.
  await guest.ask('stop');
  const second = new Guest(`${name}-loaded`, folder, [...args, '-loadvm', file]);
  try {
    await second.awaken({ minutes: 30 });
    const seen = await factsOf(second);
    await guest.ask('cont');
    const same = await factsOf(guest);
    check(seen.length > 10 && seen === same, `the loaded machine says "${seen}", the saved one "${same}"`);
    rmSync(file);
    return second;
  } catch (error) {
    await second.kill();
    throw error;
  }
}

/** Moves a guest to another process, in which it says of itself what it said here. */
async function moveAndContinue(guest, name, folder, args) {
  const facts = await factsOf(guest);
  const address = `unix:${join(folder, `${name}.line`)}`;
  const there = new Guest(name, folder, [...args, '-incoming', address]);
  try {
    await there.ask('info status');
    const answer = await guest.ask(`migrate ${address}`);
    check(answer.includes('migrated to'), `migrate was refused: ${answer}`);
    await there.awaken({ minutes: 30 });
    const seen = await factsOf(there);
    check(seen.length > 10 && seen === facts, `the guest that moved says "${seen}", before it said "${facts}"`);
  } finally {
    await there.kill();
  }
}

/** Whether virtualization is switched on in the CPU, by its registers: CR4.VMXE or EFER.SVME. */
async function isOn(guest) {
  const registers = await guest.ask('info registers');
  const [, cr4] = /CR4=([0-9a-f]+)/i.exec(registers) ?? [];
  const [, efer] = /EFER=([0-9a-f]+)/i.exec(registers) ?? [];
  return (parseInt(cr4, 16) & 0x2000) !== 0 || (parseInt(efer, 16) & 0x1000) !== 0;
}

/** An L1 with KVM: saved before any L2, refused while one runs or idles, saved when it has ended or its monitor was killed. */
export async function rule(name, cpu, { attempts, smp = 1, initramfs = 'nested.cpio', staysOn = false, report }) {
  const folder = scratch();
  const args = debian(initramfs, 'nestvm.fin=poweroff', '--nested', '-cpu', cpu, '-smp', String(smp), '-m', '512M', ...COUNTED);
  const guest = new Guest(name, folder, args);
  const file = join(folder, 'refused.snapshot');
  // VMCLEAR tells at once that an L2 is gone; SVM has no such instruction.
  const quiet = cpu.includes('vmx') ? 'true' : 'sleep 1.2';
  const others = [];
  // With several CPUs L2's virtual CPU, which is tkvm's thread, moves from one to the other all the time.
  const start = smp > 1 ? `${START_L2}; ${MOVE_L2}` : START_L2;
  try {
    await guest.waitFor(PROMPT);
    const loaded = await guest.shell(LOAD_MODULES);
    check(!/can't insert|failed/.test(loaded), `KVM was not loaded: ${loaded}`);
    others.push(await saveAndContinue(guest, `${name}-configured`, folder, args));
    check((await isOn(guest)) === staysOn, `with KVM loaded and no L2, virtualization should be ${staysOn ? 'on' : 'off'}`);
    await moveAndContinue(others[0], `${name}-moved`, folder, args);
    report(`KVM loaded${staysOn ? ', virtualization on since then' : ''}, no L2: saved, goes on in a second process, migrates to a third`);
    await others[0].kill();
    await guest.shell(start);
    await guest.shell('until grep -q Linux /tmp/out || grep -q NESTVM /tmp/out || [ -s /tmp/out ]; do sleep 0.05; done');
    await refused(guest, file, Math.ceil(attempts / 2));
    report(`L2 boots: refused ${Math.ceil(attempts / 2)} times`);
    const state = await guest.shell("until grep -q 'NESTVM-GUEST-READY\\|panic' /tmp/out; do sleep 0.2; done; grep -c panic /tmp/out", {
      minutes: 60,
    });
    check(/^0$/m.test(state), `L2 has panicked: ${await guest.shell('tail -20 /tmp/out')}`);
    await refused(guest, file, Math.ceil(attempts / 2));
    report(`L2 idles: refused ${Math.ceil(attempts / 2)} times: ${(await guest.ask('info nested')).split('\n').slice(1, 3).join(' ')}`);
    await guest.shell("echo 'reboot -f' >&3; until [ -e /tmp/status ]; do sleep 0.05; done; cat /tmp/status", { minutes: 30 });
    await guest.shell(quiet);
    others.push(await saveAndContinue(guest, `${name}-ended`, folder, args));
    await moveAndContinue(others[1], `${name}-moved-again`, folder, args);
    report('L2 has ended: saved, goes on in a second process, migrates to a third');
    await others[1].kill();
    await guest.shell(`rm -f /tmp/status; ${start}`);
    await guest.shell('until [ -s /tmp/out ]; do sleep 0.05; done');
    await refused(guest, file, 3);
    await guest.shell('kill -9 $(pidof tkvm); until [ -e /tmp/status ]; do sleep 0.05; done');
    await guest.shell(quiet);
    others.push(await saveAndContinue(guest, `${name}-killed`, folder, args));
    report('the monitor of L2 was killed: saved, and goes on in a second process');
  } finally {
    await Promise.all([guest, ...others].map((one) => one.kill()));
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Counts on the console and into a file, ten times a second. */
export const COUNT =
  '(i=0; while :; do echo "tick $i"; echo $i >>/tmp/file; i=$((i+1)); sleep 0.1; done) & (while :; do sha256sum /tmp/file >/dev/null; done) & true';

const ticksOf = (text) => [...text.matchAll(/tick (\d+)\r?$/gm)].map((match) => Number(match[1]));

/** A guest under load moves from process to process: no tick and no byte is lost, nor, with `network`, any of what it sends over TCP. */
export async function moves(name, machine, { hops, network = false, report }) {
  const folder = scratch();
  const peer = network ? await Peer.start(name, folder) : undefined;
  const args = debian(peer ? 'virtio.cpio' : 'initrd.cpio', '', ...machine, ...(peer?.options ?? []));
  let here = new Guest(name, folder, args);
  let console_ = '';
  const downtimes = [];
  try {
    await here.waitFor(PROMPT);
    await peer?.listenTo(here);
    await here.shell(COUNT);
    for (let hop = 1; hop <= hops; hop++) {
      const address = `unix:${join(folder, `hop${hop}`)}`;
      const there = new Guest(`${name}-${hop}`, folder, [...args, '-incoming', address]);
      await there.ask('info status');
      const answer = await here.ask(`migrate ${address}`);
      check(answer.includes('migrated to'), `hop ${hop}: ${answer}`);
      downtimes.push(Number(/downtime: (\d+) ms/.exec(answer)?.[1]));
      await there.waitFor(/tick \d+/);
      await here.kill();
      console_ += here.output;
      here = there;
    }
    if (peer) report(await peer.finish(here));
    const last = await here.shell('kill $(jobs -p); sha256sum /tmp/file; wc -l </tmp/file');
    console_ += here.output;
    const ticks = ticksOf(console_);
    const wrong = ticks.findIndex((tick, i) => tick !== i);
    check(ticks.length > hops && wrong < 0, `tick ${wrong} of ${ticks.length} on the console is ${ticks[wrong]}`);
    const lines = Number(/^\s*(\d+)$/m.exec(last.slice(last.indexOf('/tmp/file\n', last.indexOf('  /tmp/file'))))?.[1]);
    const expected = createHash('sha256')
      .update(Array.from({ length: lines }, (_, i) => `${i}\n`).join(''))
      .digest('hex');
    check(lines >= ticks.length - 1 && last.includes(expected), `the file of ${lines} lines has another hash than ${expected}: ${last}`);
    report(
      `${hops} hops, ${ticks.length} ticks without a gap, downtime ${downtimes.toSorted((a, b) => a - b)[hops >> 1]} ms (median), ${Math.max(...downtimes)} ms (most)`,
    );
  } finally {
    await here.kill();
    await peer?.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}
