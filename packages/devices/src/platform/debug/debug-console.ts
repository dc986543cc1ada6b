import type { Device, Wiring } from '@nestvm/bus';
import { byteRegion } from '../byte-region.js';

/** Where the debug console's bytes go. */
export interface DebugConsoleOptions {
  /** Port (default 0xe9). */
  readonly base?: number;
  /** What a read gives (default 0xe9, by which guests know it). */
  readonly readback?: number;
  /** One byte written by the guest. */
  readonly write: (byte: number) => void;
}

/** The one-port debug console of Bochs and QEMU: a write is a byte of output, a read says 0xe9 unless told otherwise. Stateless. */
export class DebugConsole implements Device {
  readonly name = 'debug-console';
  constructor(readonly options: DebugConsoleOptions) {}

  attach(wiring: Wiring): void {
    wiring.pio(
      byteRegion(
        this.name,
        this.options.base ?? 0xe9,
        1,
        () => this.options.readback ?? 0xe9,
        (_offset, value) => this.options.write(value),
      ),
    );
  }

  reset(): void {}
}
