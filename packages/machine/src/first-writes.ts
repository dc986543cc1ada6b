import type { DirtyLog } from '@nestvm/memory';

/** Which pages were written before a machine first runs: all others of its memory are as the host gave them, and need not be looked at to be known as clear. */
export class FirstWrites {
  private known: boolean;

  /** `wanted`: somebody will ask. */
  constructor(
    private readonly log: DirtyLog,
    wanted: boolean,
  ) {
    this.known = wanted;
    if (wanted) log.start();
  }

  /** The pages by arena page, once: who asks is about to write from outside. Undefined when it is not known. */
  take(): Uint32Array | undefined {
    if (!this.known) return undefined;
    const taken = this.log.take();
    this.end();
    return taken;
  }

  /** The machine runs, or the log is needed for something else. */
  end(): void {
    if (!this.known) return;
    this.known = false;
    this.log.stop();
  }
}
