import type { HeldBlocks } from '@nestvm/state';
import type { Pending } from '../virtio/block/backend.js';

/** The registers of a drive as a command finds them. The 48-bit forms are the whole, of which 28-bit commands use the low part. */
export interface TaskFile {
  command: number;
  features: number;
  count: number;
  /** Address: of 28-bit commands the low 24 bits are here, 4 more in `device`. */
  lba: number;
  device: number;
}

/** What a command moves, and what is left in the registers. */
export interface AtaTransfer {
  /** `in`: to the host. `packet`: the host gives a packet command, whose transfer follows. */
  readonly direction: 'none' | 'in' | 'out' | 'packet';
  readonly lengthBytes: number;
  /** Bytes of one block of the PIO protocol. */
  readonly blockBytes: number;
  /** By DMA, where the transport has a choice. */
  readonly dma: boolean;
  /** Moves the bytes at an offset of the transfer. */
  move(offset: number, bytes: Uint8Array): Pending;
  /** Everything was moved. */
  finish?(): Pending;
}

/** The end of a command that failed. */
export interface AtaFailure {
  /** Error register. */
  readonly error: number;
}

/** A drive on an ATA cable: a disk or a CD drive. It is given whole commands; the transport moves the bytes. */
export interface AtaDrive {
  /** Name for messages and snapshots. */
  readonly name: string;
  /** Takes packet commands. */
  readonly packet: boolean;
  /** What of its disk is in memory only. */
  readonly held?: HeldBlocks | undefined;
  /** Begins a command. May change the task file: what the guest reads afterwards. */
  start(task: TaskFile): AtaTransfer | AtaFailure;
  /** Begins a packet command (`PACKET_BYTES` of it) that the drive was given after PACKET. */
  startPacket(packet: Uint8Array): AtaTransfer | AtaFailure;
  /** A transfer went wrong below: what the error register says then. */
  readonly failure: number;
  reset(): void;
  save(): SavedDrive;
  load(saved: SavedDrive): void;
}

/** A drive as it is saved: its settings by name. */
export type SavedDrive = { [setting: string]: number };

/** Whether a command cannot be begun. */
export const isFailure = (result: AtaTransfer | AtaFailure): result is AtaFailure => 'error' in result;

/** A command without data. */
export const withoutData = (finish?: () => Pending): AtaTransfer => ({
  direction: 'none',
  lengthBytes: 0,
  blockBytes: 0,
  dma: false,
  move: () => {},
  ...(finish ? { finish } : {}),
});

/** A command that gives these bytes. */
export const giving = (bytes: Uint8Array, dma = false): AtaTransfer => ({
  direction: 'in',
  lengthBytes: bytes.length,
  blockBytes: bytes.length,
  dma,
  move: (offset, target) => target.set(bytes.subarray(offset, offset + target.length)),
});

/** Runs a step that may take its time, then says whether it went well; at once when the step is done at once. */
export function settle(step: () => Pending, done: (well: boolean) => void): void {
  let pending: Pending;
  try {
    pending = step();
  } catch {
    return done(false);
  }
  if (pending === undefined) done(true);
  else
    pending.then(
      () => done(true),
      () => done(false),
    );
}
