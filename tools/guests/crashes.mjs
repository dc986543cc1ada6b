/** Plays for `pnpm test:guests`: kill -9 of the emulator while a guest writes. What the guest has synced must be there afterwards, on a file system and in an image that are whole. */
import { execFileSync, spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { check, debian, Guest, pause, scratch } from './player.mjs';

const root = resolve(fileURLToPath(new URL('../../', import.meta.url)));
const MEBIBYTES = 96;

/** Runs `tools/guests/images.ts`, which knows qcow2. */
export const image = (/** @type {string[]} */ ...args) =>
  execFileSync(process.execPath, ['--import', 'tsx', '--conditions=@nestvm/source', join(root, 'tools/guests/images.ts'), ...args], {
    cwd: root,
    encoding: 'utf8',
  });

/** Whether an image is whole: by our own check, and by qemu-img where it is installed; leaks do no harm. */
export function inspect(path) {
  const said = image('check', path).trim();
  const { status, error, stdout } = spawnSync('qemu-img', ['check', '-f', 'qcow2', path], { encoding: 'utf8' });
  check(error !== undefined || status === 0 || status === 3, `qemu-img check: status ${status}: ${stdout}`);
  return `${said}${error ? '' : `, qemu-img check ends with ${status}`}`;
}

const last = (text, pattern) => Number([...text.matchAll(pattern)].at(-1)?.[1] ?? 0);

/** `tries` times: start, let it write for a while, kill. The guest that starts next looks at what is left. */
export async function crashes(name, { machine, format, device, tries, report }) {
  const folder = scratch();
  const disk = join(folder, `disk.${format}`);
  image('create', format, disk, String(MEBIBYTES));
  const drive = ['-drive', `file=${disk},format=${format},if=none,id=disk`, ...device.flatMap((each) => ['-device', each])];
  const boot = debian('virtio.cpio', `nestvm.run=crash nestvm.disk=${device.length > 1 ? 'sda' : 'vda'}`, '-M', machine, '-m', '192M', ...drive);
  let promised = 0;
  for (let i = 0; i <= tries; i++) {
    const guest = new Guest(`${name}-${i}`, folder, boot);
    try {
      const [, kept] = await guest.waitFor(/crash: kept up to (\d+)/);
      check(i === 0 || guest.output.includes('crash: the file system is clean'), `try ${i}: the file system was not checked`);
      check(Number(kept) >= promised, `try ${i}: ${promised} was synced, but only ${kept} is there`);
      if (i === tries) break;
      await guest.waitFor(`crash: synced ${Number(kept) + 3}\r`);
      await pause(Math.random() * 3000);
      promised = last(guest.output, /crash: synced (\d+)\r/g);
    } finally {
      await guest.kill();
    }
    report(`killed after ${promised} were synced${format === 'qcow2' ? `; ${inspect(disk)}` : ''}`);
  }
  report(`${tries} times: what was synced was there, on a file system that fsck found clean`);
}
