import type { Device, Width, Wiring } from '@nestvm/bus';

/** How QEMU's `isa-debug-exit` is plugged in. */
export interface DebugExitOptions {
  /** First port (default 0x501, as in QEMU). */
  readonly base?: number;
  /** Number of ports (default 2, as in QEMU). */
  readonly size?: number;
  /** The guest asks to end the run with this process status: the written value × 2 + 1, modulo 256. */
  readonly exit: (status: number) => void;
}

/** QEMU's `isa-debug-exit`: a write ends the run. Reads are 0. Stateless. */
export class DebugExit implements Device {
  readonly name = 'isa-debug-exit';
  constructor(readonly options: DebugExitOptions) {}

  attach(wiring: Wiring): void {
    wiring.pio({
      name: this.name,
      base: this.options.base ?? 0x501,
      size: this.options.size ?? 2,
      read: () => 0,
      write: (_offset: number, _width: Width, value: number) => this.options.exit(((value << 1) | 1) & 0xff),
    });
  }

  reset(): void {}
}
