/** Plays for `pnpm test:guests`: what a guest has freed is not sent when it moves. */
import { join } from 'node:path';
import { check, debian, Guest, LOAD_DRIVERS, scratch } from './player.mjs';

const PROMPT = 'nestvm# ';
const MEBIBYTES = 80;

/** Moves a guest that has written a file into memory and removed it; resolves to the MiB that were sent. */
async function move(name, hints) {
  const folder = scratch();
  // Reporting would clear large pieces before anybody asks.
  const device = `virtio-balloon-pci,free-page-reporting=off,free-page-hint=${hints}`;
  const args = debian('virtio.cpio', 'nestvm.fin=poweroff', '-m', '256M', '-device', device);
  const address = `unix:${join(folder, 'line')}`;
  const guest = new Guest(`${name}-${hints}`, folder, args);
  let there;
  try {
    await guest.waitFor(PROMPT);
    await guest.shell(LOAD_DRIVERS);
    // busybox's head takes byte after byte, so it makes one mebibyte only.
    await guest.shell('yes pattern | head -c 1m >/tmp/one; for i in $(seq ' + MEBIBYTES + '); do cat /tmp/one; done >/tmp/much; rm /tmp/much', {
      minutes: 10,
    });
    // Linux names free memory in pieces of 4 MiB, so what is free must not be scattered.
    await guest.shell('n=$((40+2)); sync; echo 1 >/proc/sys/vm/compact_memory', { minutes: 10 });
    there = new Guest(`${name}-${hints}-target`, folder, [...args, '-incoming', address]);
    await there.ask('info status');
    const answer = await guest.ask(`migrate ${address}`);
    check(answer.includes('migrated to'), `migrate: ${answer}`);
    const sent = Number(/transferred ram: ([\d.]+) MiB/.exec(await guest.ask('info migrate'))?.[1]);
    await there.awaken({ minutes: 10 });
    const seen = await there.shell('echo n=$n; head -c 7 /tmp/one; for i in $(seq 50); do cat /tmp/one; done | md5sum; free | grep Mem', {
      minutes: 10,
    });
    check(/n=42/.test(seen) && /[0-9a-f]{32}/.test(seen), `the guest that moved says ${seen}`);
    return sent;
  } finally {
    await there?.kill();
    await guest.kill();
  }
}

/** A guest with a balloon names its free pages before it moves: they are cleared, and left out. */
export async function freePages(name, { report }) {
  const [without, withHints] = [await move(name, 'off'), await move(name, 'on')];
  check(without - withHints > MEBIBYTES * 0.8, `${without} MiB were sent without hints, ${withHints} with them`);
  report(`${MEBIBYTES} MiB were freed: ${without} MiB were sent without hints, ${withHints} with them`);
}
