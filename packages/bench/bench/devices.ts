/** `pnpm bench --devices`: disk and networks of the same guest on both emulators in turns. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BenchError } from '../src/index.js';
import type { Emulator } from './emulator.js';

const DISK_BYTES = 64 * 2 ** 20;
const PIECE = Buffer.alloc(0x1_0000, 7);

/** What `iobench` talks to: `G n` is sent n bytes, of `P n` n bytes are taken, `E n` is an echo. */
function serve(socket: Socket): void {
  socket.setNoDelay(true);
  socket.on('error', () => {});
  let greeting = '';
  const greet = (data: Buffer): void => {
    const text = data.toString('latin1');
    const end = text.indexOf('\n');
    greeting += end < 0 ? text : text.slice(0, end);
    if (end < 0) return;
    socket.off('data', greet);
    const [command, count] = greeting.split(' ');
    const rest = data.subarray(end + 1);
    if (command === 'G') send(socket, Number(count));
    else if (command === 'P') take(socket, Number(count) - rest.length);
    else socket.on('data', (bytes: Buffer) => void socket.write(bytes));
    if (command === 'E' && rest.length > 0) socket.write(rest);
  };
  socket.on('data', greet);
}

function send(socket: Socket, bytes: number): void {
  let left = bytes;
  const more = (): void => {
    while (left > 0) {
      const piece = PIECE.subarray(0, Math.min(left, PIECE.length));
      left -= piece.length;
      if (!socket.write(piece)) {
        socket.once('drain', more);
        return;
      }
    }
    socket.end();
  };
  more();
}

function take(socket: Socket, bytes: number): void {
  let left = bytes;
  socket.on('data', (data: Buffer) => {
    left -= data.length;
    if (left <= 0) socket.write('k');
  });
}

const portOf = (server: Server): number => {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new BenchError('no-guest', 'the server for networks has no port');
  return address.port;
};

const listening = (server: Server): Promise<Server> =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve(server));
  });

/** A free port, for a while. */
async function freePort(): Promise<number> {
  const server = await listening(createServer());
  const port = portOf(server);
  await new Promise((done) => server.close(done));
  return port;
}

const ROUTER_MS = 120_000;

/** Waits until somebody listens. */
async function answered(port: number): Promise<void> {
  const untilMs = performance.now() + ROUTER_MS;
  const once = (): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1');
      socket.once('error', () => resolve(false));
      socket.once('connect', () => {
        socket.destroy();
        resolve(true);
      });
    });
  while (!(await once())) {
    if (performance.now() > untilMs) throw new BenchError('no-guest', 'the router behind the socket has not begun to listen');
    await new Promise((done) => setTimeout(done, 200));
  }
}

/** A tree of 40 folders with 2000 small files, and a large one. */
function plant(root: string): string {
  for (let folder = 0; folder < 40; folder++) {
    const path = join(root, `folder-${folder}`);
    mkdirSync(path, { recursive: true });
    for (let file = 0; file < 50; file++) writeFileSync(join(path, `file-${file}`), Buffer.alloc(500 + 70 * file, folder + file));
  }
  writeFileSync(join(root, 'large'), Buffer.alloc(DISK_BYTES / 4, 9));
  return root;
}

/** Runs a command until its standard input ends, which it does with us, however we end; its whole group is ended then. */
const KEEPER = ['-c', '"$@" & cat >/dev/null; kill -9 0', 'keeper'];

/** The surroundings of a guest: a blank disk, a server on the host, a folder, and a user network behind a socket, the same one for both emulators. */
export class DeviceBench {
  private constructor(
    private readonly folder: string,
    private readonly server: Server,
    private readonly router: ChildProcess,
    private readonly cable: number,
    private readonly tree: string,
  ) {}

  /** Opens all that; `emulator` is who plays the router behind the socket, by `nestvm relay`. */
  static async open(emulator: Emulator): Promise<DeviceBench> {
    const folder = mkdtempSync(join(tmpdir(), 'nestvm-bench-'));
    const server = await listening(createServer(serve));
    const cable = await freePort();
    const networks = ['-netdev', 'user,id=u,net=10.0.3.0/24', '-netdev', `socket,id=s,listen=127.0.0.1:${cable}`];
    const command = [emulator.command, emulator.arguments[0]!, 'relay', '-listen', '127.0.0.1:0', ...networks];
    const router = spawn('/bin/sh', [...KEEPER, ...command], { stdio: ['pipe', 'ignore', 'inherit'], detached: true });
    const tree = plant(join(folder, 'tree'));
    await answered(cable);
    return new DeviceBench(folder, server, router, cable, tree);
  }

  /** Options of a machine with the disk and the networks; the disk is blank again. */
  machine(): string[] {
    const disk = join(this.folder, 'disk.raw');
    writeFileSync(disk, '');
    truncateSync(disk, DISK_BYTES);
    const parts = [
      ['-drive', `file=${disk},format=raw,if=none,id=d0`],
      ['-device', 'virtio-blk-pci,drive=d0'],
      ['-netdev', 'user,id=n0'],
      ['-device', 'virtio-net-pci,netdev=n0'],
      ['-netdev', `socket,id=n1,connect=127.0.0.1:${this.cable}`],
      ['-device', 'virtio-net-pci,netdev=n1'],
      ['-fsdev', `local,id=f0,path=${this.tree},security_model=none,readonly=on`],
      ['-device', 'virtio-9p-pci,fsdev=f0,mount_tag=bench'],
    ];
    return parts.flat();
  }

  /** Words for the kernel's command line. */
  get words(): string[] {
    return ['nestvm.run=bench-devices', `nestvm.port=${portOf(this.server)}`];
  }

  close(): void {
    this.server.close();
    this.router.stdin?.end();
    rmSync(this.folder, { recursive: true });
  }
}

/** Builds the initramfs with the drivers of virtio devices, for Debian's full kernel: the cloud kernel has no 9P. */
export function deviceGuest(root: string): { kernel: string; initramfs: string } {
  execFileSync(process.execPath, [join(root, 'tools/guests/build.mjs'), '--full'], { stdio: ['ignore', 'ignore', 'inherit'] });
  return { kernel: join(root, 'build/guests/vmlinuz-full'), initramfs: join(root, 'build/guests/full.cpio') };
}
