import type { MigrationStatus } from '@nestvm/migration';

const MEBIBYTE = 2 ** 20;

/** `info migrate`. */
export function formatStatus(status: MigrationStatus): string {
  const { phase, passes, transferredBytes, remainingBytes, totalBytes, elapsedMs, throughput, dirtyRate, expectedDowntimeMs, downtimeMs } = status;
  const mib = (bytes: number): string => (bytes / MEBIBYTE).toFixed(1);
  return [
    `Migration status: ${phase}`,
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
