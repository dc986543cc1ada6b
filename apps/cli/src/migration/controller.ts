import {
  type Arrival,
  assertMigratable,
  formatContext,
  isActive,
  L2ActiveError,
  loadSnapshot,
  MigrationError,
  type MigrationStatus,
  migrateIn,
  saveSnapshot,
  strongestClass,
  waitForL2,
} from '@nestvm/migration';
import { UsageError } from '../errors.js';
import { depart, reasonOf, type SessionControl, sleep } from './departure.js';
import { openSource, writeWhole } from './file.js';
import type { LateAddress } from './late-address.js';
import { createParameters, type MigrationParameters } from './parameters.js';
import { recoverTarget } from './recovery.js';
import { formatStatus } from './status.js';
import type { TlsCredentials } from './tls.js';
import { type LineOptions, openDoor, type Place, parsePlace } from './transport.js';
import { createProcessWitness } from './witness.js';

/** Status of a process that was refused because an L2 is active. */
const L2_ACTIVE_STATUS = 3;

const MEBIBYTE = 2 ** 20;

/** Save, load and migrate of one session. Every method throws `MigrationError` or `UsageError` with a message for people. */
export class MigrationController {
  private status: MigrationStatus | undefined;
  private cancel: AbortController | undefined;
  /** After a completed migration: the machine must never run here again. */
  moved = false;
  /** Why the last migration failed; undefined when it has not. */
  lastError: string | undefined;
  /** Told of each new phase, and of each pass over the memory, unless events are off. */
  onPhase: (phase: MigrationStatus['phase']) => void = () => {};
  onPass: (pass: number) => void = () => {};
  /** Told what nobody waits for any more: a line for people. */
  onNews: (text: string) => void = () => {};
  /** Set while a broken line leaves it open who has the machine; called when somebody decides that it goes on here. */
  private decision: (() => void) | undefined;
  readonly parameters: MigrationParameters = createParameters();
  private readonly witness = createProcessWitness();
  private closeDoor: () => void = () => {};
  /** Takes the address, while `-incoming defer` waits for it. */
  private deferred: ((address: LateAddress) => void) | undefined;
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

  /** `savevm [-z] FILE`: the machine stops meanwhile; compressed it takes less room, and many times as long. */
  async save(path: string, compressed = false): Promise<string> {
    return this.stopped(async () => {
      let bytes = 0;
      assertMigratable(this.session.machine().migratable, 'save this machine');
      await this.session.flushDisks();
      await writeWhole(path, async (sink) => {
        ({ bytes } = await saveSnapshot(this.session.machine().migratable, sink, { compression: compressed ? 'deflate' : 'none' }));
      });
      return `saved to ${path}, ${(bytes / MEBIBYTE).toFixed(1)} MiB\n`;
    });
  }

  /** `loadvm FILE`. */
  async load(path: string, option = 'loadvm'): Promise<string> {
    return this.stopped(async () => {
      await ofFile(`${option} ${path}`, () =>
        loadSnapshot(this.session.machine().migratable, () => openSource(option, path), { disposable: option === '-loadvm' }),
      );
      return `loaded ${path}\n`;
    });
  }

  /** `migrate [-w] URI`: `file:F`, `tcp:HOST:PORT`, `unix:PATH`; with `wait` as soon as no L2 is active. */
  async migrate(uri: string, wait: boolean, onProgress: (line: string) => void = () => {}): Promise<string> {
    if (this.moved) throw new UsageError('migrate: the machine has been migrated already; it runs at the target');
    if (this.decision)
      throw new UsageError('migrate: it is open who has the machine; look at the target, and write cont only if it does not run there');
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
      await this.migrateOver(place, this.lineOptions(tlsCreds), this.cancel.signal);
      return `migrated to ${uri}; the machine runs there now, and stays stopped here. ${this.describeMigration().split('\n')[2]}\n`;
    } catch (error) {
      this.lastError = error instanceof Error ? error.message : String(error);
      throw error;
    } finally {
      this.cancel = undefined;
    }
  }

  /** `cont` while it is open who has the machine: it goes on here. False when there is nothing to decide. */
  decide(): boolean {
    const { decision } = this;
    this.decision = undefined;
    decision?.();
    return decision !== undefined;
  }

  cancelMigration(): string {
    if (this.decision) return 'the machine was given away; only if the target does not run it, write cont\n';
    if (!this.cancel) return 'no migration is under way\n';
    this.cancel.abort();
    return 'cancelling\n';
  }

  /** `migrate_incoming URI`, after `-incoming defer`; resolves when the source may come. */
  async receiveFrom(uri: string): Promise<void> {
    if (!this.deferred) throw new UsageError("migrate_incoming: this process does not wait for an address; start it with '-incoming defer'");
    if (!uri.startsWith('file:')) this.splitUri('migrate_incoming', uri);
    const { deferred } = this;
    this.deferred = undefined;
    await new Promise<void>((open, fail) => deferred({ uri, open, fail }));
  }

  /** `-incoming URI`: waits for a machine, and resolves when it is to run here. */
  async receive(given: string): Promise<Arrival> {
    const machine = this.session.machine();
    const { uri, open, fail } = given === 'defer' ? await this.toldLater() : { uri: given };
    const file = /^file:(.+)$/.exec(uri);
    if (file) {
      open?.();
      await ofFile(`-incoming ${uri}`, () => loadSnapshot(machine.migratable, () => openSource('-incoming', file[1]!)));
      return { how: 'handed over', confirm: () => Promise.resolve() };
    }
    const { place, tlsCreds } = this.splitUri('-incoming', uri);
    const opening = (async () => openDoor('-incoming', place, this.lineOptions(tlsCreds)))();
    opening.then(open, fail ?? (() => {}));
    const door = await opening;
    const decided = new AbortController();
    const onWaiting = (message: string): void => {
      this.decision = () => decided.abort();
      this.onNews(message);
    };
    try {
      const recovery = recoverTarget(door, { onWaiting, decided: decided.signal });
      this.closeDoor = () => door.close();
      return await migrateIn(machine.migratable, await door.next(), { witness: this.witness, recovery });
    } finally {
      this.decision = undefined;
    }
  }

  /** Waits for `migrate_incoming`; nothing else keeps the process alive meanwhile. */
  private async toldLater(): Promise<LateAddress> {
    const alive = setInterval(() => {}, 1 << 30);
    try {
      return await new Promise<LateAddress>((resolve) => {
        this.deferred = resolve;
        this.closeDoor = () => clearInterval(alive);
      });
    } finally {
      clearInterval(alive);
    }
  }

  /** The session ends. */
  close(): void {
    this.closeDoor();
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

  /** Moves the machine; rejects with `undecided` when it stays open who has it, while the target is asked on. */
  private async migrateOver(place: Place, line: LineOptions, signal: AbortSignal): Promise<void> {
    const { ended, open } = await depart({
      session: this.session,
      parameters: this.parameters,
      witness: this.witness,
      place,
      line,
      signal,
      onStatus: (status) => this.note(status),
      onOpen: (decide) => {
        this.decision = decide;
      },
      onConflict: () => {
        this.moved = true;
        this.onNews('the target runs the machine, although it was let go on here; it is stopped here again, and what it did meanwhile is lost');
      },
    });
    const settled = ended.then(() => {
      this.moved = true;
    });
    const message = await Promise.race([settled.finally(() => (this.decision = undefined)), open]);
    if (message === undefined) return;
    this.cancel = undefined;
    settled.then(
      () => this.late(undefined, 'the target has the machine and runs it; it stays stopped here'),
      (error: unknown) => this.late(error, reasonOf(error)),
    );
    throw new MigrationError('undecided', message);
  }

  private note(status: MigrationStatus): void {
    const [phase, pass] = [this.status?.phase, this.status?.passes ?? 0];
    this.status = status;
    if (!this.parameters.events) return;
    if (phase !== status.phase) this.onPhase(status.phase);
    if (status.passes > pass) this.onPass(status.passes);
  }

  /** The end of a migration that was reported as undecided. */
  private late(error: unknown, news: string): void {
    this.lastError = error === undefined ? undefined : reasonOf(error);
    this.onNews(news);
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
/** Says which file cannot be loaded. */
async function ofFile(name: string, load: () => Promise<unknown>): Promise<void> {
  try {
    await load();
  } catch (error) {
    if (!(error instanceof MigrationError) || error instanceof L2ActiveError) throw error;
    const { code, offset, unit } = error;
    throw new MigrationError(code, `${name}: ${error.message.replace(/^migration: /, '')}`, {
      ...(offset === undefined ? {} : { offset }),
      ...(unit === undefined ? {} : { unit }),
    });
  }
}

export function explainFailure(error: unknown): { readonly message: string; readonly status: number } | undefined {
  if (error instanceof L2ActiveError) return { message: error.message.replace(/^migration: /, ''), status: L2_ACTIVE_STATUS };
  if (error instanceof MigrationError) return { message: error.message.replace(/^migration: /, ''), status: 1 };
  if (error instanceof UsageError) return { message: error.message, status: 2 };
  return undefined;
}
