import { ContainerReader, ContainerWriter } from './container.js';
import { MigrationError } from './errors.js';
import { type Control, decodeControl, type Link, sayTo, type Witness } from './link.js';

/** How a target lets its source find it again when the line breaks in the hand-over. */
export interface TargetRecovery {
  /** The next line that somebody opens to this target; never rejects. */
  again(): Promise<Link>;
  /** Told once: all of the machine is here and stands still until the source has come back, or `decided` is aborted. */
  readonly onWaiting?: (message: string) => void;
  /** Aborted by who has made sure that the source does not run the machine: it goes on here. */
  readonly decided?: AbortSignal;
  /** Nobody will ask any more. */
  close?(): void;
}

/** How a machine has come to run here. */
export type Custody = 'handed over' | 'inherited' | 'decided';

/** One connection with the source. */
export interface SourceLine {
  readonly link: Link;
  readonly out: ContainerWriter;
  readonly input: ContainerReader;
}

/** What the source says of itself. */
export interface SourceIdentity {
  readonly who: string;
  /** Empty: it does not come back. */
  readonly session: string;
}

export const REMARK = 'the machine here was not started; the source still has it, if its process lives';

export const reasonOf = (error: unknown): string => (error instanceof Error ? error.message.replace(/^migration: /, '') : String(error));

/** A line on which nothing was said yet. */
export const lineOn = (link: Link): SourceLine => ({ link, out: new ContainerWriter(link.sink), input: new ContainerReader(link.source) });

/** The next message; a section of another kind stands for itself. */
async function nextWord({ input }: SourceLine): Promise<Control | string> {
  const { kind, payload, offset } = await input.next();
  return kind === 'CTRL' ? decodeControl(payload, offset) : kind.trim();
}

type Event =
  | { readonly kind: 'word'; readonly word: Control | string }
  | { readonly kind: 'broken'; readonly error: unknown }
  /** Somebody has come: the source again, or (undefined) somebody else. */
  | { readonly kind: 'visit'; readonly line: SourceLine | undefined }
  | { readonly kind: 'decided' };

/** The end of a migration at the target: all of the machine is here, and the source is to give it away. */
export class TakeOver {
  private line: SourceLine | undefined;
  private reading: Promise<Event> | undefined;
  private visit: Promise<Event> | undefined;
  private waiting = false;
  private decision: Promise<Event> | undefined;
  /** The machine stood still at the source. */
  stopped = false;

  constructor(
    line: SourceLine,
    private readonly source: SourceIdentity,
    private readonly witness: Witness,
    private readonly recovery: TargetRecovery | undefined,
  ) {
    this.line = line;
    const signal = recovery?.decided;
    this.decision = new Promise((resolve) => signal?.addEventListener('abort', () => resolve({ kind: 'decided' }), { once: true }));
  }

  /** Says that all is here, over and over if lines break; resolves when the machine is to run here. */
  async run(): Promise<Custody> {
    await this.tell({ say: 'ready' });
    for (;;) {
      const event = await this.event();
      switch (event.kind) {
        case 'word':
          await this.obey(event.word);
          return 'handed over';
        case 'decided':
          return 'decided';
        case 'visit':
          if (event.line) await this.welcome(event.line, 'ready');
          break;
        case 'broken':
          if (await this.isInherited(event.error)) return 'inherited';
      }
    }
  }

  /** Tells the source that the machine runs here, also when it has to come back to ask. */
  async confirm(): Promise<void> {
    await this.tell({ say: 'running' });
    if (this.canWait) void this.answer();
    else this.line?.link.close();
  }

  private get canWait(): boolean {
    return this.recovery !== undefined && this.source.session !== '';
  }

  private async tell(control: Control): Promise<void> {
    // A line that takes nothing any more is noticed when it is read.
    if (this.line) await sayTo(this.line.out, control).catch(() => {});
  }

  private async welcome(line: SourceLine, say: 'ready' | 'running'): Promise<void> {
    this.line?.link.close();
    this.line = line;
    this.reading = undefined;
    await this.tell({ say });
  }

  /** What happens next: on the line, at the door, or by somebody's decision. */
  private event(): Promise<Event> {
    const { line } = this;
    if (line)
      this.reading ??= nextWord(line).then(
        (word) => ({ kind: 'word', word }),
        (error: unknown) => ({ kind: 'broken', error }),
      );
    if (this.canWait) this.visit ??= this.visitor();
    return Promise.race([this.reading, this.visit, this.decision].filter((one) => one !== undefined)).then((event) => {
      // The others go on.
      if (event.kind === 'visit') this.visit = undefined;
      else if (event.kind === 'decided') this.decision = undefined;
      else this.reading = undefined;
      return event;
    });
  }

  private async visitor(): Promise<Event> {
    const line = lineOn(await this.recovery!.again());
    try {
      await line.input.begin();
      const word = await nextWord(line);
      await line.out.begin();
      const known = typeof word !== 'string' && word.say === 'hello' && word.again === true && word.session === this.source.session;
      if (known) return { kind: 'visit', line };
      await sayTo(line.out, { say: 'refused', why: 'the target waits for the source of another machine' });
    } catch {
      // Whoever it was has gone, or speaks another language.
    }
    line.link.close();
    return { kind: 'visit', line: undefined };
  }

  /** Returns when the source has given the machine away. */
  private async obey(word: Control | string): Promise<void> {
    const say = typeof word === 'string' ? word : word.say;
    if (typeof word !== 'string' && word.say === 'go') {
      this.stopped = word.stopped === true;
      return;
    }
    if (say === 'cancelled') await this.tell({ say: 'done' });
    throw new MigrationError(say === 'cancelled' ? 'cancelled' : 'corrupt', `the source said "${say}" where "go" belongs; ${REMARK}`);
  }

  /** The line broke: true when the source is certain to be dead; else waits for it, or throws where that leads nowhere. */
  private async isInherited(error: unknown): Promise<boolean> {
    const damaged = error instanceof MigrationError && error.code !== 'truncated';
    // A damaged answer comes from a source that is still there: it hears that it keeps the machine.
    if (damaged && !this.canWait) throw error;
    this.line?.link.close();
    this.line = undefined;
    if (this.waiting) return false;
    // Only now: a source that lives may go on with the machine, and its death later would say nothing.
    const fate = damaged || this.source.who === '' ? 'unknown' : await this.witness.judge(this.source.who);
    if (fate === 'dead') return true;
    const known = fate === 'alive' ? 'The source lives, and most likely goes on with it' : 'Whether the source still has it is not known';
    const message = `the line broke when all of the machine was here, but before the source gave it away: ${reasonOf(error)}. ${known}. The machine here is stopped. Look at the source; only if it does not run the machine, go on here (cont).`;
    if (!this.canWait) throw new MigrationError('undecided', message);
    this.waiting = true;
    this.recovery!.onWaiting?.(`${message} Waiting for the source to come back, which settles it.`);
    return false;
  }

  /** Answers a source that has not heard that the machine runs here, until it has. */
  private async answer(): Promise<void> {
    for (;;) {
      const event = await this.event();
      if (event.kind === 'word' && typeof event.word !== 'string' && event.word.say === 'done') break;
      if (event.kind === 'visit' && event.line) await this.welcome(event.line, 'running');
      if (event.kind === 'word' || event.kind === 'broken') {
        this.line?.link.close();
        this.line = undefined;
      }
    }
    this.line?.link.close();
    this.recovery?.close?.();
  }
}
