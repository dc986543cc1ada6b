import { ContainerWriter } from './container.js';
import { MigrationError } from './errors.js';
import { ControlReader, type Link, noWitness, orAbort, sayTo, type Witness } from './link.js';
import type { LiveMachine, RamBlock } from './machine-port.js';
import { encodeRun, PAGE_BYTES, pageSpans } from './ram-codec.js';
import { type Asker, reclaim, type SourceRecovery, tellKept } from './reclaim.js';
import { assertMigratable, describeRam, saveUnits, writeRun } from './save.js';

/** Host time, as the caller has it. */
export interface MigrationClock {
  nowMs(): number;
  sleep(milliseconds: number): Promise<void>;
}

/** How a migration is going, as `info migrate` shows it. */
export interface MigrationStatus {
  readonly phase: 'setup' | 'pre-copy' | 'hand-over' | 'waiting' | 'completed' | 'failed' | 'cancelled';
  /** Passes over the memory so far; the first one sends all of it. */
  readonly passes: number;
  readonly transferredBytes: number;
  readonly remainingBytes: number;
  readonly totalBytes: number;
  /** Pages sent so far, each as often as it was; and pages that needed no content, since they are clear. */
  readonly sentPages: number;
  readonly clearPages: number;
  /** Share of its time that the guest is held back at present, 0 to 0.99. */
  readonly throttle: number;
  readonly elapsedMs: number;
  /** Bytes a second, over the whole time. */
  readonly throughput: number;
  /** Bytes that the guest has dirtied in a second, in the last pass. */
  readonly dirtyRate: number;
  readonly expectedDowntimeMs: number;
  /** Time from the stop of the source until the target ran; set when completed. */
  readonly downtimeMs: number | null;
}

/** Options of {@link migrateOut}. */
export interface MigrateOptions {
  readonly clock: MigrationClock;
  /** Stop for the last pass when it takes at most this long (default 100). */
  readonly downtimeLimitMs?: number;
  /** Bytes a second at most; default: no limit. */
  readonly bandwidth?: number;
  readonly compression?: 'deflate' | 'none';
  /** Passes until the guest is stopped although it dirties memory faster than the line takes it (default 30). */
  readonly maxPasses?: number;
  /** Slows the guest down, 0 (not) to 0.99 of its time; used when it dirties memory faster than the line takes it. */
  readonly throttle?: (share: number) => void;
  /** By how much: the first share, what is added with each pass that does not help, and the most (default 0.2, 0.1, 0.99). */
  readonly throttleSteps?: { readonly initial: number; readonly increment: number; readonly most: number };
  readonly onStatus?: (status: MigrationStatus) => void;
  /** Whether the target's process lives, should the line break behind the hand-over. Default: nobody knows. */
  readonly witness?: Witness;
  /** How to find the target again when the line breaks in the hand-over. Default: not at all. */
  readonly recovery?: SourceRecovery;
  /** Called when the machine has been stopped, before the rest of it is sent: to keep a snapshot of it. */
  readonly onStopped?: () => Promise<void>;
  readonly signal?: AbortSignal;
}

/** How a migration has ended. On `completed` the machine runs at the target, and must never run here again. */
export interface MigrateResult {
  readonly status: MigrationStatus;
}

/** The target says that it does not run the machine and never will. */
class TargetRefusal extends MigrationError {}

const NOTHING = new Uint8Array(0);
const REMARK = 'the machine here goes on as if nothing had been';
const reasonOf = (error: unknown): string => (error instanceof Error ? error.message.replace(/^migration: /, '') : String(error));

class Outgoing {
  private readonly out: ContainerWriter;
  private readonly back: ControlReader;
  private readonly blocks: readonly RamBlock[];
  private readonly startMs: number;
  private passes = 0;
  private dirtyRate = 0;
  private sentPages = 0;
  private clearPages = 0;
  private share = 0;
  private phase: MigrationStatus['phase'] = 'setup';
  private downtimeMs: number | null = null;
  private target = '';
  /** How far the hand-over has come: all was sent and the target may wait; the machine was given away. */
  private custody: 'ours' | 'offered' | 'given' = 'ours';
  private stopMs: number | null = null;

  constructor(
    private readonly machine: LiveMachine,
    private readonly link: Link,
    private readonly options: MigrateOptions,
  ) {
    this.out = new ContainerWriter(link.sink);
    this.back = new ControlReader(link.source);
    this.blocks = machine.ram();
    this.startMs = options.clock.nowMs();
  }

  status(remainingBytes = 0): MigrationStatus {
    const elapsedMs = this.options.clock.nowMs() - this.startMs;
    const throughput = elapsedMs > 0 ? (this.out.bytes / elapsedMs) * 1000 : 0;
    return {
      phase: this.phase,
      passes: this.passes,
      transferredBytes: this.out.bytes,
      remainingBytes,
      totalBytes: this.blocks.reduce((sum, { bytes }) => sum + bytes.length, 0),
      sentPages: this.sentPages,
      clearPages: this.clearPages,
      throttle: this.share,
      elapsedMs,
      throughput,
      dirtyRate: this.dirtyRate,
      expectedDowntimeMs: throughput > 0 ? (remainingBytes / throughput) * 1000 : 0,
      downtimeMs: this.downtimeMs,
    };
  }

  async run(): Promise<MigrateResult> {
    const { machine } = this;
    machine.dirty.start();
    try {
      await this.setUp();
      await this.handOver(await this.preCopy());
      await this.expect('running');
      // From here on nobody needs to ask.
      await sayTo(this.out, { say: 'done' }).catch(() => {});
    } catch (error) {
      this.options.throttle?.(0);
      const cause = (await this.lastWord(error)) ?? error;
      if (this.custody !== 'given' || (await this.owner(cause)) === 'source') throw this.fail(cause);
    } finally {
      machine.dirty.stop();
    }
    this.downtimeMs = this.options.clock.nowMs() - (this.stopMs ?? 0);
    this.tell('completed');
    return { status: this.status() };
  }

  /** Stops the machine, sends what is left of it, and gives it away. */
  private async handOver(rest: readonly Uint32Array[]): Promise<void> {
    const { machine, options } = this;
    await machine.pause();
    this.stopMs = options.clock.nowMs();
    this.phase = 'hand-over';
    assertMigratable(machine, 'migrate this machine');
    await options.onStopped?.();
    await this.sendRest(rest);
    await this.expect('ready');
    this.custody = 'given';
    await sayTo(this.out, { say: 'go' });
  }

  private tell(phase: MigrationStatus['phase']): void {
    this.phase = phase;
    this.options.onStatus?.(this.status());
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
      this.tell('failed');
      throw new MigrationError('undecided', message);
    }
    this.tell('waiting');
    // A target that still listens on the old line is to notice.
    this.link.close();
    recovery.onWaiting?.(`${message} Trying to reach the target, whose answer settles it.`);
    if ((await reclaim(this.asker(recovery))) === 'theirs') return 'target';
    this.custody = 'offered';
    return 'source';
  }

  private asker(recovery: SourceRecovery): Asker {
    const { witness = noWitness, clock } = this.options;
    return { recovery, who: witness.me, sleep: (ms) => clock.sleep(ms) };
  }

  /** The machine goes on here. */
  private fail(error: unknown): MigrationError {
    this.tell(error instanceof MigrationError && error.code === 'cancelled' ? 'cancelled' : 'failed');
    // Whoever waits for the machine there is to know that it stays here.
    if (this.custody !== 'given') void sayTo(this.out, { say: 'cancelled' }).catch(() => {});
    if (this.custody === 'offered' && !(error instanceof TargetRefusal)) void this.tellTarget();
    if (this.stopMs !== null) this.machine.resume();
    if (error instanceof MigrationError && error.code !== 'truncated') return error;
    return new MigrationError('link', `the migration failed: ${reasonOf(error)}; ${REMARK}`);
  }

  /** A target that has all of the machine may wait for this source to come back. */
  private async tellTarget(): Promise<void> {
    const { recovery } = this.options;
    if (!recovery || (await tellKept(this.asker(recovery))) !== 'theirs') return;
    await this.machine.pause();
    recovery.onConflict?.();
  }

  private async setUp(): Promise<void> {
    await this.out.begin();
    const { witness = noWitness, recovery } = this.options;
    await sayTo(this.out, { say: 'hello', who: witness.me, session: recovery?.session ?? '' });
    await this.out.value('CONF', this.machine.configuration());
    await this.out.value('RAMB', describeRam(this.blocks));
  }

  /** Sends memory until what is left fits the downtime; returns the pages that are left, as bitmaps. */
  private async preCopy(): Promise<readonly Uint32Array[]> {
    const { machine, options } = this;
    this.phase = 'pre-copy';
    let pending: readonly Uint32Array[] = this.blocks.map(({ bytes }) => new Uint32Array((bytes.length / PAGE_BYTES + 31) >>> 5).fill(0xffff_ffff));
    for (;;) {
      const startMs = options.clock.nowMs();
      await this.sendPages(pending, this.passes === 0);
      this.passes++;
      const passMs = Math.max(1, options.clock.nowMs() - startMs);
      pending = machine.dirty.take();
      const left = countPages(pending) * PAGE_BYTES;
      this.dirtyRate = (left / passMs) * 1000;
      options.onStatus?.(this.status(left));
      const { throughput } = this.status();
      const fits = throughput > 0 && (left / throughput) * 1000 <= (options.downtimeLimitMs ?? 100);
      if (fits || this.passes >= (options.maxPasses ?? 30)) return pending;
      if (this.dirtyRate > throughput * 0.8) this.holdBack();
    }
  }

  /** A guest that dirties about as fast as the line takes gets less of its time, with each pass in which it does. */
  private holdBack(): void {
    const { throttle, throttleSteps: { initial, increment, most } = { initial: 0.2, increment: 0.1, most: 0.99 } } = this.options;
    if (!throttle) return;
    this.share = Math.min(most, this.share === 0 ? initial : this.share + increment);
    throttle(this.share);
  }

  /** With the machine stopped: nobody may have started an L2 in the meantime. */
  private async sendRest(before: readonly Uint32Array[]): Promise<void> {
    const last = this.machine.dirty.take();
    const all = before.map((bitmap, block) => bitmap.map((word, i) => word | (last[block]![i] ?? 0)));
    await this.sendPages(all, false);
    for (const unit of saveUnits(this.machine)) await this.out.value('UNIT', unit);
    this.custody = 'offered';
    await this.out.end();
  }

  /** Sends the pages of bitmaps; on the first pass pages of zeros are left out, since the target starts with zeros. */
  private async sendPages(pending: readonly Uint32Array[], first: boolean): Promise<void> {
    for (const [block, bitmap] of pending.entries()) {
      for (const { firstPage, pages, zero } of pageSpans(this.blocks[block]!.bytes, bitmap)) {
        if (zero) this.clearPages += pages;
        else this.sentPages += pages;
        if (!zero) await this.sendRun(block, firstPage, pages);
        else if (!first) await this.out.section('PAGE', ...encodeRun({ block, firstPage, pages, encoding: 'zero', data: NOTHING }));
      }
    }
  }

  private async sendRun(block: number, page: number, pages: number): Promise<void> {
    const { signal, bandwidth, clock, compression } = this.options;
    if (signal?.aborted) throw new MigrationError('cancelled', `the migration was cancelled; ${REMARK}`);
    await writeRun(this.out, this.blocks, block, page, pages, compression === 'deflate');
    if (bandwidth === undefined) return;
    const aheadMs = (this.out.bytes / bandwidth) * 1000 - (clock.nowMs() - this.startMs);
    if (aheadMs > 1) await clock.sleep(aheadMs);
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

function countPages(bitmaps: readonly Uint32Array[]): number {
  let count = 0;
  for (const bitmap of bitmaps) for (const word of bitmap) for (let bits = word; bits !== 0; bits &= bits - 1) count++;
  return count;
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
