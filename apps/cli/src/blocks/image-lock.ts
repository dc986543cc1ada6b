import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';

/** What an image is opened for: there is one who writes, or any number who read. */
export type LockKind = 'write' | 'read';

/** A file of the host, whatever it is called. */
export interface FileIdentity {
  readonly dev: bigint;
  readonly ino: bigint;
}

/** Readers of one process have a name each. */
let readers = 0;

const nameOf = ({ dev, ino }: FileIdentity): string => `nestvm-image/${dev}:${ino}/`;

/** Takes a name that one process has at a time; undefined when it is taken. */
function bind(name: string): Server | undefined {
  const server = createServer((stranger) => stranger.destroy());
  // A name that is taken is seen by `listening` at once; the event comes later.
  server.on('error', () => {});
  server.listen({ path: `\0${name}`, exclusive: true });
  server.unref();
  return server.listening ? server : undefined;
}

/** Whether somebody has a name that begins so. */
function isTaken(prefix: string): boolean {
  try {
    return readFileSync('/proc/net/unix', 'latin1').includes(` @${prefix}`);
  } catch {
    return false;
  }
}

/** Device number as the kernel prints it: major and minor in hexadecimal digits. */
function deviceText(dev: bigint): string {
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
  const hex = (value: bigint): string => value.toString(16).padStart(2, '0');
  return `${hex(major)}:${hex(minor)}`;
}

/** First bytes of QEMU's locks: what it does (100 and on), and what it keeps others from (200 and on); of each, writing is the second. */
const QEMU_WRITES = 101;
const QEMU_REFUSES_WRITES = 201;

/** Whether a QEMU has the image so that it cannot be opened for `kind`: its locks are bytes that it has locked, each with a meaning. */
export function heldByQemu(locks: string, { dev, ino }: FileIdentity, kind: LockKind): boolean {
  const conflict = kind === 'write' ? QEMU_REFUSES_WRITES : QEMU_WRITES;
  const file = `${deviceText(dev)}:${ino}`;
  return locks.split('\n').some((line) => {
    const [, type, , , , place, first, last] = line.trim().split(/\s+/);
    return type === 'OFDLCK' && place === file && Number(first) <= conflict && (last === 'EOF' || Number(last) >= conflict);
  });
}

function qemuHas(file: FileIdentity, kind: LockKind): boolean {
  try {
    return heldByQemu(readFileSync('/proc/locks', 'latin1'), file, kind);
  } catch {
    return false;
  }
}

/**
 * A claim on an image that other processes of this system see: who writes it has it alone.
 *
 * Node cannot lock files, so a claim is a name in Linux's abstract socket namespace, which one process can have at a time and which the kernel takes back however
 * that process ends (a file beside the image would outlive `kill -9`, and not every folder can be written). It is the image's device and inode, so that another path
 * to it is the same. The namespace is that of the network: containers with networks of their own do not see one another's. Other systems have no such names, and no
 * claims. A QEMU's locks on the image are looked at, but a QEMU cannot see ours.
 */
export class ImageLock {
  private constructor(
    private server: Server | undefined,
    private readonly file: FileIdentity,
    private readonly kind: LockKind,
  ) {}

  /** Undefined when another process, or another drive of this one, has the image. */
  static take(file: FileIdentity, kind: LockKind): ImageLock | undefined {
    const lock = new ImageLock(undefined, file, kind);
    return lock.renew() ? lock : undefined;
  }

  /** Gives the claim up for a while. */
  release(): void {
    this.server?.close();
    this.server = undefined;
  }

  /** Takes the claim again; false when somebody else has it. */
  renew(): boolean {
    if (process.platform !== 'linux' || this.server) return true;
    const name = nameOf(this.file);
    // Both sides take their name first and look for the other's then: of two that come at once, both may leave, but never both stay.
    this.server = bind(this.kind === 'write' ? `${name}write` : `${name}read/${process.pid}-${readers++}`);
    if (!this.server) return false;
    if (!isTaken(this.kind === 'write' ? `${name}read/` : `${name}write`) && !qemuHas(this.file, this.kind)) return true;
    this.release();
    return false;
  }
}
