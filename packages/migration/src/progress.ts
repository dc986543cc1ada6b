import type { ContainerWriter } from './container.js';
import type { RamBlock } from './machine-port.js';
import type { MigrateOptions, MigrationStatus } from './migrate-options.js';

/** How far a migration is, for whoever asks. */
export class Progress {
  phase: MigrationStatus['phase'] = 'setup';
  passes = 0;
  dirtyRate = 0;
  sentPages = 0;
  clearPages = 0;
  /** Share of its time that the guest is held back. */
  share = 0;
  /** When the source was stopped, and how long the machine then stood still. */
  stopMs: number | null = null;
  private downtimeMs: number | null = null;
  readonly startMs: number;

  constructor(
    private readonly out: ContainerWriter,
    private readonly blocks: readonly RamBlock[],
    private readonly options: MigrateOptions,
  ) {
    this.startMs = options.clock.nowMs();
  }

  status(remainingBytes = 0): MigrationStatus {
    const { phase, passes, dirtyRate, sentPages, clearPages, downtimeMs } = this;
    const elapsedMs = this.options.clock.nowMs() - this.startMs;
    const throughput = elapsedMs > 0 ? (this.out.bytes / elapsedMs) * 1000 : 0;
    return {
      phase,
      passes,
      transferredBytes: this.out.bytes,
      remainingBytes,
      totalBytes: this.blocks.reduce((sum, { bytes }) => sum + bytes.length, 0),
      sentPages,
      clearPages,
      throttle: this.share,
      elapsedMs,
      throughput,
      dirtyRate,
      expectedDowntimeMs: throughput > 0 ? (remainingBytes / throughput) * 1000 : 0,
      downtimeMs,
    };
  }

  tell(phase: MigrationStatus['phase']): void {
    this.phase = phase;
    this.options.onStatus?.(this.status());
  }

  /** The target runs the machine. */
  complete(): void {
    this.downtimeMs = this.options.clock.nowMs() - (this.stopMs ?? 0);
    this.tell('completed');
  }
}
