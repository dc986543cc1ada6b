/** Told what happens to a TCP connection of the host. */
export interface TcpEvents {
  connected(): void;
  /** Bytes from the other end; they are good during the call only. */
  data(bytes: Uint8Array): void;
  /** The other end will send no more. */
  ended(): void;
  /** All that was written has been taken over by the host. */
  drained(): void;
  /** The connection is gone; `refused`: it never came to be. */
  closed(): void;
}

/** A TCP connection of the host. */
export interface TcpSocket {
  /** Takes the bytes (which it may keep). */
  write(bytes: Uint8Array): void;
  /** Bytes that were written and wait in the host's memory. */
  readonly waitingBytes: number;
  /** No more will be written. */
  end(): void;
  /** Ends at once. */
  destroy(): void;
  /** Stops and continues calls of `data`. */
  pause(): void;
  resume(): void;
}

/** A UDP socket of the host. */
export interface UdpSocket {
  send(bytes: Uint8Array, address: string, port: number): void;
  close(): void;
}

/** What a user network asks of its host. Calls come back later, never from inside of the call that asks. */
export interface NetworkHost {
  connectTcp(address: string, port: number, events: TcpEvents): TcpSocket;
  /** Rejects with the host's reason when the port cannot be had. */
  listenTcp(address: string, port: number, accept: (socket: TcpSocket) => TcpEvents): Promise<{ close(): void }>;
  openUdp(received: (bytes: Uint8Array, address: string, port: number) => void): UdpSocket;
  /** Like `openUdp`, on a port; rejects when it cannot be had. */
  listenUdp(address: string, port: number, received: (bytes: Uint8Array, address: string, port: number) => void): Promise<UdpSocket>;
  /** The host's name servers (IPv4), best first. */
  readonly nameServers: readonly string[];
  /** Calls back after so many milliseconds; the result cancels that. A waiting timer does not keep the process alive. */
  after(milliseconds: number, call: () => void): () => void;
}
