/**
 * A writer of cpio archives in the "newc" format, which is what Linux unpacks as an initramfs
 * (Documentation/driver-api/early-userspace/buffer-format of the kernel). No file of the host is needed to describe an
 * entry, so device nodes take no privileges.
 */

const S_IFREG = 0o100000;
const S_IFDIR = 0o040000;
const S_IFLNK = 0o120000;
const S_IFCHR = 0o020000;

/** Collects entries and returns the archive. Entries come out in the order in which they were added; parents are added by need. */
export class CpioArchive {
  #chunks = [];
  #length = 0;
  #inode = 1;
  #known = new Set();

  /** A regular file. `data` is a Uint8Array or a string; `mode` its permission bits. */
  file(path, data, mode = 0o644) {
    this.#entry(path, S_IFREG | mode, typeof data === 'string' ? Buffer.from(data) : data);
    return this;
  }

  directory(path, mode = 0o755) {
    if (!this.#known.has(path)) this.#entry(path, S_IFDIR | mode, Buffer.alloc(0));
    return this;
  }

  symlink(path, target) {
    this.#entry(path, S_IFLNK | 0o777, Buffer.from(target));
    return this;
  }

  /** A character device node. */
  character(path, major, minor, mode = 0o600) {
    this.#entry(path, S_IFCHR | mode, Buffer.alloc(0), [major, minor]);
    return this;
  }

  /** The whole archive, ended by its trailer and padded to 512 bytes. */
  finish() {
    this.#write('TRAILER!!!', 0, Buffer.alloc(0), [0, 0], 0);
    const padding = (512 - (this.#length % 512)) % 512;
    return Buffer.concat([...this.#chunks, Buffer.alloc(padding)]);
  }

  #entry(path, mode, data, device = [0, 0]) {
    const slash = path.lastIndexOf('/');
    if (slash > 0) this.directory(path.slice(0, slash));
    if (this.#known.has(path)) throw new Error(`The archive has two entries named ${path}; keep one.`);
    this.#known.add(path);
    this.#write(path, mode, data, device, this.#inode++);
  }

  #write(path, mode, data, [major, minor], inode) {
    const name = Buffer.from(`${path}\0`);
    const fields = [inode, mode, 0, 0, 1, 0, data.length, 0, 0, major, minor, name.length, 0];
    this.#push(Buffer.from(`070701${fields.map((value) => value.toString(16).padStart(8, '0')).join('')}`));
    this.#push(name);
    this.#align();
    this.#push(data);
    this.#align();
  }

  #push(bytes) {
    this.#chunks.push(bytes);
    this.#length += bytes.length;
  }

  #align() {
    const padding = -this.#length & 3;
    if (padding) this.#push(Buffer.alloc(padding));
  }
}
