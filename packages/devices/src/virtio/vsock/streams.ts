import type { VsockBackend, VsockConnection, VsockPeer } from './backend.js';
import type { VirtioVsock } from './device.js';

/** A stream to the guest, for hosts without sockets. */
export class VsockStream implements VsockPeer {
  /** Bytes from the guest: a copy. */
  onData: ((bytes: Uint8Array) => void) | undefined;
  /** The guest sends no more. */
  onEnd: (() => void) | undefined;
  /** Over; or refused. */
  onClose: (() => void) | undefined;
  private connection: VsockConnection | undefined;
  private readonly waiting: Uint8Array[] = [];
  private ending = false;

  /** Sends bytes; what the guest has no room for yet waits here. */
  send(bytes: Uint8Array): void {
    if (this.ending) return;
    this.waiting.push(bytes.slice());
    this.room();
  }

  /** Sends no more, once everything has gone out. */
  finish(): void {
    this.ending = true;
    this.room();
  }

  /** Connects this end; for `VsockStreams`. */
  attach(connection: VsockConnection): this {
    this.connection = connection;
    this.room();
    return this;
  }

  write(bytes: Uint8Array): void {
    this.onData?.(bytes.slice());
    this.connection?.consumed(bytes.length);
  }

  room(): void {
    const { connection, waiting } = this;
    while (connection && waiting.length > 0) {
      const first = waiting[0]!;
      const taken = connection.send(first);
      if (taken < first.length) {
        waiting[0] = first.subarray(taken);
        return;
      }
      waiting.shift();
    }
    if (this.ending) connection?.end();
  }

  end(): void {
    this.onEnd?.();
  }

  close(): void {
    this.onClose?.();
  }
}

/** The host's side of a socket device in memory: services by port, and connections to the guest. */
export class VsockStreams implements VsockBackend {
  private readonly services = new Map<number, (stream: VsockStream) => void>();

  /** Answers a port of the host; nothing: refuses again. */
  listen(port: number, service: ((stream: VsockStream) => void) | undefined): void {
    if (service) this.services.set(port, service);
    else this.services.delete(port);
  }

  connect(port: number, connection: VsockConnection): VsockPeer | undefined {
    const service = this.services.get(port);
    if (service === undefined) return undefined;
    const stream = new VsockStream();
    service(stream);
    return stream.attach(connection);
  }

  /** Connects to a port of the guest; nothing: there are too many connections, or the guest has no driver. */
  open(device: VirtioVsock, guestPort: number): VsockStream | undefined {
    const stream = new VsockStream();
    const connection = device.dial(guestPort, stream);
    return connection && stream.attach(connection);
  }
}
