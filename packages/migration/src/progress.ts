import type { ContainerWriter } from './container.js';
import type { RamBlock } from './machine-port.js';
import type { MigrateOptions, MigrationStatus } from './migrate-options.js';

/** Whoever watches hears so often of a pass that takes long. */
const TELL_MS = 100;

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
  /** What is left of this pass. */
  private remainingBytes = 0;
  private toldMs: number;
  readonly startMs: number;

  constructor(
    private readonly out: ContainerWriter,
    private readonly blocks: readonly RamBlock[],
    private readonly options: MigrateOptions,
  ) {
    this.startMs = options.clock.nowMs();
    this.toldMs = this.startMs;
  }

  status(): MigrationStatus {
    const { phase, passes, remainingBytes, dirtyRate, sentPages, clearPages, downtimeMs } = this;
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

  /** A pass over so many bytes begins. */
  beginPass(bytes: number): void {
    this.remainingBytes = bytes;
  }

  /** So much of the pass is done. */
  pass(bytes: number): void {
    this.remainingBytes = Math.max(0, this.remainingBytes - bytes);
    const nowMs = this.options.clock.nowMs();
    if (nowMs - this.toldMs < TELL_MS) return;
    this.toldMs = nowMs;
    this.options.onStatus?.(this.status());
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
