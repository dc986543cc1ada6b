import {
  type Arrival,
  assertMigratable,
  type Link,
  loadSnapshot,
  MigrationError,
  type MigrationStatus,
  migrateIn,
  saveSnapshot,
  waitForL2,
} from '@nestvm/migration';
import { UsageError } from '../errors.js';
import { depart, reasonOf, type SessionControl, sleep } from './departure.js';
import type { Door } from './door.js';
import { ofFile } from './failure.js';
import { readingFile, writeWhole } from './file.js';
import type { LateAddress } from './late-address.js';
import { createParameters, type MigrationParameters } from './parameters.js';
import { makeReady } from './readiness.js';
import { recoverTarget } from './recovery.js';
import { fileStatus, formatNested, formatStatus, type Written } from './status.js';
import type { TlsCredentials } from './tls.js';
import { type LineOptions, openDoor, type Place, parsePlace } from './transport.js';
import { createProcessWitness } from './witness.js';

const MEBIBYTE = 2 ** 20;

/** Phases of a migration that is over. */
const ENDS: ReadonlySet<MigrationStatus['phase']> = new Set(['completed', 'failed', 'cancelled']);

const formatSaved = (path: string, { bytes }: Written): string => `saved to ${path}, ${(bytes / MEBIBYTE).toFixed(1)} MiB\n`;

/** Save, load and migrate of one session. Every method throws `MigrationError` or `UsageError` with a message for people. */
export class MigrationController {
  private status: MigrationStatus | undefined;
  /** When it was told. */
  private notedMs = 0;
  private cancel: AbortController | undefined;
  /** After a completed migration: the machine must never run here again. */
  moved = false;
  /** Why the last migration failed; undefined when it has not. */
  lastError: string | undefined;
  /** The last migration was cancelled before anything was sent. */
  cancelledEarly = false;
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
    private readonly credentials: (id: string) => TlsCredentials | undefined = () => undefined,
  ) {}

  /** How the migration is going, or went; undefined before the first. */
  get progress(): MigrationStatus | undefined {
    const { status } = this;
    if (status === undefined || ENDS.has(status.phase)) return status;
    // A line on which nothing moves tells nothing, and the time goes on.
    return { ...status, elapsedMs: status.elapsedMs + performance.now() - this.notedMs };
  }

  /** `info migrate`. */
  describeMigration(): string {
    const { progress } = this;
    if (progress) return formatStatus(progress, this.lastError);
    if (this.cancelledEarly) return 'Migration status: cancelled\n';
    return this.lastError === undefined ? 'No migration so far\n' : `Migration status: failed (${this.lastError})\n`;
  }

  /** `info nested`. */
  describeNested(): string {
    return formatNested(this.session.machine().migratable.nested.inspect());
  }

  /** `savevm [-z] FILE`: the machine stops meanwhile; compressed it takes less room, and many times as long. */
  async save(path: string, compressed = false): Promise<string> {
    this.assertAtRest('savevm');
    return formatSaved(path, await this.write(path, compressed));
  }

  private write(path: string, compressed: boolean): Promise<Written> {
    return this.stopped(async () => {
      const machine = this.session.machine().migratable;
      let written: Written = { bytes: 0, pages: 0 };
      assertMigratable(machine, 'save this machine');
      await this.session.flushDisks();
      await writeWhole(path, async (sink) => {
        written = await saveSnapshot(machine, sink, { compression: compressed ? 'deflate' : 'none' });
      });
      return written;
    });
  }

  /** `migrate file:F`: a snapshot, which is told of as a migration. */
  private async migrateToFile(path: string): Promise<string> {
    const startMs = performance.now();
    const written = await this.write(path, false);
    this.note(fileStatus(this.session.machine().migratable.ram(), written, performance.now() - startMs));
    return formatSaved(path, written);
  }

  /** Throws `UsageError` while the machine is on its way from here or to here: what would be saved or replaced is no whole machine. */
  private assertAtRest(command: string): void {
    if (this.session.arriving()) throw new UsageError(`${command}: this process waits for a machine, and has none yet`);
    if (this.cancel || this.decision) throw new UsageError(`${command}: a migration is under way; 'info migrate' shows it, 'migrate_cancel' ends it`);
  }

  /** `loadvm FILE`. */
  async load(path: string, option = 'loadvm'): Promise<string> {
    if (option === 'loadvm') this.assertAtRest(option);
    return this.stopped(async () => {
      await this.read(option, path, `${option} ${path}`);
      return `loaded ${path}\n`;
    });
  }

  /** Loads a file; of a machine that is being made nobody needs anything when that fails. */
  private read(option: string, path: string, name: string): Promise<void> {
    const { migratable } = this.session.machine();
    return ofFile(name, () => readingFile(option, path, (open) => loadSnapshot(migratable, open, { disposable: option.startsWith('-') })));
  }

  /** What `migrate` refuses whatever becomes of the line; throws `UsageError`. */
  assertCanMigrate(uri: string): void {
    if (this.moved) throw new UsageError('migrate: the machine has been migrated already; it runs at the target');
    if (this.decision)
      throw new UsageError('migrate: it is open who has the machine; look at the target, and write cont only if it does not run there');
    if (this.cancel) throw new UsageError("migrate: a migration is under way; 'info migrate' shows it, 'migrate_cancel' ends it");
    if (this.session.arriving()) throw new UsageError('migrate: this process waits for a machine, and has none yet');
    if (!/^file:./.test(uri)) this.lineOptions(this.splitUri('migrate', uri).tlsCreds);
  }

  /** `migrate [-w] URI`: `file:F`, `tcp:HOST:PORT`, `unix:PATH`; with `wait` as soon as no L2 is active. */
  async migrate(uri: string, wait: boolean, onProgress: (line: string) => void = () => {}): Promise<string> {
    this.assertCanMigrate(uri);
    this.cancel = new AbortController();
    this.lastError = undefined;
    this.status = undefined;
    this.cancelledEarly = false;
    try {
      // What is being saved or loaded comes first.
      await this.queue;
      // A machine that stands still does not come to the end of its L2: it is refused, and stays so.
      if (wait && this.session.running()) await this.waitForL2(onProgress);
      const file = /^file:(.+)$/.exec(uri);
      if (file) return await this.migrateToFile(file[1]!);
      const { place, tlsCreds } = this.splitUri('migrate', uri);
      // Refused before anybody is bothered.
      assertMigratable(this.session.machine().migratable, 'migrate this machine');
      await this.migrateOver(place, this.lineOptions(tlsCreds), this.cancel.signal);
      return `migrated to ${uri}; the machine runs there now, and stays stopped here. ${formatStatus(this.status!).split('\n')[2]}\n`;
    } catch (error) {
      if (!(error instanceof MigrationError && error.code === 'cancelled')) this.lastError = reasonOf(error);
      else if (this.status === undefined) this.noteEarlyCancel();
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
      await this.read('-incoming', file[1]!, `-incoming ${uri}`);
      return { how: 'handed over', stopped: false, confirm: () => Promise.resolve() };
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
      return await migrateIn(machine.migratable, await this.nextLine(door), { witness: this.witness, recovery });
    } finally {
      this.decision = undefined;
    }
  }

  /** Waits for the source, and makes use of the time until it comes. */
  private async nextLine(door: Door<Link>): Promise<Link> {
    const come = new AbortController();
    const line = door.next();
    const onCome = (): void => come.abort();
    line.then(onCome, onCome);
    await makeReady(this.session.machine().migratable, come.signal);
    return line;
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
    const tls = this.credentials(tlsCreds);
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

  private noteEarlyCancel(): void {
    this.cancelledEarly = true;
    if (this.parameters.events) this.onPhase('cancelled');
  }

  private note(status: MigrationStatus): void {
    const [phase, pass] = [this.status?.phase, this.status?.passes ?? 0];
    this.status = status;
    this.notedMs = performance.now();
    if (!this.parameters.events) return;
    if (phase !== status.phase) this.onPhase(status.phase);
    if (status.passes > pass) this.onPass(status.passes);
  }

  /** The end of a migration that was reported as undecided. */
  private late(error: unknown, news: string): void {
    this.lastError = error === undefined ? undefined : reasonOf(error);
    this.onNews(news);
  }

  /** Whoever looks while the machine runs finds its vCPUs between two instructions, as `info nested` does. */
  private async waitForL2(onProgress: (line: string) => void): Promise<void> {
    let told = 0;
    await waitForL2(this.session.machine().migratable.nested, {
      runFor: sleep,
      ...(this.cancel ? { signal: this.cancel.signal } : {}),
      onProgress: (active, waitedMs) => {
        if (waitedMs < told) return;
        told = waitedMs + 5000;
        onProgress(`waiting for ${active.length} active L2 (${Math.round(waitedMs / 1000)} s)\n`);
      },
    });
  }

  /** Stops the machine for `work`, and lets it go on if it ran. One after the other: a save must not see half of a load. */
  private stopped<T>(work: () => Promise<T>): Promise<T> {
    const result = this.queue.then(() => this.stopFor(work));
    this.queue = result.then(
      () => {},
      () => {},
    );
    return result;
  }

  private async stopFor<T>(work: () => Promise<T>): Promise<T> {
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
