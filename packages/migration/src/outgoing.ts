import type { ByteSink } from './channel.js';
import { ContainerWriter } from './container.js';
import { L2ActiveError, MigrationError } from './errors.js';
import { heldDisks } from './held-disks.js';
import { ControlReader, type Link, noWitness, orAbort, sayTo } from './link.js';
import type { LiveMachine } from './machine-port.js';
import type { MigrateOptions, MigrationStatus } from './migrate-options.js';
import { PreCopy } from './pre-copy.js';
import { Progress } from './progress.js';
import { type Asker, reclaim, type SourceRecovery, tellKept } from './reclaim.js';
import { assertMigratable, describeRam } from './save.js';

/** How a migration has ended. On `completed` the machine runs at the target, and must never run here again. */
export interface MigrateResult {
  readonly status: MigrationStatus;
}

/** The target says that it does not run the machine and never will. */
class TargetRefusal extends MigrationError {}

const REMARK = 'the machine here goes on as if nothing had been';
const reasonOf = (error: unknown): string => (error instanceof Error ? error.message.replace(/^migration: /, '') : String(error));

/** A line that takes what is on its way in this time still moves, and can carry a word of farewell. */
const FAREWELL_MS = 1000;

/** A sink whose writes end when `signal` does: a line on which nothing moves would keep them until it is given up. */
function abortable(sink: ByteSink, { signal, clock }: MigrateOptions): ByteSink {
  if (!signal) return sink;
  let over = false;
  let fail = (): void => {};
  const end = (): void => {
    over = true;
    fail();
  };
  signal.addEventListener('abort', () => void clock.sleep(FAREWELL_MS).then(end), { once: true });
  return {
    write: (bytes) =>
      new Promise((resolve, reject) => {
        fail = () => reject(new MigrationError('cancelled', 'the migration was cancelled'));
        if (over) fail();
        else sink.write(bytes).then(resolve, reject);
      }),
  };
}

class Outgoing {
  private readonly out: ContainerWriter;
  private readonly back: ControlReader;
  private readonly progress: Progress;
  private target = '';
  /** How far the hand-over has come: all was sent and the target may wait; the machine was given away. */
  private custody: 'ours' | 'offered' | 'given' = 'ours';

  constructor(
    private readonly machine: LiveMachine,
    private readonly link: Link,
    private readonly options: MigrateOptions,
  ) {
    this.out = new ContainerWriter(abortable(link.sink, options));
    this.back = new ControlReader(link.source);
    this.progress = new Progress(this.out, machine.ram(), options);
  }

  async run(): Promise<MigrateResult> {
    const { machine } = this;
    this.progress.tell('setup');
    machine.dirty.start();
    for (const { blocks } of heldDisks(machine)) blocks.track(true);
    try {
      await this.setUp();
      const memory = new PreCopy(machine, machine.ram(), this.out, this.options, this.progress);
      await this.handOver(memory, await memory.run());
      await this.expect('running');
      // From here on nobody needs to ask.
      await sayTo(this.out, { say: 'done' }).catch(() => {});
    } catch (error) {
      this.options.throttle?.(0);
      const cause = (await this.lastWord(error)) ?? error;
      if (this.custody !== 'given' || (await this.owner(cause)) === 'source') throw this.fail(cause);
    } finally {
      machine.dirty.stop();
      for (const { blocks } of heldDisks(machine)) blocks.track(false);
    }
    this.progress.complete();
    return { status: this.progress.status() };
  }

  /** Stops the machine, sends what is left of it, and gives it away. */
  private async handOver(memory: PreCopy, rest: readonly Uint32Array[]): Promise<void> {
    const { machine, options, progress } = this;
    progress.stopMs = options.clock.nowMs();
    await machine.pause();
    progress.phase = 'hand-over';
    // An L2 may have been started in the meantime.
    assertMigratable(machine, 'migrate this machine');
    await options.onStopped?.();
    await memory.sendRest(rest);
    this.custody = 'offered';
    await this.out.end();
    await this.expect('ready');
    this.custody = 'given';
    await sayTo(this.out, { say: 'go', stopped: options.isStopped?.() ?? false });
  }

  /** A target that refuses closes the line; its reason may still be on the way. */
  private async lastWord(error: unknown): Promise<unknown> {
    if (this.custody === 'given' || error instanceof MigrationError) return null;
    const word = await Promise.race([this.back.next().catch(() => null), this.options.clock.sleep(200).then(() => null)]);
    return word?.say === 'refused' ? new TargetRefusal('link', `the target refuses: ${word.why}; ${REMARK}`) : null;
  }

  /** Who has a machine that was given away before the line broke; throws `undecided` where nobody can know. */
  private async owner(error: unknown): Promise<'source' | 'target'> {
    if (error instanceof TargetRefusal) return 'source';
    const { witness = noWitness, recovery } = this.options;
    // Only now: a target that lives may run the machine, and its death later would say nothing.
    const gone = !(error instanceof MigrationError) || error.code === 'link';
    if (gone && this.target !== '' && (await witness.judge(this.target)) === 'dead') return 'source';
    const message = `the line broke after the machine had been handed over: ${reasonOf(error)}. The machine here stays stopped, since the target may run it. Look at the target; only if it does not run the machine, continue here (cont).`;
    if (!recovery) {
      this.progress.tell('failed');
      throw new MigrationError('undecided', message);
    }
    this.progress.tell('waiting');
    // A target that still listens on the old line is to notice.
    this.link.close();
    recovery.onWaiting?.(`${message} Trying to reach the target, whose answer settles it.`);
    if ((await reclaim(this.asker(recovery))) === 'theirs') return 'target';
    this.custody = 'offered';
    return 'source';
  }

  private asker(recovery: SourceRecovery): Asker {
    const { witness = noWitness, clock, isStopped } = this.options;
    return { recovery, who: witness.me, stopped: isStopped?.() ?? false, sleep: (ms) => clock.sleep(ms) };
  }

  /** The machine goes on here. */
  private fail(error: unknown): MigrationError {
    this.progress.tell(error instanceof MigrationError && error.code === 'cancelled' ? 'cancelled' : 'failed');
    // Whoever waits for the machine there is to know that it stays here.
    if (this.custody !== 'given') void sayTo(this.out, { say: 'cancelled' }).catch(() => {});
    if (this.custody === 'offered' && !(error instanceof TargetRefusal)) void this.tellTarget();
    if (this.progress.stopMs !== null) this.machine.resume();
    const reason = reasonOf(error);
    if (error instanceof L2ActiveError || reason.endsWith(REMARK)) return error as MigrationError;
    if (error instanceof MigrationError && error.code !== 'truncated') return new MigrationError(error.code, `${reason}; ${REMARK}`, error);
    return new MigrationError('link', `the migration failed: ${reason}; ${REMARK}`);
  }

  /** A target that has all of the machine may wait for this source to come back. */
  private async tellTarget(): Promise<void> {
    const { recovery } = this.options;
    if (!recovery || (await tellKept(this.asker(recovery))) !== 'theirs') return;
    await this.machine.pause();
    recovery.onConflict?.();
  }

  private async setUp(): Promise<void> {
    await this.out.begin(heldDisks(this.machine).length > 0);
    const { witness = noWitness, recovery } = this.options;
    await sayTo(this.out, { say: 'hello', who: witness.me, session: recovery?.session ?? '' });
    await this.out.value('CONF', this.machine.configuration());
    await this.out.value('RAMB', describeRam(this.machine.ram()));
  }

  private async expect(word: 'ready' | 'running'): Promise<void> {
    const control = await orAbort(this.back.next(), this.options.signal, 'the migration');
    if (control.say === 'hello') {
      this.target = control.who;
      return this.expect(word);
    }
    if (control.say === 'refused') throw new TargetRefusal('link', `the target refuses: ${control.why}; ${REMARK}`);
    if (control.say !== word) throw new MigrationError('corrupt', `the target said "${control.say}" where "${word}" belongs; ${REMARK}`);
  }
}

/**
 * Moves a running machine to whoever listens at the other end of `link`: memory while it runs, then the rest while it is stopped. Refuses with `L2ActiveError`
 * before it begins, and again when an L2 has been started in the meantime; the machine then goes on here. When this resolves, the target runs the machine.
 * A failure before the hand-over leaves the machine running here; so does one after it when the target is known not to run it. Else the target is asked over new
 * lines (`recovery`), until it answers or somebody decides; without that the machine stays stopped, the code is `undecided`, and the message says what to look at.
 */
export async function migrateOut(machine: LiveMachine, link: Link, options: MigrateOptions): Promise<MigrateResult> {
  try {
    assertMigratable(machine, 'migrate this machine');
    return await new Outgoing(machine, link, options).run();
  } finally {
    link.close();
  }
}
