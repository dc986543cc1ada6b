/** Plays for `pnpm test:guests`: web servers of the host, as a guest's download, as its disk, and a relay as its network. */
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { check, debian, Guest, LOAD_DRIVERS, scratch } from './player.mjs';

const FILE_BYTES = 8 * 2 ** 20;
const SECTORS = (64 * 2 ** 20) / 512;

/** A web server on the host's loopback that serves ranges of some bytes; `ranges` counts those. */
async function serve(bytes) {
  const server = createServer((request, response) => {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    if (first === undefined) return void response.writeHead(200, { 'content-length': bytes.length }).end(bytes);
    served.ranges++;
    const part = bytes.subarray(Number(first), Number(last) + 1);
    response.writeHead(206, { 'content-range': `bytes ${first}-${Number(first) + part.length - 1}/${bytes.length}`, etag: '"1"' }).end(part);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const served = { port: server.address().port, ranges: 0, close: () => void (server.closeAllConnections(), server.close()) };
  return served;
}

const md5 = (bytes) => createHash('md5').update(bytes).digest('hex');

/** Debian asks DHCP for an address and fetches a file from a web server of the host, by `user` network. */
export async function downloads(name, { machine, suffix, more, report }) {
  const file = randomBytes(FILE_BYTES);
  const server = await serve(file);
  const words = `nestvm.run=net nestvm.url=http://10.0.2.2:${server.port}/file nestvm.fin=poweroff`;
  const card = ['-netdev', 'user,id=n0', '-device', `virtio-net-${suffix}${more},netdev=n0`];
  const guest = new Guest(name, scratch(), debian('virtio.cpio', words, '-M', machine, '-m', '256M', ...card));
  try {
    const [lease] = await guest.waitFor(/net: eth0 has 10\.0\.2\.15\/24, router 10\.0\.2\.2, dns 10\.0\.2\.3/);
    report(lease);
    const [, bytes, sum] = await guest.waitFor(/net: fetched (\d+) bytes, md5 ([0-9a-f]{32})/);
    check(Number(bytes) === FILE_BYTES && sum === md5(file), `${bytes} bytes with ${sum} came, ${FILE_BYTES} with ${md5(file)} were sent`);
    report(`${bytes} bytes came from a web server of the host, as they were sent`);
  } finally {
    server.close();
    await guest.kill();
  }
}

/** A relay in a process of its own, with a user network on it. */
async function startRelay() {
  const child = spawn(process.execPath, [Guest.program, 'relay', '-listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  // Whatever ends the script ends the relay, too.
  process.on('exit', () => child.kill('SIGKILL'));
  const url = await new Promise((done, fail) => {
    let text = '';
    child.stdout.on('data', (data) => {
      const match = /ws:\/\/\S+/.exec((text += data));
      if (match) done(match[0]);
    });
    child.on('close', () => fail(new Error(`the relay has ended: ${text}`)));
  });
  return { url, close: () => child.kill() };
}

/** A disk on a web server, which is read, and written to in memory; and a network behind a relay. */
export async function webBackends(name, { machine, suffix, more, report }) {
  const image = Buffer.alloc(SECTORS * 512);
  randomBytes(FILE_BYTES).copy(image, 16 * 2 ** 20);
  const [disk, file, relay] = [await serve(image), await serve(image.subarray(16 * 2 ** 20, 24 * 2 ** 20)), await startRelay()];
  const plugged = [
    ['-drive', `file=http://127.0.0.1:${disk.port}/disk.raw,format=raw,if=none,id=d0`, '-device', `virtio-blk-${suffix}${more},drive=d0`],
    ['-netdev', `websocket,id=n0,url=${relay.url}`, '-device', `virtio-net-${suffix}${more},netdev=n0`],
  ];
  const guest = new Guest(name, scratch(), debian('virtio.cpio', 'nestvm.fin=poweroff', '-M', machine, '-m', '256M', ...plugged.flat()));
  try {
    await guest.waitFor('nestvm# ');
    await guest.shell(LOAD_DRIVERS);
    const whole = await guest.shell('md5sum /dev/vda');
    check(whole.includes(md5(image)), `the disk reads as something else: ${whole}`);
    report(`${image.length} bytes of the disk came in ${disk.ranges} ranges`);
    await guest.shell('mkfs.ext4 -q /dev/vda; mkdir -p /mnt; mount -t ext4 /dev/vda /mnt; seq 3000 >/mnt/numbers; umount /mnt');
    await guest.shell('echo 3 >/proc/sys/vm/drop_caches');
    const kept = await guest.shell('mount -t ext4 /dev/vda /mnt && md5sum </mnt/numbers; seq 3000 | md5sum; umount /mnt');
    const sums = kept.match(/[0-9a-f]{32}/g) ?? [];
    check(sums.length === 2 && sums[0] === sums[1], `a file was not kept: ${kept}`);
    report('a file system in memory above it keeps a file');
    const address = 'ip link set eth0 up; ip addr add 10.0.2.20/24 dev eth0';
    const fetched = await guest.shell(`${address}; wget -q -O /tmp/file http://10.0.2.2:${file.port}/ && md5sum </tmp/file`);
    check(fetched.includes(md5(image.subarray(16 * 2 ** 20, 24 * 2 ** 20))), `not what was sent came: ${fetched}`);
    report(`${FILE_BYTES} bytes came over the relay`);
    await guest.switchOff(machine);
  } finally {
    for (const { close } of [disk, file, relay]) close();
    await guest.kill();
  }
}
