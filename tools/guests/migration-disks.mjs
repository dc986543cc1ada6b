/** Plays for `pnpm test:guests`: a guest writes to its disks while it moves: images of both formats, and disks whose changes are in memory only. */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { image, inspect } from './crashes.mjs';
import { PROMPT } from './migration.mjs';
import { check, debian, Guest, LOAD_DRIVERS, scratch } from './player.mjs';

const MEBIBYTES = 16;
/** What is written to each disk, again and again, one after the other. */
const PIECE = 1;
const PIECES = 8;

/** Each disk with how its drive is made; `kept`: in memory only. */
const DISKS = [
  { device: 'vda', format: 'raw', more: '' },
  { device: 'vdb', format: 'qcow2', more: '' },
  { device: 'vdc', format: 'qcow2', more: ',snapshot=on', kept: true },
  { device: 'sda', format: 'raw', more: ',snapshot=on', kept: true, plugs: ['virtio-scsi-pci', 'scsi-hd,drive=sda'] },
];

const drivesOf = (folder) =>
  DISKS.flatMap(({ device, format, more, plugs = [] }) => [
    '-drive',
    `file=${join(folder, device)},format=${format},id=${device},if=${plugs.length > 0 ? 'none' : 'virtio'}${more}`,
    ...plugs.flatMap((plug) => ['-device', plug]),
  ]);

const devices = DISKS.map(({ device }) => device).join(' ');
/** The contents of write `$k`. */
const CONTENTS = `(echo $k; cat /tmp/piece) | head -c ${PIECE << 20}`;
/** Writes until there is a file `enough`, to each place at least once. */
const WRITE = `(k=0; while [ ! -e /tmp/enough ] || [ $k -lt ${PIECES} ]; do ${CONTENTS} >/tmp/next; for d in ${devices}; do dd if=/tmp/next of=/dev/$d bs=1M seek=$((k%${PIECES}*${PIECE})) conv=fsync 2>/dev/null; done; k=$((k+1)); echo wrote-$k; done; echo $k >/tmp/count; echo wrote-all) & true`;
/** The hash of what is on each disk, read from the disk, and of what should be there: the last write to each place. */
const LOOK = `echo 3 >/proc/sys/vm/drop_caches; for d in ${devices}; do echo "$d $(head -c ${(PIECE * PIECES) << 20} /dev/$d | md5sum | cut -c1-32)"; done; n=$(cat /tmp/count); echo "all $(for s in $(seq 0 ${PIECES - 1}); do k=$(((n-1-s)/${PIECES}*${PIECES}+s)); ${CONTENTS}; done | md5sum | cut -c1-32)"`;

/** The hash of no bytes: a command has failed. */
const OF_NOTHING = 'd41d8cd98f00b204e9800998ecf8427e';

async function assertWhole(guest, when) {
  const said = await guest.shell(LOOK, { minutes: 20 });
  const hashes = new Map([...said.matchAll(/^(\w+) ([0-9a-f]{32})$/gm)].map(([, name, hash]) => [name, hash]));
  check(!said.includes(OF_NOTHING), `${when}: nothing was read: ${said}`);
  for (const { device } of DISKS)
    check(
      hashes.get(device) !== undefined && hashes.get(device) === hashes.get('all'),
      `${when}: ${device} has other contents than were written: ${said}`,
    );
}

/** A snapshot of what is in memory only: it is loaded where the disk is made so again, and refused elsewhere. */
async function saveAndLoad(guest, name, folder, args, others) {
  const file = join(folder, 'disks.snapshot');
  const answer = await guest.ask(`savevm ${file}`);
  check(answer.includes('saved to'), `savevm: ${answer}`);
  await guest.kill();
  const plain = new Guest(`${name}-plain`, folder, [...args.map((word) => word.replace(',snapshot=on', '')), '-loadvm', file]);
  check((await plain.ended) === 1 && /does not keep in memory; give -snapshot/.test(plain.output), `without snapshot=on: ${plain.output}`);
  const loaded = new Guest(`${name}-loaded`, folder, [...args, '-loadvm', file]);
  others.push(loaded);
  await loaded.awaken();
  await assertWhole(loaded, 'after savevm and -loadvm');
}

/** `hops` moves while the guest writes; then savevm and -loadvm. */
export async function disksMove(name, machine, { hops, report }) {
  const folder = scratch();
  for (const { device, format } of DISKS) image('create', format, join(folder, device), String(MEBIBYTES));
  const untouched = DISKS.filter(({ kept }) => kept).map(({ device }) => readFileSync(join(folder, device)));
  const args = debian('virtio.cpio', '', ...machine, '-m', '256M', ...drivesOf(folder));
  let here = new Guest(name, folder, args);
  const guests = [here];
  try {
    await here.waitFor(PROMPT);
    await here.shell(LOAD_DRIVERS);
    await here.shell(`dd if=/dev/urandom of=/tmp/piece bs=1M count=${PIECE}; ${WRITE}`);
    for (let hop = 1; hop <= hops; hop++) {
      await here.waitFor(/wrote-\d/, { from: here.output.length });
      const address = `unix:${join(folder, `hop${hop}`)}`;
      const there = new Guest(`${name}-${hop}`, folder, [...args, '-incoming', address]);
      guests.push(there);
      await there.ask('info status');
      const answer = await here.ask(`migrate ${address}`);
      check(answer.includes('migrated to'), `hop ${hop}: ${answer}`);
      await here.kill();
      here = there;
    }
    await here.shell('touch /tmp/enough; until [ -e /tmp/count ]; do sleep 0.1; done', { minutes: 20 });
    await assertWhole(here, `after ${hops} moves`);
    report(`${hops} moves while all ${DISKS.length} disks were written, and all of it is there; the qcow2 image: ${inspect(join(folder, 'vdb'))}`);
    await saveAndLoad(here, name, folder, args, guests);
    DISKS.filter(({ kept }) => kept).forEach(({ device }, i) =>
      check(readFileSync(join(folder, device)).equals(untouched[i]), `the image under ${device} was written`),
    );
    report('savevm carries what is in memory only; without snapshot=on it is not loaded; the images under it are as they were');
  } finally {
    await Promise.all(guests.map((guest) => guest.kill()));
    rmSync(folder, { recursive: true, force: true });
  }
}
