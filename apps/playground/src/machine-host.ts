import { createEventLoopHost, createMachine, type Machine, type MachineOptions, type MachineOutcome } from '@nestvm/machine';
import { createMemorySink, createMemorySource, loadSnapshot, saveSnapshot } from '@nestvm/migration';
import type { MachineOrder, Phase, Reply, Request, Told } from './protocol.js';
import { openSurroundings, type Surroundings } from './surroundings.js';

const MEBIBYTE = 2 ** 20;
const STATUS_MS = 100;
/** Level samples; prime to the turns of the run loop. */
const SAMPLE_MS = 7;
const OUTPUT_BYTES = 4096;

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function describe(outcome: MachineOutcome): string {
  switch (outcome.kind) {
    case 'poweroff':
      return 'the guest switched itself off';
    case 'exit':
      // isa-debug-exit makes 2V+1 of the V that was written.
      return `the guest ended itself with ${(outcome.status - 1) / 2}`;
    case 'reset':
      return outcome.cause === 'guest' ? 'the guest asked for a reset' : 'the CPU shut down (triple fault)';
    case 'halted':
      return 'every CPU has halted with interrupts off';
    case 'stuck':
      return 'every CPU waits for what cannot come';
    case 'stopped':
      return 'stopped';
  }
}

/** The machine that a page has in its Worker: takes requests, sends replies. */
export class MachineHost {
  private machine: Machine | undefined;
  private surroundings: Surroundings | undefined;
  private phase: Phase = 'ended';
  /** Set while the CPUs stand still at an instruction boundary because somebody asked for that. */
  private whenStill: (() => void) | undefined;
  private output = new Uint8Array(OUTPUT_BYTES);
  private filled = 0;
  private samples: [number, number] = [0, 0];
  private run = 0;
  /** Ends when what was asked for so far is done: starting, stopping and saving take a while, in which the next request may come. */
  private queue: Promise<void> = Promise.resolve();

  constructor(private readonly tell: (told: Told) => void) {
    setInterval(() => this.sendStatus(), STATUS_MS);
    setInterval(() => this.sample(), SAMPLE_MS);
  }

  /** Follows one request; what goes wrong is a reply, never an exception. */
  async handle(request: Request): Promise<void> {
    switch (request.kind) {
      case 'start':
        return this.inTurn(() => this.start(request.run, request.order));
      case 'input':
        this.machine?.receiveSerial(0, request.bytes);
        return;
      case 'pause':
        return this.inTurn(() => this.pause());
      case 'resume':
        return this.inTurn(() => this.resume());
      case 'reset':
        this.machine?.requestReset();
        return;
      case 'save':
        return this.inTurn(() => this.save());
    }
  }

  private inTurn(act: () => Promise<void> | void): Promise<void> {
    this.queue = this.queue.then(act);
    return this.queue;
  }

  private send(reply: Reply): void {
    this.tell({ run: this.run, reply });
  }

  private async start(run: number, order: MachineOrder): Promise<void> {
    // What the machine before says up to here is its own.
    await this.pause();
    this.machine = undefined;
    this.phase = 'ended';
    this.run = run;
    this.surroundings?.close();
    this.surroundings = undefined;
    try {
      this.surroundings = await openSurroundings(order);
      const machine = createMachine(this.options(order, this.surroundings));
      const { snapshot } = order;
      if (snapshot) await loadSnapshot(machine.migratable, () => createMemorySource(snapshot));
      this.machine = machine;
    } catch (error) {
      this.send({ kind: 'failed', what: 'start', message: messageOf(error) });
      return;
    }
    this.resume();
  }

  private options(order: MachineOrder, { devices }: Surroundings): MachineOptions {
    return {
      board: order.board,
      cpu: order.cpu,
      nested: order.nested,
      memoryBytes: order.memoryMiB * MEBIBYTE,
      kernel: order.kernel,
      ...(order.initrd ? { modules: [order.initrd] } : {}),
      ...(order.commandLine === undefined ? {} : { commandLine: order.commandLine }),
      serial: [{ write: (byte) => this.write(byte) }],
      debugExit: { iobase: 0xf4, iosize: 4 },
      virtio: devices.map((device) => ({ device })),
      clock: { kind: 'host' },
      rtcSeconds: Math.floor(Date.now() / 1000),
      host: createEventLoopHost(globalThis),
      reboot: true,
      jit: order.jit ?? false,
      incoming: order.snapshot !== undefined,
    };
  }

  private resume(): void {
    const { machine } = this;
    if (machine === undefined || this.phase === 'running') return;
    this.phase = 'running';
    machine.run().then(
      (outcome) => this.stood(outcome),
      (error: unknown) => {
        this.phase = 'ended';
        this.machine = undefined;
        this.send({ kind: 'failed', what: 'run', message: messageOf(error) });
      },
    );
  }

  private stood(outcome: MachineOutcome): void {
    this.flush();
    this.phase = outcome.kind === 'stopped' ? 'paused' : 'ended';
    this.sendStatus();
    this.whenStill?.();
    this.whenStill = undefined;
    if (outcome.kind === 'stopped') return;
    this.send({ kind: 'ended', how: describe(outcome) });
    this.machine = undefined;
  }

  private pause(): Promise<void> {
    const { machine } = this;
    if (machine === undefined || this.phase !== 'running') return Promise.resolve();
    return new Promise((resolve) => {
      const before = this.whenStill;
      this.whenStill = () => {
        before?.();
        resolve();
      };
      machine.stop();
    });
  }

  private async save(): Promise<void> {
    const wasRunning = this.phase === 'running';
    await this.pause();
    const { machine } = this;
    if (machine === undefined) return;
    const sink = createMemorySink();
    try {
      await saveSnapshot(machine.migratable, sink);
      this.send({ kind: 'saved', bytes: sink.bytes() });
    } catch (error) {
      this.send({ kind: 'failed', what: 'save', message: messageOf(error) });
    }
    if (wasRunning) this.resume();
  }

  private write(byte: number): void {
    this.output[this.filled++] = byte;
    if (this.filled === OUTPUT_BYTES) this.flush();
  }

  private flush(): void {
    if (this.filled === 0) return;
    this.send({ kind: 'output', bytes: this.output.slice(0, this.filled) });
    this.filled = 0;
  }

  private sample(): void {
    this.flush();
    if (this.phase !== 'running') return;
    for (const cpu of this.machine?.cpus ?? []) this.samples[cpu.get32('guestMode') === 0 ? 0 : 1]++;
  }

  private sendStatus(): void {
    const { machine, phase, samples } = this;
    if (machine === undefined) return;
    const { entries, failedEntries, exits } = machine.levels();
    // A judgement reads guest memory; it is made between the slices of the run loop, where CPUs stand still.
    const contexts = machine.judgeNested().map(({ kind, pa, entries: own, class: judged }) => ({
      kind,
      address: `0x${pa.toString(16)}`,
      entries: own,
      class: judged,
    }));
    const guestNs = machine.clock.nowNs();
    const compiled = machine.jit?.counters.instructions;
    const levels = { entries, failedEntries, exits };
    this.send({ kind: 'status', status: { phase, retired: machine.retired, guestNs, levels, contexts, samples, compiled } });
    this.samples = [0, 0];
  }
}
