import { HeldBlocks, type Migratable, type SavedValue, stateful } from '@nestvm/state';
import type { HeldDisk, MigratableMachine, NestedContextReport } from '../src/index.js';

/** A machine of two units and a little RAM. */
export class ToyMachine implements MigratableMachine {
  readonly memory = new Uint8Array(8 * 4096);
  counter = 0;
  text = 'power-on';
  contexts: NestedContextReport[] = [];
  forgotten = 0;
  readonly extra = new Map<string, Migratable>();

  constructor(
    readonly model = 'toy',
    readonly version = 1,
  ) {}

  readonly nested = { inspect: (): readonly NestedContextReport[] => this.contexts };

  configuration(): SavedValue {
    return { model: this.model };
  }

  mismatches(configuration: unknown): readonly string[] {
    const model = (configuration as { model?: unknown } | null)?.model;
    return model === this.model ? [] : [`its CPU is ${String(model)}, this machine's is ${this.model}`];
  }

  units(): ReadonlyMap<string, Migratable> {
    const counter = stateful({
      version: this.version,
      save: () => ({ counter: this.counter }),
      load: (saved) => {
        const value = (saved as { counter?: unknown }).counter;
        if (typeof value !== 'number' || !Number.isInteger(value)) throw new Error('counter must be an integer');
        this.counter = value;
      },
    });
    const text = stateful({
      version: 1,
      save: () => ({ text: this.text, big: 2n ** 63n, bytes: Uint8Array.of(1, 2), list: [null, true, -1, 0.5] }),
      load: (saved) => {
        const value = (saved as { text?: unknown }).text;
        if (typeof value !== 'string') throw new Error('text must be a text');
        this.text = value;
      },
    });
    return new Map<string, Migratable>([['clock', counter], ['com1', text], ...this.extra]);
  }

  ram() {
    return [{ name: 'ram', bytes: this.memory }];
  }

  heldDisks(): readonly HeldDisk[] {
    return [];
  }

  forgetCaches(): void {
    this.forgotten++;
  }

  /** Everything that a failed load must leave alone. */
  fingerprint(): string {
    return `${this.counter} ${this.text} ${new Int32Array(this.memory.buffer).reduce((hash, word) => (Math.imul(hash, 31) + word) | 0, 7)}`;
  }
}

/** A toy with a disk in memory, whose blocks are small, so that they are not most of what is saved. */
export class DiskToy extends ToyMachine {
  readonly held = new HeldBlocks(20_000, 512);

  override heldDisks(): readonly HeldDisk[] {
    return [{ name: 'disk', blocks: this.held }];
  }

  override fingerprint(): string {
    const blocks = this.held.indices().map((index) => [index, ...this.held.get(index)!].join(','));
    return `${super.fingerprint()} ${blocks.join(';')}`;
  }

  /** Holds these blocks, filled with these values. */
  hold(blocks: Readonly<Record<number, number>>): this {
    for (const [index, value] of Object.entries(blocks)) this.held.set(Number(index), new Uint8Array(this.held.blockBytes).fill(value));
    return this;
  }
}

export const context = (over: Partial<NestedContextReport> = {}): NestedContextReport => ({
  cpu: 0,
  pa: 0x1234000,
  kind: 'vmcs',
  class: 'resident',
  entries: 812,
  lastEntryAgoNs: 3_000_000,
  lastExit: 'HLT (12)',
  root: 0x5000,
  why: 'It was launched and its CPU is in VMX operation.',
  clearsWhen: 'VMCLEAR of it, with an empty EPT root, clears it.',
  ...over,
});

/** A machine in which everything differs from power-on. */
export function usedMachine(): ToyMachine;
export function usedMachine<T extends ToyMachine>(machine: T): T;
export function usedMachine(machine = new ToyMachine()): ToyMachine {
  machine.counter = 42;
  machine.text = 'in use';
  for (let i = 0; i < 2 * 4096; i++) machine.memory[4096 + i] = (i * 7 + (i >> 4)) & 0xff;
  machine.memory[7 * 4096 + 5] = 9;
  return machine;
}
