import { BenchError } from './errors.js';
import { Lines } from './lines.js';

/** What the emulator's process had used up at one moment. */
export interface Usage {
  /** Wall-clock time since the process was started, in milliseconds. */
  readonly wallMs: number;
  /** CPU time of the process, all threads, user and system, in milliseconds. */
  readonly cpuMs: number;
}

/** One benchmark of one run. */
export interface Measurement {
  /** What it took on the host, by the two clocks. */
  readonly host: Usage;
  /** What it took by the guest's own clock, in seconds. */
  readonly guestSeconds: number;
  /** The result of the work, which must not depend on who does it. */
  readonly checksum: string;
}

/** One boot of the guest with everything that it printed about itself. */
export interface Run {
  /** Until the guest's first process ran; null when it never did. */
  readonly boot: Usage | null;
  readonly tests: ReadonlyMap<string, Measurement>;
  /** True when the guest came to the end of its list. */
  readonly complete: boolean;
}

/** Reads the console of the benchmark guest line by line, and asks for the process's usage at each line that starts or ends something. A guest may rest between the end of the work and its result. */
export class ConsoleReader {
  readonly #sample: () => Usage;
  readonly #tests = new Map<string, Measurement>();
  #boot: Usage | null = null;
  #start: { name: string; usage: Usage; piece: number } | null = null;
  /** The wall clock when the work of the present test was done; null when the guest does not say so. */
  #doneMs: number | null = null;
  #complete = false;
  readonly #lines = new Lines();
  #pieces = 0;

  constructor(sample: () => Usage) {
    this.#sample = sample;
  }

  /** Takes console output as it comes, in pieces of any size. */
  push(text: string): void {
    this.#pieces++;
    for (const line of this.#lines.take(text)) this.#line(line);
  }

  /** True once the guest has come to the end of its list: nothing that counts comes after it. */
  get ended(): boolean {
    return this.#complete;
  }

  finish(): Run {
    return { boot: this.#boot, tests: this.#tests, complete: this.#complete };
  }

  #line(line: string): void {
    if (line.includes('NESTVM-GUEST-READY')) this.#boot = this.#sample();
    else if (line.startsWith('BENCH-END')) this.#complete = true;
    const start = /^BENCH-START (\S+)/.exec(line);
    if (start) {
      this.#start = { name: start[1], usage: this.#sample(), piece: this.#pieces };
      this.#doneMs = null;
    }
    const done = /^BENCH-DONE (\S+)/.exec(line);
    if (done && done[1] === this.#start?.name) this.#doneMs = this.#sample().wallMs;
    const end = /^BENCH (\S+) ([\d.]+) ([0-9a-f]{16})\s*$/.exec(line);
    // Both lines in one piece say nothing of the time between them.
    if (!end || this.#start?.name !== end[1] || this.#start.piece === this.#pieces) return;
    const now = this.#sample();
    const { usage } = this.#start;
    const host = { wallMs: (this.#doneMs ?? now.wallMs) - usage.wallMs, cpuMs: now.cpuMs - usage.cpuMs };
    this.#keep(end[1], { host, guestSeconds: Number(end[2]), checksum: end[3] });
  }

  /** Of a test that the guest runs more than once the least counts: noise only ever adds. */
  #keep(name: string, { host, guestSeconds, checksum }: Measurement): void {
    const before = this.#tests.get(name);
    if (before !== undefined && before.checksum !== checksum)
      throw new BenchError('checksum', `${name} computed different results in one run: ${before.checksum}, then ${checksum}.`);
    const wallMs = Math.min(host.wallMs, before?.host.wallMs ?? Infinity);
    const cpuMs = Math.min(host.cpuMs, before?.host.cpuMs ?? Infinity);
    this.#tests.set(name, { host: { wallMs, cpuMs }, guestSeconds: Math.min(guestSeconds, before?.guestSeconds ?? Infinity), checksum });
  }
}
