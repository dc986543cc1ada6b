import type { GuestMemory } from '@nestvm/bus';
import { inTurn, type Pending } from '../virtio/block/backend.js';
import { type AtaTransfer, settle } from './drive.js';
import { SECTOR_BYTES } from './registers.js';

/** A piece of guest memory that takes part in a transfer. */
export interface MemoryRegion {
  readonly address: number;
  readonly length: number;
}

/** The regions cut to a transfer's length, and how much of it they hold. */
function fit(regions: readonly MemoryRegion[], lengthBytes: number): { pieces: (MemoryRegion & { offset: number })[]; held: number } {
  const pieces: (MemoryRegion & { offset: number })[] = [];
  let held = 0;
  for (const { address, length } of regions) {
    if (held === lengthBytes) break;
    const part = Math.min(length, lengthBytes - held);
    if (part > 0) pieces.push({ address, length: part, offset: held });
    held += part;
  }
  return { pieces, held };
}

/**
 * Moves a transfer from or to regions of guest memory, then says how much it was and whether it went well. When the regions hold less than the whole,
 * whole sectors are moved that they hold.
 */
export function moveByDma(
  memory: GuestMemory,
  regions: readonly MemoryRegion[],
  transfer: AtaTransfer,
  done: (well: boolean, movedBytes: number) => void,
): void {
  const { pieces, held } = fit(regions, transfer.lengthBytes);
  const whole = pieces.every(({ length }) => length % SECTOR_BYTES === 0);
  const answer = transfer.lengthBytes % SECTOR_BYTES !== 0;
  const movedBytes = answer ? held : held - (held % SECTOR_BYTES);
  const step =
    whole || answer ? () => inTurn(pieces, (piece) => movePiece(memory, piece, transfer)) : () => moveThrough(memory, pieces, movedBytes, transfer);
  settle(step, (well) => done(well, movedBytes));
}

function movePiece(memory: GuestMemory, { address, length, offset }: MemoryRegion & { offset: number }, transfer: AtaTransfer): Pending {
  const toGuest = transfer.direction === 'in';
  const view = memory.view?.(address, length, toGuest);
  if (view) return transfer.move(offset, view);
  const bytes = new Uint8Array(length);
  if (!toGuest) memory.read(address, bytes);
  const pending = transfer.move(offset, bytes);
  if (!toGuest) return pending;
  if (pending) return pending.then(() => memory.write(address, bytes));
  memory.write(address, bytes);
}

/** By a buffer: pieces that are not whole sectors. */
function moveThrough(
  memory: GuestMemory,
  pieces: readonly (MemoryRegion & { offset: number })[],
  movedBytes: number,
  transfer: AtaTransfer,
): Pending {
  const buffer = new Uint8Array(movedBytes);
  const each = (act: (address: number, part: Uint8Array) => void): void => {
    for (const { address, length, offset } of pieces) act(address, buffer.subarray(offset, offset + length));
  };
  if (transfer.direction === 'out') {
    each((address, part) => memory.read(address, part));
    return transfer.move(0, buffer);
  }
  const give = (): void => each((address, part) => memory.write(address, part));
  const pending = transfer.move(0, buffer);
  if (pending) return pending.then(give);
  give();
}
