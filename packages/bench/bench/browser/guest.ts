/** One boot of the benchmark guest on whatever JavaScript engine runs this: the same code in Node and in a browser's Worker. */
import { createEventLoopHost, createMachine } from '@nestvm/machine';
import { ConsoleReader, type Measurement, type Usage } from '../../src/index.js';

/** What a boot takes. */
export interface GuestOrder {
  readonly kernel: Uint8Array;
  readonly initramfs: Uint8Array;
  readonly commandLine: string;
  readonly board: 'pc' | 'q35' | 'microvm' | 'isapc';
  /** Whether hot code is compiled. */
  readonly jit: boolean;
}

/** A run that can be sent as JSON. */
export interface GuestReport {
  readonly boot: Usage | null;
  readonly tests: readonly (readonly [name: string, measurement: Measurement])[];
  readonly complete: boolean;
  /** The last of the console. */
  readonly tail: string;
}

/** Boots, reads the console to the end and says what each test took by the wall clock; a browser tells no CPU time. */
export async function runGuest({ kernel, initramfs, commandLine, board, jit }: GuestOrder): Promise<GuestReport> {
  const startMs = performance.now();
  const sample = (): Usage => ({ wallMs: performance.now() - startMs, cpuMs: performance.now() - startMs });
  const reader = new ConsoleReader(sample);
  let tail = '';
  const write = (byte: number): void => {
    if (byte === 13) return;
    const character = String.fromCharCode(byte);
    tail = (tail + character).slice(-2000);
    reader.push(character);
  };
  const machine = createMachine({
    board,
    cpu: 'max',
    memoryBytes: 512 << 20,
    kernel: { name: 'vmlinuz', bytes: kernel },
    modules: [{ name: 'initrd.cpio', bytes: initramfs }],
    commandLine,
    serial: [{ write }],
    clock: { kind: 'host' },
    host: createEventLoopHost(globalThis),
    reboot: false,
    jit,
  });
  await machine.run();
  const { boot, tests, complete } = reader.finish();
  return { boot, tests: [...tests], complete, tail };
}
