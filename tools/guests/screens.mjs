/** Plays for `pnpm test:guests`: graphics and input devices, by Debian's drivers. */
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { defaultOutput } from './build.mjs';
import { check, debian, Guest, LOAD_DRIVERS, pause, scratch } from './player.mjs';

/** A pixmap that screendump made: its size, and the colour of a pixel. */
function readPixmap(path) {
  const file = readFileSync(path);
  const [header, width, height] = /^P6\n(\d+) (\d+)\n255\n/.exec(file.subarray(0, 32).toString('latin1')) ?? [];
  check(header !== undefined, `${path} is no pixmap`);
  const at = (x, y) => [...file.subarray(header.length + 3 * (y * Number(width) + x)).subarray(0, 3)].join();
  return { width: Number(width), height: Number(height), at, bytes: file.subarray(header.length) };
}

/** Debian's DRM driver shows a console; what is drawn on it is in the picture that is saved. */
async function graphics(guest, folder, report) {
  const modes = await guest.shell(
    'cat /sys/class/drm/card0-Virtual-1/modes | head -1; cat /sys/class/graphics/fb0/virtual_size; wc -c </sys/class/drm/card0-Virtual-1/edid',
  );
  check(/640x480\s+640,480\s+128/.test(modes), `mode, size and EDID: ${modes}`);
  // The cursor would blink; a line of red, a line of text, and 40 lines of blue from the top.
  await guest.shell("printf '\\033[?25l\\033[2J\\033[10;1H\\033[41m%80s\\033[0m\\033[20;1HNestvm shows a picture' ' ' >/dev/tty0");
  await guest.shell(
    "printf '\\377\\000\\000\\000' >/tmp/p; for i in 1 2 3 4 5 6 7 8 9 10; do cat /tmp/p /tmp/p >/tmp/q; mv /tmp/q /tmp/p; done; for i in $(seq 25); do cat /tmp/p; done >/dev/fb0",
  );
  await pause(3000);
  const answer = await guest.ask(`screendump ${join(folder, 'screen.ppm')}`);
  check(!/:/.test(answer), `screendump: ${answer}`);
  const { width, height, at, bytes } = readPixmap(join(folder, 'screen.ppm'));
  check(width === 640 && height === 480, `the picture is ${width} × ${height}`);
  check(at(0, 0) === '0,0,255' && at(639, 38) === '0,0,255', `blue at the top, not ${at(0, 0)} and ${at(639, 38)}`);
  check(at(320, 9 * 16 + 8) === '170,0,0', `red in line 10, not ${at(320, 9 * 16 + 8)}`);
  check(at(320, 300) === '0,0,0', `black below, not ${at(320, 300)}`);
  let lit = 0;
  for (let i = 19 * 16 * 640 * 3; i < 20 * 16 * 640 * 3; i += 3) if (bytes[i] > 100) lit++;
  check(lit > 300 && lit < 3000, `${lit} pixels of text`);
  const png = join(defaultOutput, 'logs', `${guest.name}.png`);
  await guest.ask(`screendump ${png} -f png`);
  check(readFileSync(png).subarray(1, 4).toString() === 'PNG', 'the file is no PNG');
  report(`a picture of ${width} × ${height}, ${lit} pixels of text; see ${png}`);
}

/** The events of a device that the guest prints, as type:code:value. */
async function events(guest, device, act, wanted) {
  await guest.shell(
    `node=$(grep -l '${device}' /sys/class/input/event*/device/name | head -1 | cut -d/ -f5); cat /dev/input/$node >/tmp/events & sleep 0.5`,
  );
  await act();
  await pause(1500);
  const printed = await guest.shell("kill %1 2>/dev/null; od -An -v -w24 -td2 /tmp/events | awk '{print $9\":\"$10\":\"$11}' | tr '\\n' ' '");
  // A busy host holds keys for so long that the guest repeats them.
  const once = printed.replace(/1:\d+:2 0:0:1 /g, '');
  check(once.includes(wanted), `${device}: no '${wanted}' in ${printed}`);
}

/** Keys, the mouse and the tablet, from the monitor to evdev; and a light back. */
async function inputs(guest, report) {
  const names = await guest.shell('cat /sys/class/input/event*/device/name');
  for (const kind of ['keyboard', 'mouse', 'tablet']) check(names.includes(`virtio ${kind}`), `no ${kind} in ${names}`);
  await events(guest, 'virtio keyboard', () => guest.ask('sendkey a'), '1:30:1 0:0:0 1:30:0 0:0:0');
  await events(guest, 'virtio keyboard', () => guest.ask('sendkey ctrl-x'), '1:29:1 0:0:0 1:45:1 0:0:0 1:45:0 0:0:0 1:29:0 0:0:0');
  await events(guest, 'virtio mouse', () => guest.ask('mouse_move 5 -7 -1'), '2:0:5 2:1:-7 0:0:0 2:8:1 0:0:0');
  await events(
    guest,
    'virtio mouse',
    async () => (await guest.ask('mouse_button 1'), await guest.ask('mouse_button 0')),
    '1:272:1 0:0:0 1:272:0 0:0:0',
  );
  report('keys, moves and buttons came from the monitor to evdev');
}

/** A display and input devices. */
export async function screens(name, { machine, suffix, more, report }) {
  const folder = scratch();
  mkdirSync(join(defaultOutput, 'logs'), { recursive: true });
  const plugged = [`virtio-gpu-${suffix},xres=640,yres=480`, ...['keyboard', 'mouse', 'tablet'].map((kind) => `virtio-${kind}-${suffix}`)];
  const devices = plugged.flatMap((device) => ['-device', device + more]);
  const guest = new Guest(name, folder, debian('full.cpio', 'nestvm.fin=poweroff', '-M', machine, '-m', '384M', ...devices));
  try {
    await guest.waitFor('nestvm# ');
    await guest.shell(LOAD_DRIVERS);
    await graphics(guest, folder, report);
    await inputs(guest, report);
    await guest.switchOff(machine);
  } finally {
    await guest.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}
