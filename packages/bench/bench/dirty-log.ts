/** What a running guest pays for the dirty log: the same tests in one boot with and without it, in turns, by the CPU time of this process. */
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { createEventLoopHost, createMachine, type Machine } from '@nestvm/machine';
import { BenchError, ConsoleReader, type Measurement, type Usage } from '../src/index.js';

const MEBIBYTE = 2 ** 20;
/** From computing in few pages to touching many for the first time. */
const TESTS = ['integer', 'paging', 'repmovs', 'syscalls', 'pagefaults', 'forkexec', 'gzip'];
const ROUNDS = 4;
/** A pass over the memory of a guest at work takes about as long. */
const PASS_MS = 500;
const PROMPT = 'nestvm# ';

/** Cost of the log in percent of the CPU time without it: of all tests together, and of the test with the most. */
export interface DirtyLogCost {
  readonly percent: number;
  readonly worst: { readonly test: string; readonly percent: number };
}

class Guest {
  readonly machine: Machine;
  private text = '';
  private typed = new Uint8Array(0);
  private reader: ConsoleReader | undefined;

  constructor(kernel: string, initramfs: string) {
    this.machine = createMachine({
      board: 'pc',
      cpu: 'max',
      memoryBytes: 512 * MEBIBYTE,
      kernel: { name: 'vmlinuz', bytes: readFileSync(kernel) },
      modules: [{ name: 'initrd.cpio', bytes: readFileSync(initramfs) }],
      commandLine: 'console=ttyS0 quiet cryptomgr.notests',
      serial: [{ write: (byte) => this.write(byte) }],
      clock: { kind: 'virtual', shift: 0, sleep: false },
      host: createEventLoopHost(globalThis),
    });
  }

  /** Runs until the shell waits. */
  async toPrompt(): Promise<void> {
    const typing = setInterval(() => this.give(), 5);
    try {
      const outcome = await this.machine.run();
      if (outcome.kind !== 'stopped') throw new BenchError('no-guest', `the guest has ended (${outcome.kind}):\n${this.text.slice(-2000)}`);
    } finally {
      clearInterval(typing);
    }
  }

  /** CPU milliseconds of each test. */
  async run(): Promise<Map<string, number>> {
    this.reader = new ConsoleReader(usage);
    this.text = '';
    this.typed = new TextEncoder().encode(`nbench -s 16 ${TESTS.join(' ')}\n`);
    await this.toPrompt();
    const { tests } = this.reader.finish();
    const missing = TESTS.filter((test) => !tests.has(test));
    if (missing.length > 0) throw new BenchError('no-guest', `the guest has not run ${missing.join(', ')}:\n${this.text.slice(-2000)}`);
    return new Map([...tests].map(([name, { host }]: [string, Measurement]) => [name, host.cpuMs]));
  }

  /** What is left of a command, as much as the serial port takes. */
  private give(): void {
    if (this.typed.length > 0) this.typed = this.typed.subarray(this.machine.receiveSerial(0, this.typed));
  }

  private write(byte: number): void {
    if (byte === 13) return;
    const character = String.fromCharCode(byte);
    this.text += character;
    this.reader?.push(character);
    if (this.text.endsWith(`\n${PROMPT}`)) this.machine.stop();
  }
}

function usage(): Usage {
  const { user, system } = process.cpuUsage();
  return { wallMs: performance.now(), cpuMs: (user + system) / 1000 };
}

/** A run with the log on, and its passes. */
async function logged(guest: Guest): Promise<Map<string, number>> {
  const { dirty } = guest.machine.migratable;
  dirty.start();
  let last = usage().cpuMs;
  const passes = setInterval(() => {
    if (usage().cpuMs - last < PASS_MS) return;
    dirty.take();
    last = usage().cpuMs;
  }, PASS_MS / 10);
  try {
    return await guest.run();
  } finally {
    clearInterval(passes);
    dirty.stop();
  }
}

function keepBest(best: Map<string, number>, times: ReadonlyMap<string, number>): void {
  for (const [test, ms] of times) best.set(test, Math.min(ms, best.get(test) ?? Infinity));
}

const costOf = (without: number, withLog: number): number => 100 * (withLog / without - 1);

/** Boots a guest and measures; the best time of each test counts, with and without. */
export async function dirtyLogCost(kernel: string, initramfs: string): Promise<DirtyLogCost> {
  const guest = new Guest(kernel, initramfs);
  await guest.toPrompt();
  // The engine compiles the guest's code in the first run.
  await guest.run();
  const [without, withLog] = [new Map<string, number>(), new Map<string, number>()];
  for (let round = 0; round < ROUNDS; round++) {
    keepBest(without, await guest.run());
    keepBest(withLog, await logged(guest));
  }
  const sum = (times: ReadonlyMap<string, number>): number => [...times.values()].reduce((total, ms) => total + ms, 0);
  const costs = TESTS.map((test) => ({ test, percent: costOf(without.get(test)!, withLog.get(test)!) }));
  return { percent: costOf(sum(without), sum(withLog)), worst: costs.reduce((worst, one) => (one.percent > worst.percent ? one : worst)) };
}
