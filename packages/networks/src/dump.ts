import type { Network, Offload, Receiver } from './network.js';

const LINK_TYPE_ETHERNET = 1;
const MAGIC = 0xa1b2c3d4;

/** How a dump is made. */
export interface DumpOptions {
  /** Takes the bytes of the capture file, in order. */
  readonly write: (bytes: Uint8Array) => void;
  /** Microseconds since 1970. */
  readonly now: () => number;
  /** Longest part of a frame that is kept (default 65,536). */
  readonly mostBytes?: number;
}

/** One capture file ("PCAP Capture File Format"). */
class Dump {
  private readonly most: number;

  constructor(private readonly options: DumpOptions) {
    this.most = options.mostBytes ?? 65_536;
    const header = new DataView(new ArrayBuffer(24));
    header.setUint32(0, MAGIC);
    header.setUint16(4, 2);
    header.setUint16(6, 4);
    header.setUint32(16, this.most);
    header.setUint32(20, LINK_TYPE_ETHERNET);
    options.write(new Uint8Array(header.buffer));
  }

  record(frame: Uint8Array): void {
    const kept = frame.subarray(0, this.most);
    const bytes = new Uint8Array(16 + kept.length);
    const view = new DataView(bytes.buffer);
    const now = this.options.now();
    view.setUint32(0, Math.floor(now / 1e6));
    view.setUint32(4, Math.floor(now % 1e6));
    view.setUint32(8, kept.length);
    view.setUint32(12, frame.length);
    bytes.set(kept, 16);
    this.options.write(bytes);
  }
}

/** A network that writes down all frames that pass in either direction, as pcap files that may come and go. */
export class DumpedNetwork implements Network {
  #receiver: Receiver | undefined;
  #dumps: readonly Dump[] = [];

  /** `options`: the first dump. */
  constructor(
    private readonly network: Network,
    options?: DumpOptions,
  ) {
    if (options) this.addDump(options);
    network.receiver = (frame, offload) => {
      for (const dump of this.#dumps) dump.record(frame);
      this.#receiver?.(frame, offload);
    };
  }

  /** Writes frames down from now on, until what it returns is called. */
  addDump(options: DumpOptions): () => void {
    const dump = new Dump(options);
    this.#dumps = [...this.#dumps, dump];
    return () => {
      this.#dumps = this.#dumps.filter((each) => each !== dump);
    };
  }

  get offloads(): boolean {
    return this.network.offloads;
  }

  get receiver(): Receiver | undefined {
    return this.#receiver;
  }

  set receiver(receiver: Receiver | undefined) {
    this.#receiver = receiver;
  }

  get guest(): { readonly checksum: boolean; readonly segments: boolean } {
    return this.network.guest ?? { checksum: false, segments: false };
  }

  set guest(guest: { readonly checksum: boolean; readonly segments: boolean }) {
    this.network.guest = guest;
  }

  send(frame: Uint8Array, offload?: Offload): void {
    for (const dump of this.#dumps) dump.record(frame);
    this.network.send(frame, offload);
  }

  flush(): void {
    this.network.flush?.();
  }

  close(): void {
    this.network.close();
  }
}
