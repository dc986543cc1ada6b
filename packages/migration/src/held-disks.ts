import type { HeldBlocks, SavedValue } from '@nestvm/state';
import type { ContainerWriter, Section } from './container.js';
import { MigrationError } from './errors.js';
import type { HeldDisk, MigratableMachine } from './machine-port.js';
import { decodeValue } from './value-codec.js';

/** Data of one section at most. */
const RUN_BYTES = 1 << 20;

/** The disks of a machine of which something is in memory only. */
export const heldDisks = (machine: MigratableMachine): readonly HeldDisk[] => machine.heldDisks?.() ?? [];

/** How many blocks have changed since they were sent, in bytes. */
export const changedBytes = (disks: readonly HeldDisk[]): number =>
  disks.reduce((sum, { blocks }) => sum + blocks.changedCount * blocks.blockBytes, 0);

/** Sections `DISK` for blocks of a disk, in order: what is held, and what is not held any more. */
export async function writeBlocks(
  out: ContainerWriter,
  { name, blocks }: HeldDisk,
  indices: readonly number[],
  onRun: () => Promise<void> | void = () => {},
): Promise<void> {
  const { blockBytes } = blocks;
  const most = Math.max(1, Math.floor(RUN_BYTES / blockBytes));
  for (let at = 0; at < indices.length; ) {
    const first = indices[at]!;
    const held = blocks.get(first) !== undefined;
    let count = 1;
    while (count < most && indices[at + count] === first + count && (blocks.get(first + count) !== undefined) === held) count++;
    await out.value('DISK', { disk: name, blockBytes, first, ...(held ? { data: copyOf(blocks, first, count) } : { forgotten: count }) });
    at += count;
    await onRun();
  }
}

function copyOf(blocks: HeldBlocks, first: number, count: number): Uint8Array {
  const data = new Uint8Array(count * blocks.blockBytes);
  for (let i = 0; i < count; i++) data.set(blocks.get(first + i)!, i * blocks.blockBytes);
  return data;
}

/** Writes all that is held of a machine's disks. */
export async function saveDisks(machine: MigratableMachine, out: ContainerWriter): Promise<void> {
  for (const disk of heldDisks(machine)) await writeBlocks(out, disk, disk.blocks.indices());
}

/** Blocks of a disk of this machine, as a section has them. */
export interface BlockRun {
  readonly disk: HeldDisk;
  readonly first: number;
  readonly count: number;
  /** Absent: not held. */
  readonly data?: Uint8Array;
}

/** Reads and checks a section `DISK`: `corrupt`, or `other-machine` when this machine has no such disk. */
export function decodeBlocks(machine: MigratableMachine, { payload, offset }: Section): BlockRun {
  const value = decodeValue(payload, 'blocks of a disk', offset) as Readonly<Record<string, SavedValue | undefined>> | null;
  const { disk: name, blockBytes, first, data, forgotten } = value ?? {};
  const bad = (what: string): MigrationError =>
    new MigrationError('corrupt', `the blocks at byte ${offset} ${what}; the snapshot is damaged`, { offset });
  if (typeof name !== 'string') throw bad('do not say of which disk they are');
  const place = { offset, unit: name };
  const disk = heldDisks(machine).find((one) => one.name === name);
  if (!disk)
    throw new MigrationError(
      'other-machine',
      `the snapshot has what was written to the disk ${name}, which this machine does not keep in memory; give -snapshot, or the snapshot=on that the disk had`,
      place,
    );
  const { blocks } = disk;
  if (blockBytes !== blocks.blockBytes)
    throw new MigrationError(
      'other-machine',
      `the snapshot keeps the disk ${name} in blocks of another size; make the disk as it was made there`,
      place,
    );
  const count = data instanceof Uint8Array ? data.length / blocks.blockBytes : forgotten;
  if (typeof first !== 'number' || !Number.isSafeInteger(first) || first < 0) throw bad('have no place');
  if (typeof count !== 'number' || !Number.isSafeInteger(count) || count < 1) throw bad('have no length');
  if ((first + count - 1) * blocks.blockBytes >= blocks.sizeBytes) throw bad(`lie outside of the disk ${name}`);
  return { disk, first, count, ...(data instanceof Uint8Array ? { data } : {}) };
}

/** Forgets what the disks of this machine hold: that of a snapshot takes its place. */
export function clearDisks(machine: MigratableMachine): void {
  for (const { blocks } of heldDisks(machine)) blocks.clear();
}

/** Puts blocks into their disk. */
export function applyBlocks({ disk: { blocks }, first, count, data }: BlockRun): void {
  if (!data) {
    blocks.deleteRange(first, count);
    return;
  }
  const { blockBytes } = blocks;
  for (let i = 0; i < count; i++) blocks.set(first + i, data.slice(i * blockBytes, (i + 1) * blockBytes));
}
