/** A file that a guest fetches. */
export interface TftpFile {
  readonly sizeBytes: number;
  /** Copies bytes from an offset into `into`, as many as fit and are there; returns how many. */
  read(offset: number, into: Uint8Array): number;
  close(): void;
}

/** Looks a file up by the name that a guest gives; undefined when there is none for guests. */
export type TftpFolder = (name: string) => TftpFile | undefined;

/** Kinds of packets, and what an error says ("RFC 1350", "RFC 2347"). */
const Packet = { READ: 1, WRITE: 2, DATA: 3, ACKNOWLEDGE: 4, ERROR: 5, OPTIONS: 6 } as const;
const Failure = { OTHER: 0, NOT_FOUND: 1, ACCESS: 2, ILLEGAL: 4 } as const;
const BLOCK_BYTES = 512;
const LEAST_BLOCK = 8;
/** What fits into a frame of Ethernet beside the headers of IP, UDP and TFTP. */
const MOST_BLOCK = 1468;
const MOST_TRANSFERS = 16;
const LONGEST_NAME = 512;

interface Transfer {
  readonly file: TftpFile;
  readonly blockBytes: number;
  /** Number of the block that was sent last, not cut to 16 bits; 0: the options. */
  block: number;
  /** What was sent last. */
  sent: Uint8Array;
}

/** A TFTP server for reading ("RFC 1350"; block size and file size as in "RFC 2348", "RFC 2349"). The client keeps the time: what it asks for again is sent again. */
export class TftpServer {
  readonly #transfers = new Map<string, Transfer>();

  constructor(private readonly folder: TftpFolder) {}

  /** The answer to a packet of `client` (its address and port in any form), or undefined when there is none. */
  answer(client: string, packet: Uint8Array): Uint8Array | undefined {
    if (packet.length < 4) return undefined;
    const number = (packet[2]! << 8) | packet[3]!;
    switch ((packet[0]! << 8) | packet[1]!) {
      case Packet.READ:
        return this.#begin(client, packet);
      case Packet.WRITE:
        return failure(Failure.ACCESS, 'files are for reading');
      case Packet.ACKNOWLEDGE:
        return this.#next(client, number);
      case Packet.ERROR:
        this.#end(client);
        return undefined;
      default:
        return failure(Failure.ILLEGAL, 'not a packet of TFTP');
    }
  }

  close(): void {
    for (const client of this.#transfers.keys()) this.#end(client);
  }

  #begin(client: string, packet: Uint8Array): Uint8Array {
    const words = new TextDecoder().decode(packet.subarray(2)).split('\0');
    const [name = '', mode = ''] = words;
    if (words.length < 3 || name === '' || name.length > LONGEST_NAME) return failure(Failure.ILLEGAL, 'a request without a name');
    if (mode.toLowerCase() !== 'octet') return failure(Failure.ILLEGAL, 'only octet is there');
    this.#end(client);
    const file = this.folder(name);
    if (!file) return failure(Failure.NOT_FOUND, 'no such file');
    for (const oldest of this.#transfers.keys()) if (this.#transfers.size >= MOST_TRANSFERS) this.#end(oldest);
    const { blockBytes, accepted } = negotiate(words.slice(2), file.sizeBytes);
    const transfer: Transfer = { file, blockBytes, block: 0, sent: accepted };
    this.#transfers.set(client, transfer);
    return accepted.length > 2 ? accepted : this.#send(client, transfer, 1);
  }

  /** The block after the one that the client has; the same again when it asks for that. */
  #next(client: string, number: number): Uint8Array | undefined {
    const transfer = this.#transfers.get(client);
    if (!transfer) return undefined;
    const { block, blockBytes, file, sent } = transfer;
    if (number === ((block - 1) & 0xffff) && block > 0) return sent;
    if (number !== (block & 0xffff)) return undefined;
    // A block that is not full was the last.
    if (block * blockBytes > file.sizeBytes) {
      this.#end(client);
      return undefined;
    }
    return this.#send(client, transfer, block + 1);
  }

  #send(client: string, transfer: Transfer, block: number): Uint8Array {
    const { file, blockBytes } = transfer;
    const offset = (block - 1) * blockBytes;
    const packet = new Uint8Array(4 + Math.max(0, Math.min(blockBytes, file.sizeBytes - offset)));
    packet.set([0, Packet.DATA, (block >> 8) & 0xff, block & 0xff]);
    try {
      // A file that shrinks meanwhile cannot be finished.
      if (file.read(offset, packet.subarray(4)) < packet.length - 4) throw new Error('shorter');
    } catch {
      this.#end(client);
      return failure(Failure.OTHER, 'the file cannot be read');
    }
    transfer.block = block;
    transfer.sent = packet;
    return packet;
  }

  #end(client: string): void {
    this.#transfers.get(client)?.file.close();
    this.#transfers.delete(client);
  }
}

/** What of a client's options is taken, as the packet that says so. */
function negotiate(words: readonly string[], sizeBytes: number): { readonly blockBytes: number; readonly accepted: Uint8Array } {
  let blockBytes = BLOCK_BYTES;
  let text = '';
  for (let i = 0; i + 1 < words.length; i += 2) {
    const [option, value] = [words[i]!.toLowerCase(), Number(words[i + 1])];
    if (option === 'blksize' && value >= LEAST_BLOCK) {
      blockBytes = Math.min(Math.floor(value), MOST_BLOCK);
      text += `blksize\0${blockBytes}\0`;
    } else if (option === 'tsize') text += `tsize\0${sizeBytes}\0`;
  }
  return { blockBytes, accepted: Uint8Array.of(0, Packet.OPTIONS, ...new TextEncoder().encode(text)) };
}

const failure = (code: number, text: string): Uint8Array => Uint8Array.of(0, Packet.ERROR, 0, code, ...new TextEncoder().encode(text), 0);
