import { formatContext, isActive, type MigrationStatus, type NestedContextReport, type RamBlock, strongestClass } from '@nestvm/migration';
import { qmpPhase } from '../qmp/phases.js';

const MEBIBYTE = 2 ** 20;
const PAGE_BYTES = 4096;

/** `info migrate`, in QEMU's words; `reason`: why it failed. */
export function formatStatus(status: MigrationStatus, reason?: string): string {
  const { phase, passes, transferredBytes, remainingBytes, totalBytes, elapsedMs, throughput, dirtyRate, expectedDowntimeMs, downtimeMs } = status;
  const mib = (bytes: number): string => (bytes / MEBIBYTE).toFixed(1);
  const word = phase === 'waiting' ? phase : qmpPhase(phase);
  return [
    `Migration status: ${word}${reason === undefined ? '' : ` (${reason})`}`,
    `total time: ${Math.round(elapsedMs)} ms`,
    downtimeMs === null ? `expected downtime: ${Math.round(expectedDowntimeMs)} ms` : `downtime: ${Math.round(downtimeMs)} ms`,
    `transferred ram: ${mib(transferredBytes)} MiB`,
    `throughput: ${mib(throughput)} MiB/s`,
    `remaining ram: ${mib(remainingBytes)} MiB`,
    `total ram: ${mib(totalBytes)} MiB`,
    `passes: ${passes}, dirty rate: ${mib(dirtyRate)} MiB/s`,
    '',
  ].join('\n');
}

/** What a snapshot was made of. */
export interface Written {
  readonly bytes: number;
  /** Pages that were not left out as clear. */
  readonly pages: number;
}

/** How a migration into a file went: all of it in one pass, with the machine stopped. */
export function fileStatus(ram: readonly RamBlock[], { bytes, pages }: Written, elapsedMs: number): MigrationStatus {
  const totalBytes = ram.reduce((sum, block) => sum + block.bytes.length, 0);
  return {
    phase: 'completed',
    passes: 1,
    transferredBytes: bytes,
    remainingBytes: 0,
    totalBytes,
    sentPages: pages,
    clearPages: totalBytes / PAGE_BYTES - pages,
    throttle: 0,
    elapsedMs,
    throughput: (bytes / Math.max(1, elapsedMs)) * 1000,
    dirtyRate: 0,
    expectedDowntimeMs: 0,
    downtimeMs: elapsedMs,
  };
}

/** `info nested`. */
export function formatNested(contexts: readonly NestedContextReport[]): string {
  const lines = contexts.map((context) => `${isActive(context) ? '*' : ' '} ${formatContext(context)}`);
  const kind = strongestClass(contexts);
  const allowed = contexts.some(isActive) ? 'save, load and migrate are refused' : 'save, load and migrate are allowed';
  return `${[`nested guests: ${kind}; ${allowed}`, ...lines].join('\n')}\n`;
}
