/** Work on a frame that was left to the other side. */
export interface FrameOffload {
  /** The checksum over everything from `start` is missing at `start + offset`, where the sum of the pseudo-header is. */
  readonly checksum?: { readonly start: number; readonly offset: number };
  /** The frame is one long TCP segment over IPv4, to be cut into pieces with this much payload each; 0 or absent: it is not. */
  readonly segmentBytes?: number;
}

/** What a guest takes besides plain frames. */
export interface GuestOffloads {
  /** Frames without a checksum. */
  readonly checksum: boolean;
  /** Long TCP segments over IPv4. */
  readonly segments: boolean;
}

/** The network behind a network device: Ethernet frames without their frame check sequence. */
export interface NetworkBackend {
  /** Whether it takes frames with work left to do; without it, guests are told to finish their frames. */
  readonly offloads: boolean;
  /** Takes a frame of the guest. Its bytes are good during the call only. */
  send(frame: Uint8Array, offload?: FrameOffload): void;
  /** The guest sends nothing more for now. */
  flush?(): void;
  /** Set by the device: takes a frame for the guest, at once; frames that it has no room for are lost. */
  receiver?: ((frame: Uint8Array, offload?: FrameOffload) => void) | undefined;
  /** Set by the device whenever it changes. */
  guest?: GuestOffloads;
}
