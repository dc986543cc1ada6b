import type { SavedValue } from '@nestvm/state';
import type { ByteSink } from './channel.js';
import { PAGE_BYTES } from './clear-pages.js';
import { ContainerWriter } from './container.js';
import { L2ActiveError, MigrationError } from './errors.js';
import { heldDisks, saveDisks } from './held-disks.js';
import type { MigratableMachine, RamBlock } from './machine-port.js';
import { isActive } from './nested-activity.js';
import { deflate, encodeRun, pageSpans } from './ram-codec.js';

/** How a save is going. */
export interface SaveProgress {
  /** Bytes of RAM looked at, and of all RAM. */
  readonly ramBytes: number;
  readonly ramTotalBytes: number;
  /** Bytes written. */
  readonly writtenBytes: number;
}

/** Options of {@link saveSnapshot}. */
export interface SaveOptions {
  /** `deflate` (the default) by the platform's own stream, or `none`. */
  readonly compression?: 'deflate' | 'none';
  readonly onProgress?: (progress: SaveProgress) => void;
  /** Stops with `cancelled`. */
  readonly signal?: AbortSignal;
}

/** Throws {@link L2ActiveError} when an L2 is active, and `not-migratable` when a unit can't be saved. `operation` completes "cannot …". */
export function assertMigratable(machine: MigratableMachine, operation: string): void {
  const contexts = machine.nested.inspect();
  if (contexts.some(isActive)) throw new L2ActiveError(operation, contexts);
  for (const [path, unit] of machine.units()) {
    if (unit.kind === 'non-migratable')
      throw new MigrationError('not-migratable', `cannot ${operation}: ${path} can't be saved: ${unit.why}`, { unit: path });
  }
}

/** The state of every stateful unit, by path. */
export function saveUnits(machine: MigratableMachine): { path: string; version: number; state: SavedValue }[] {
  const saved = [];
  for (const [path, unit] of machine.units()) {
    if (unit.kind === 'stateful') saved.push({ path, version: unit.version, state: unit.save() });
  }
  return saved;
}

/** The RAM blocks as the section `RAMB` lists them. */
export const describeRam = (blocks: readonly RamBlock[]): SavedValue => blocks.map(({ name, bytes }) => ({ name, bytes: bytes.length }));

/** How pages are written: packed, copied first since a guest may write to them, or as they lie in memory that stands still. */
export type PageWriting = 'deflate' | 'copy' | 'still';

/** Writes one run of pages that are not all zero. */
export async function writeRun(
  out: ContainerWriter,
  blocks: readonly RamBlock[],
  block: number,
  firstPage: number,
  pages: number,
  how: PageWriting,
): Promise<void> {
  const view = blocks[block]!.bytes.subarray(firstPage * PAGE_BYTES, (firstPage + pages) * PAGE_BYTES);
  if (how !== 'deflate') {
    const run = encodeRun({ block, firstPage, pages, encoding: 'raw', data: view });
    return how === 'still' ? out.still('PAGE', ...run) : out.section('PAGE', ...run);
  }
  const bytes = view.slice();
  const packed = await deflate(bytes);
  await out.section('PAGE', ...encodeRun({ block, firstPage, pages, encoding: packed ? 'deflate' : 'raw', data: packed ?? bytes }));
}

async function saveBlock(
  out: ContainerWriter,
  blocks: readonly RamBlock[],
  block: number,
  touched: Uint32Array | undefined,
  how: PageWriting,
  onRun: (end: number, pages: number) => void,
): Promise<void> {
  for (const { firstPage, pages, zero } of pageSpans(blocks[block]!.bytes, { wanted: touched })) {
    if (zero) continue;
    await writeRun(out, blocks, block, firstPage, pages, how);
    onRun(firstPage + pages, pages);
  }
}

/**
 * Saves a stopped machine. Refuses with {@link L2ActiveError} while an L2 is active, before a byte is written. Pages of zeros are left out.
 * Errors of the sink pass through; what was written until then is no snapshot, since its end is missing.
 */
export async function saveSnapshot(machine: MigratableMachine, sink: ByteSink, options: SaveOptions = {}): Promise<{ bytes: number; pages: number }> {
  assertMigratable(machine, 'save this machine');
  const out = new ContainerWriter(sink);
  await out.begin(heldDisks(machine).length > 0);
  await out.value('CONF', machine.configuration());
  for (const unit of saveUnits(machine)) await out.value('UNIT', unit);
  await saveDisks(machine, out);
  const blocks = machine.ram();
  const touched = machine.touched?.();
  await out.value('RAMB', describeRam(blocks));
  const ramTotalBytes = blocks.reduce((sum, { bytes }) => sum + bytes.length, 0);
  let before = 0;
  let written = 0;
  for (const [index, { bytes }] of blocks.entries()) {
    await saveBlock(out, blocks, index, touched?.[index], options.compression === 'none' ? 'still' : 'deflate', (end, pages) => {
      written += pages;
      if (options.signal?.aborted) throw new MigrationError('cancelled', 'the save was cancelled; what was written is incomplete');
      options.onProgress?.({ ramBytes: before + end * PAGE_BYTES, ramTotalBytes, writtenBytes: out.bytes });
    });
    before += bytes.length;
  }
  await out.end();
  options.onProgress?.({ ramBytes: ramTotalBytes, ramTotalBytes, writtenBytes: out.bytes });
  return { bytes: out.bytes, pages: written };
}
