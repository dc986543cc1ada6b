/** Boots the benchmark guest in another process and watches what it costs. */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import type { Run, Usage } from '../src/index.js';

/** A command that takes QEMU's options. */
export interface Emulator {
  readonly name: string;
  readonly command: string;
  readonly arguments: readonly string[];
}

/**
 * What emulators find in their environment: all that is in ours but more certificates, which Node 20 reads at every start, used or not: 30 ms of CPU that
 * are no part of any emulator.
 */
export const EMULATOR_ENVIRONMENT: NodeJS.ProcessEnv = { ...process.env, NODE_EXTRA_CA_CERTS: undefined };

/** CPU time of all threads of a process, those that have ended among them: QEMU's end when there is nothing to do for a while. */
class ThreadTimes {
  readonly #ns = new Map<string, number>();

  constructor(private readonly pid: number) {}

  /** Milliseconds by the scheduler's nanoseconds; of a thread that has ended, those of the last look. */
  read(): number {
    for (const task of this.#tasks()) {
      try {
        this.#ns.set(task, Number(readFileSync(`/proc/${this.pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]));
      } catch {
        // It ended between the list and this.
      }
    }
    return [...this.#ns.values()].reduce((sum, ns) => sum + ns, 0) / 1e6;
  }

  #tasks(): readonly string[] {
    try {
      return readdirSync(`/proc/${this.pid}/task`);
    } catch {
      return [];
    }
  }
}

function peakBytesOf(pid: number): number {
  try {
    return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** One run's outcome with what is left to say when it went wrong. */
export interface Watched<R = Run> {
  readonly run: R;
  readonly peakBytes: number;
  /** The last lines of output. */
  readonly tail: string;
}

/** What makes something of the console. */
interface Reader<R> {
  push(text: string): void;
  finish(): R;
  /** Set by readers that need no more than they have: a process that is killed then has not ended before its time could be read. */
  readonly ended?: boolean;
}

/** Runs an emulator to its end, or to that of what its reader waits for, or until `timeoutMs` have passed. */
export async function watch<R>(
  emulator: Emulator,
  machineArguments: readonly string[],
  timeoutMs: number,
  createReader: (sample: () => Usage) => Reader<R>,
): Promise<Watched<R>> {
  const startMs = performance.now();
  const child = spawn(emulator.command, [...emulator.arguments, ...machineArguments], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: EMULATOR_ENVIRONMENT,
  });
  const times = new ThreadTimes(child.pid ?? 0);
  let peakBytes = 0;
  let tail = '';
  const sample = (): Usage => {
    peakBytes = Math.max(peakBytes, peakBytesOf(child.pid ?? 0));
    return { wallMs: performance.now() - startMs, cpuMs: times.read() };
  };
  const reader = createReader(sample);
  const keep = (data: Buffer): void => {
    tail = (tail + data.toString('latin1')).slice(-4000);
  };
  child.stdout.on('data', (data: Buffer) => {
    keep(data);
    reader.push(data.toString('latin1').replaceAll('\r', ''));
    if (reader.ended) child.kill('SIGKILL');
  });
  child.stderr.on('data', keep);
  const memory = setInterval(sample, 500);
  const limit = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  await new Promise<void>((resolve) => {
    child.on('error', (error) => {
      tail += String(error);
      resolve();
    });
    child.on('close', () => resolve());
  });
  clearInterval(memory);
  clearTimeout(limit);
  return { run: reader.finish(), peakBytes, tail };
}
