/** Plays for `pnpm test:guests`: folders of the host in a guest, by Debian's 9P client. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { check, debian, Guest, LOAD_DRIVERS, scratch } from './player.mjs';

const PROMPT = 'nestvm# ';
const FILES = 300;
const LARGE_BYTES = 32 * 2 ** 20;

const digest = (bytes) => createHash('md5').update(bytes).digest('hex');

/** A tree with many files, one large one, deep folders, links, and odd names. */
function plant(root) {
  mkdirSync(join(root, 'many'), { recursive: true });
  for (let i = 0; i < FILES; i++) writeFileSync(join(root, 'many', `file-${i}`), `content ${i}\n`);
  const large = Buffer.alloc(LARGE_BYTES);
  for (let i = 0; i < LARGE_BYTES; i += 4) large.writeUInt32LE(Math.imul(i, 2654435761) >>> 0, i);
  writeFileSync(join(root, 'large'), large);
  const deep = join(root, ...Array.from({ length: 60 }, (_, i) => `level-${i}`));
  mkdirSync(deep, { recursive: true });
  writeFileSync(join(deep, 'bottom'), 'deep down\n');
  symlinkSync('many/file-7', join(root, 'link'));
  symlinkSync('/etc/hostname', join(root, 'out'));
  symlinkSync('../../../../../../etc', join(root, 'up'));
  writeFileSync(join(root, 'größe 名前'), 'a name\n');
  return digest(large);
}

/** What the guest does, and what it must print. */
const steps = (large) => [
  ['mkdir -p /mnt && mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 share /mnt && ls /mnt | wc -l', /\n7\n/],
  ['ls /mnt/many | wc -l; cat /mnt/many/* | wc -l', new RegExp(`\\n${FILES}\\n${FILES}\\n`)],
  ['find /mnt -name bottom | wc -c; cat $(find /mnt -name bottom)', /\n\d{3}\ndeep down\n/],
  ['md5sum </mnt/large', new RegExp(large)],
  ['cat /mnt/link "/mnt/größe 名前"; readlink /mnt/up', /content 7\na name\n\.\.\/\.\.\//],
  // Links that lead out lead into the guest: its own files, not the host's.
  ['hostname guest-of-nestvm; mkdir -p /etc; hostname >/etc/hostname; cat /mnt/out; ls /mnt/up | head -1', /\nguest-of-nestvm\n/],
  ['mkdir -p /mnt/new/a/b && cp /mnt/large /mnt/new/a/b/copy && sync && md5sum /mnt/new/a/b/copy', new RegExp(large)],
  ['cd /mnt/new; mv a/b/copy moved; ln moved twice; ln -s moved link; chmod 640 moved; touch -d "2001-02-03 04:05:06" moved; cd /', /./],
  ['stat -c "%a %h %s %y" /mnt/new/moved', new RegExp(`640 2 ${LARGE_BYTES} 2001-02-03 04:05:06`)],
  [
    'truncate -s 1000 /mnt/new/twice; wc -c </mnt/new/moved; rm /mnt/new/moved; rmdir /mnt/new/a 2>&1 | grep -c empty; rm -r /mnt/new/a; ls -1 /mnt/new',
    /\n1000\n1\nlink\ntwice\n/,
  ],
  ['for i in $(seq 200); do echo line $i >>/mnt/new/log; done; tail -1 /mnt/new/log', /line 200/],
  // A file that is open stays, without its name.
  ['exec 5<>/mnt/new/gone; echo still >&5; rm /mnt/new/gone; cat /proc/self/fd/5; exec 5>&-', /still/],
  ['mkfifo /mnt/new/fifo 2>&1; mknod /mnt/new/disk b 8 0 2>&1', /not permitted[\s\S]*not permitted/],
  ['df -T /mnt | tail -1; umount /mnt && echo unmounted', /9p[\s\S]*unmounted/],
];

/** Mounts a folder, reads and changes it; the host then finds what was written. */
export async function folders(name, { machine, device, report }) {
  const folder = scratch();
  const root = join(folder, 'share');
  const large = plant(root);
  const fsdev = ['-fsdev', `local,id=f0,path=${root},security_model=none`, '-device', `${device},fsdev=f0,mount_tag=share`];
  const fixed = ['-virtfs', `local,path=${root},mount_tag=fixed,security_model=none,readonly=on`];
  const guest = new Guest(name, folder, debian('full.cpio', 'nestvm.fin=poweroff', '-M', machine, '-m', '512M', ...fsdev, ...fixed));
  try {
    await guest.waitFor(PROMPT);
    await guest.shell(LOAD_DRIVERS);
    for (const [line, wanted] of steps(large)) {
      const printed = await guest.shell(line);
      check(wanted.test(printed), `after '${line}' no ${wanted}: ${printed.slice(-600)}`);
    }
    report('mounted, listed, read, written, renamed, linked, unmounted');
    const refused = await guest.shell(
      'mount -t 9p -o trans=virtio,version=9p2000.L fixed /mnt; rm /mnt/link; echo x >/mnt/large; touch /mnt/x; umount /mnt',
    );
    check((refused.match(/Read-only file system/g) ?? []).length === 3, `a read-only folder was changed: ${refused}`);
    report('a folder with readonly=on is left alone');
    await guest.switchOff(machine);
    check(readFileSync(join(root, 'new/log'), 'utf8').split('\n').length === 201, 'the log of the guest is not on the host');
    check(readFileSync(join(root, 'new/twice')).length === 1000 && !existsSync(join(root, 'new/moved')), 'the host has other files than the guest');
    check(digest(readFileSync(join(root, 'large'))) === large, 'the large file was changed');
    check(execFileSync('readlink', [join(root, 'new/link')], { encoding: 'utf8' }).trim() === 'moved', 'the link is another');
    report('the host has what the guest wrote');
  } finally {
    await guest.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}
