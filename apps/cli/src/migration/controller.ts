import { rmSync } from 'node:fs';
import type { Machine } from '@nestvm/machine';
import {
  type Arrival,
  assertMigratable,
  formatContext,
  isActive,
  L2ActiveError,
  type Link,
  loadSnapshot,
  MigrationError,
  type MigrationStatus,
  migrateIn,
  migrateOut,
  saveSnapshot,
  strongestClass,
  waitForL2,
} from '@nestvm/migration';
import { UsageError } from '../errors.js';
import { openSource, writeWhole } from './file.js';
import { createParameters, type MigrationParameters } from './parameters.js';
import type { TlsCredentials } from './tls.js';
import { awaitLine, type LineOptions, openLine, type Place, parsePlace } from './transport.js';
import { createProcessWitness } from './witness.js';

/** Status of a process that was refused because an L2 is active. */
const L2_ACTIVE_STATUS = 3;

/** What the controller asks of the session around the machine. */
export interface SessionControl {
  machine(): Machine;
  /** Resolves when no vCPU runs. */
  pause(): Promise<void>;
  resume(): void;
  running(): boolean;
}

const MEBIBYTE = 2 ** 20;
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** `info migrate`. */
function formatStatus(status: MigrationStatus): string {
  const { phase, passes, transferredBytes, remainingBytes, totalBytes, elapsedMs, throughput, dirtyRate, expectedDowntimeMs, downtimeMs } = status;
  const mib = (bytes: number): string => (bytes / MEBIBYTE).toFixed(1);
  return [
    `Migration status: ${phase}`,
    `total time: ${Math.round(elapsedMs)} ms`,
    downtimeMs === null ? `expected downtime: ${Math.round(expectedDowntimeMs)} ms` : `downtime: ${Math.round(downtimeMs)} ms`,
    `transferred ram: ${mib(transferredBytes)} MiB`,
    `throughput: ${mib(throughput)} MiB/s`,
    `remaining ram: ${mib(remainingBytes)} MiB`,
    `total ram: ${mib(totalBytes)} MiB`,
    `passes: ${passes}, dirty rate: ${mib(dirtyRate)} MiB/s`,
    '',
  ].join('\n');
}

/** Save, load and migrate of one session. Every method throws `MigrationError` or `UsageError` with a message for people. */
export class MigrationController {
  private status: MigrationStatus | undefined;
  private cancel: AbortController | undefined;
  /** After a completed migration: the machine must never run here again. */
  moved = false;
  /** Why the last migration failed; undefined when it has not. */
  lastError: string | undefined;
  /** Told of each new phase. */
  onPhase: (phase: MigrationStatus['phase']) => void = () => {};
  readonly parameters: MigrationParameters = createParameters();
  private readonly witness = createProcessWitness();
  /** Ends when what was asked for so far is done. */
  private queue: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly session: SessionControl,
    private readonly credentials: readonly TlsCredentials[] = [],
  ) {}

  /** How the migration is going, or went; undefined before the first. */
  get progress(): MigrationStatus | undefined {
    return this.status;
  }

  /** `info migrate` and `info nested`. */
  describeMigration(): string {
    return this.status ? formatStatus(this.status) : 'No migration so far\n';
  }

  describeNested(): string {
    const contexts = this.session.machine().migratable.nested.inspect();
    const lines = contexts.map((context) => `${isActive(context) ? '*' : ' '} ${formatContext(context)}`);
    const kind = strongestClass(contexts);
    const allowed = contexts.some(isActive) ? 'save, load and migrate are refused' : 'save, load and migrate are allowed';
    return `${[`nested guests: ${kind}; ${allowed}`, ...lines].join('\n')}\n`;
  }

  /** `savevm FILE`: the machine stops meanwhile. */
  async save(path: string): Promise<string> {
    return this.stopped(async () => {
      let bytes = 0;
      await writeWhole(path, async (sink) => {
        ({ bytes } = await saveSnapshot(this.session.machine().migratable, sink));
      });
      return `saved to ${path}, ${(bytes / MEBIBYTE).toFixed(1)} MiB\n`;
    });
  }

  /** `loadvm FILE`. */
  async load(path: string, option = 'loadvm'): Promise<string> {
    return this.stopped(async () => {
      await loadSnapshot(this.session.machine().migratable, () => openSource(option, path));
      return `loaded ${path}\n`;
    });
  }

  /** `migrate [-w] URI`: `file:F`, `tcp:HOST:PORT`, `unix:PATH`; with `wait` as soon as no L2 is active. */
  async migrate(uri: string, wait: boolean, onProgress: (line: string) => void = () => {}): Promise<string> {
    if (this.moved) throw new UsageError('migrate: the machine has been migrated already; it runs at the target');
    if (this.cancel) throw new UsageError("migrate: a migration is under way; 'info migrate' shows it, 'migrate_cancel' ends it");
    this.cancel = new AbortController();
    this.lastError = undefined;
    try {
      if (wait) await this.waitForL2(onProgress);
      const file = /^file:(.+)$/.exec(uri);
      if (file) return await this.save(file[1]!);
      const { place, tlsCreds } = this.splitUri('migrate', uri);
      // Refused before anybody is bothered.
      assertMigratable(this.session.machine().migratable, 'migrate this machine');
      await this.migrateOver(await openLine('migrate', place, this.lineOptions(tlsCreds)));
      this.moved = true;
      return `migrated to ${uri}; the machine runs there now, and stays stopped here. ${this.describeMigration().split('\n')[2]}\n`;
    } catch (error) {
      this.lastError = error instanceof Error ? error.message : String(error);
      throw error;
    } finally {
      this.cancel = undefined;
    }
  }

  cancelMigration(): string {
    if (!this.cancel) return 'no migration is under way\n';
    this.cancel.abort();
    return 'cancelling\n';
  }

  /** `-incoming URI`: waits for a machine, and resolves when it is to run here. */
  async receive(uri: string): Promise<Arrival> {
    const machine = this.session.machine();
    const file = /^file:(.+)$/.exec(uri);
    if (file) {
      await loadSnapshot(machine.migratable, () => openSource('-incoming', file[1]!));
      return { how: 'handed over', confirm: () => Promise.resolve() };
    }
    const { place, tlsCreds } = this.splitUri('-incoming', uri);
    const link = await awaitLine('-incoming', place, this.lineOptions(tlsCreds));
    return migrateIn(machine.migratable, link, { witness: this.witness });
  }

  /** The place, and the credentials that are named behind it or by the parameter. */
  private splitUri(option: string, uri: string): { readonly place: Place; readonly tlsCreds: string } {
    const [, head = uri, named] = /^((?:tcp|unix|fd):.*?),tls-creds=([^,]*)$/.exec(uri) ?? [];
    return { place: parsePlace(option, head), tlsCreds: named ?? this.parameters.tlsCreds };
  }

  private lineOptions(tlsCreds: string): LineOptions {
    const { tlsHostname } = this.parameters;
    const tls = this.credentials.find(({ id }) => id === tlsCreds);
    if (tlsCreds !== '' && !tls) throw new UsageError(`tls-creds: there is no -object tls-creds-x509,id=${tlsCreds}`);
    return { timeoutMs: () => this.parameters.lineTimeoutMs, tls, hostname: tlsHostname };
  }

  /** Keeps the machine, which is stopped, until it is known to run somewhere. */
  private async keepCheckpoint(path: string): Promise<void> {
    await writeWhole(path, (sink) => saveSnapshot(this.session.machine().migratable, sink, { compression: 'none' }));
  }

  private async migrateOver(link: Link): Promise<void> {
    const { session } = this;
    const clock = { nowMs: () => performance.now(), sleep };
    const live = { ...session.machine().migratable, pause: () => session.pause(), resume: () => session.resume() };
    const wasRunning = session.running();
    const { maxBandwidth, downtimeLimitMs, checkpoint, autoConverge } = this.parameters;
    const dropCheckpoint = (): void => void (checkpoint && rmSync(checkpoint, { force: true }));
    const moving = migrateOut(wasRunning ? live : { ...live, resume: () => {} }, link, {
      clock,
      compression: 'none',
      downtimeLimitMs,
      witness: this.witness,
      ...(maxBandwidth === 0 ? {} : { bandwidth: maxBandwidth }),
      ...(checkpoint === '' ? {} : { onStopped: () => this.keepCheckpoint(checkpoint) }),
      ...(autoConverge ? { throttle: (share: number) => session.machine().throttle(share) } : {}),
      ...(this.cancel ? { signal: this.cancel.signal } : {}),
      onStatus: (status) => {
        const news = this.status?.phase !== status.phase;
        this.status = status;
        if (news) this.onPhase(status.phase);
      },
    });
    await moving.then(dropCheckpoint, (error: unknown) => {
      // Nobody knows who has the machine: what was kept stays.
      if (!(error instanceof MigrationError && error.code === 'undecided')) dropCheckpoint();
      throw error;
    });
  }

  private async waitForL2(onProgress: (line: string) => void): Promise<void> {
    const { session } = this;
    let told = 0;
    const pauseAndLook = async (): Promise<void> => {
      session.resume();
      await sleep(50);
      await session.pause();
    };
    await session.pause();
    try {
      await waitForL2(session.machine().migratable.nested, {
        runFor: pauseAndLook,
        ...(this.cancel ? { signal: this.cancel.signal } : {}),
        onProgress: (active, waitedMs) => {
          if (waitedMs < told) return;
          told = waitedMs + 5000;
          onProgress(`waiting for ${active.length} active L2 (${Math.round(waitedMs / 1000)} s)\n`);
        },
      });
    } finally {
      session.resume();
    }
  }

  /** Stops the machine for `work`, and lets it go on if it ran. One after the other: a save must not see half of a load. */
  private stopped(work: () => Promise<string>): Promise<string> {
    const result = this.queue.then(() => this.stopFor(work));
    this.queue = result.catch(() => {});
    return result;
  }

  private async stopFor(work: () => Promise<string>): Promise<string> {
    const { session } = this;
    const wasRunning = session.running();
    await session.pause();
    try {
      return await work();
    } finally {
      if (wasRunning) session.resume();
    }
  }
}

/** The message of a failure for people, and the status of a process that ends with it; undefined for what is not one of ours. */
export function explainFailure(error: unknown): { readonly message: string; readonly status: number } | undefined {
  if (error instanceof L2ActiveError) return { message: error.message.replace(/^migration: /, ''), status: L2_ACTIVE_STATUS };
  if (error instanceof MigrationError) return { message: error.message.replace(/^migration: /, ''), status: 1 };
  if (error instanceof UsageError) return { message: error.message, status: 2 };
  return undefined;
}
