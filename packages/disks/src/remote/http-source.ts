import { DiskError } from '../errors.js';
import type { ByteSource } from './source.js';

/** What is used of a response to `fetch`. */
export interface HttpResponse {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  readonly body?: { cancel(): Promise<void> } | null;
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** `fetch`, of a browser, of Node or of a test. */
export type HttpFetch = (url: string, init: { readonly method: string; readonly headers: Readonly<Record<string, string>> }) => Promise<HttpResponse>;

/** How a file is asked for. */
export interface HttpOptions {
  readonly fetch: HttpFetch;
  /** Sent with each request, as `Authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** How often a range is asked for before it counts as unreachable (default 3): lines break, servers restart. */
  readonly tries?: number;
}

/** Bytes that the first request brings along; they say the format of an image. */
const START_BYTES = 0x1_0000;
const PARTIAL = 206;
const WHOLE = 200;
const NOT_SATISFIABLE = 416;

/** `bytes 0-99/1000`: the first byte and, where the server says it, the length of the whole. */
function readContentRange(text: string | null): { first: number; total: number | undefined } | undefined {
  const match = /^bytes (?:(\d+)-\d+|\*)\/(\d+|\*)$/.exec(text ?? '');
  return match ? { first: Number(match[1] ?? 0), total: match[2] === '*' ? undefined : Number(match[2]) } : undefined;
}

/** What tells one state of a file from another. */
const versionOf = ({ headers }: HttpResponse): string => headers.get('etag') ?? headers.get('last-modified') ?? '';

/** A file on a web server, read by ranges ("RFC 9110", Range Requests). */
class HttpSource implements ByteSource {
  sizeBytes = 0;
  private version = '';
  private start = new Uint8Array(0);

  constructor(
    readonly name: string,
    private readonly options: HttpOptions,
  ) {}

  /** Asks for the beginning, which shows whether the server serves ranges, and how long the file is. */
  async open(): Promise<void> {
    const response = await this.ask('GET', 0, START_BYTES - 1);
    if (response.status === NOT_SATISFIABLE) return;
    this.assertPartial(response);
    this.version = versionOf(response);
    const range = readContentRange(response.headers.get('content-range'));
    this.start = new Uint8Array(await response.arrayBuffer());
    // A server of another origin may hide Content-Range from pages, but never Content-Length.
    this.sizeBytes = range?.total ?? (this.start.length < START_BYTES ? this.start.length : await this.askSize());
    if (this.start.length !== Math.min(START_BYTES, this.sizeBytes)) throw this.mangled();
  }

  async read(offset: number, lengthBytes: number): Promise<Uint8Array> {
    if (offset + lengthBytes <= this.start.length) return this.start.subarray(offset, offset + lengthBytes);
    const response = await this.ask('GET', offset, offset + lengthBytes - 1);
    // A file that is shorter now is another file, too.
    if (response.status === NOT_SATISFIABLE) throw this.changed();
    this.assertPartial(response);
    const range = readContentRange(response.headers.get('content-range'));
    if (versionOf(response) !== this.version || (range?.total ?? this.sizeBytes) !== this.sizeBytes) {
      await response.body?.cancel();
      throw this.changed();
    }
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (bytes.length !== lengthBytes || (range !== undefined && range.first !== offset)) throw this.mangled();
    return bytes;
  }

  private async askSize(): Promise<number> {
    const length = (await this.ask('HEAD')).headers.get('content-length');
    if (length === null || !/^\d+$/.test(length)) throw new DiskError('no-ranges', `${this.name}: the server does not say how long the file is`);
    return Number(length);
  }

  /** Sends a request as often as it may; what comes is an answer of the server about the file. */
  private async ask(method: string, first?: number, last?: number): Promise<HttpResponse> {
    const { fetch, headers, tries = 3 } = this.options;
    // Ranges of what was packed for the way would be ranges of the packed bytes.
    const all = { ...headers, 'Accept-Encoding': 'identity', ...(first === undefined ? {} : { Range: `bytes=${first}-${last}` }) };
    let reason = '';
    for (let i = 0; i < tries; i++) {
      try {
        const response = await fetch(this.name, { method, headers: all });
        if (response.status < 400 || response.status === NOT_SATISFIABLE) return response;
        await response.body?.cancel();
        reason = `the server answers ${response.status}`;
        if (response.status < 500) break;
      } catch (error) {
        reason = reasonOf(error);
      }
    }
    throw new DiskError('unreachable', `${this.name}: ${reason}; check the address, and that the server lets you read it`);
  }

  private assertPartial(response: HttpResponse): void {
    if (response.status === PARTIAL) return;
    void response.body?.cancel();
    throw new DiskError(
      'no-ranges',
      response.status === WHOLE
        ? `${this.name}: the server sends whole files only; a disk needs one that serves ranges (nginx and Apache do)`
        : `${this.name}: the server answers ${response.status} in place of a range`,
    );
  }

  private changed(): DiskError {
    return new DiskError('changed', `${this.name}: the file on the server has changed since it was opened; start again`);
  }

  private mangled(): DiskError {
    return new DiskError(
      'no-ranges',
      `${this.name}: the server sends other bytes than those that were asked for (does something between pack them?)`,
    );
  }
}

/** Why `fetch` has failed: its own words say little. */
function reasonOf(error: unknown): string {
  const { cause, message } = error as { cause?: { code?: string; message?: string }; message?: string };
  return cause?.code ?? cause?.message ?? message ?? String(error);
}

/** A file on a web server; rejects with `DiskError` (`unreachable`, `no-ranges`). */
export async function openHttpSource(url: string, options: HttpOptions): Promise<ByteSource> {
  const source = new HttpSource(url, options);
  await source.open();
  return source;
}
