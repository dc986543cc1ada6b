/** Work on a frame that was left to the other side. */
export interface Offload {
  /** The checksum over everything from `start` is missing at `start + offset`, where the sum of the pseudo-header is. */
  readonly checksum?: { readonly start: number; readonly offset: number };
  /** The frame is one long TCP segment over IPv4, to be cut into pieces with this much payload each. */
  readonly segmentBytes?: number;
}

/** Takes Ethernet frames without frame check sequence. The bytes are good during the call only. */
export type Receiver = (frame: Uint8Array, offload?: Offload) => void;

/** A network with one free socket, into which a network device is plugged: that sets `receiver` and calls `send`. */
export interface Network {
  /** Whether `send` takes frames with work left to do. */
  readonly offloads: boolean;
  send(frame: Uint8Array, offload?: Offload): void;
  /** Nothing more is sent for now: what a network has collected goes on its way. Without this call it goes a little later. */
  flush?(): void;
  receiver?: Receiver | undefined;
  /** What the device takes besides finished frames of ordinary length. */
  guest?: { readonly checksum: boolean; readonly segments: boolean };
  close(): void;
}
