/** The host's end of a connection: whoever has it is told what the guest does. */
export interface VsockPeer {
  /** The guest has accepted a connection that the host asked for. */
  opened?(): void;
  /** Bytes from the guest, all of them; they are valid during the call. Tell `VsockConnection.consumed` when they have been dealt with. */
  write(bytes: Uint8Array): void;
  /** There is room again after a `send` that took less than it was given. */
  room?(): void;
  /** The guest sends no more. */
  end(): void;
  /** The connection is over, or was refused; nothing more comes. */
  close(): void;
}

/** The guest's end of a connection, for the host. */
export interface VsockConnection {
  readonly guestPort: number;
  readonly hostPort: number;
  /** Takes bytes for the guest; returns how many: for the rest, wait for `VsockPeer.room`. */
  send(bytes: Uint8Array): number;
  /** So many bytes of `VsockPeer.write` have been dealt with: the guest may send more. */
  consumed(bytes: number): void;
  /** The host sends no more. */
  end(): void;
  /** The host neither sends nor takes any more; what was taken by `send` still goes out. */
  close(): void;
  /** Over at once. */
  reset(): void;
}

/** What is on the host's side of a socket device. */
export interface VsockBackend {
  /** The guest wants to connect to a port of the host; nothing: refused. */
  connect(hostPort: number, connection: VsockConnection): VsockPeer | undefined | Promise<VsockPeer | undefined>;
}
