import { ContainerWriter } from './container.js';
import { ControlReader, type Link, sayTo } from './link.js';

/** How a source finds its target again when the line breaks in the hand-over. */
export interface SourceRecovery {
  /** Names this migration; nobody else may be able to guess it. */
  readonly session: string;
  /** Another line to the same target; rejects when there is none now. */
  reconnect(): Promise<Link>;
  /** Told once: the machine stands still until the target has answered, or `decided` is aborted. */
  readonly onWaiting?: (message: string) => void;
  /** Aborted by who has made sure that the target does not run the machine: it goes on here. */
  readonly decided?: AbortSignal;
  /** The target runs the machine although somebody has decided that it goes on here, where it was stopped again. */
  readonly onConflict?: () => void;
}

/** What asking a target needs of its source. */
export interface Asker {
  readonly recovery: SourceRecovery;
  /** The witness's words. */
  readonly who: string;
  /** Whether the machine stood still before it moved. */
  readonly stopped: boolean;
  sleep(milliseconds: number): Promise<void>;
}

/** Between two tries, at first and at most. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5000;
/** Tries to tell the target that it waits in vain. */
const MOST_TRIES = 200;

/** Asks over a line of its own who has the machine, and says `word` to a target that waits. Null: no answer, or none that says anything. */
async function ask({ recovery, who, stopped }: Asker, word: 'go' | 'cancelled'): Promise<'theirs' | 'told' | null> {
  let link: Link | undefined;
  try {
    link = await recovery.reconnect();
    const out = new ContainerWriter(link.sink);
    const back = new ControlReader(link.source);
    await out.begin();
    await sayTo(out, { say: 'hello', who, session: recovery.session, again: true });
    let { say } = await back.next();
    if (say === 'ready') {
      await sayTo(out, word === 'go' ? { say: word, stopped } : { say: word });
      ({ say } = await back.next());
      if (say === 'done' && word === 'cancelled') return 'told';
    }
    if (say !== 'running') return null;
    await sayTo(out, { say: 'done' }).catch(() => {});
    return 'theirs';
  } catch {
    return null;
  } finally {
    link?.close();
  }
}

/** Pauses that grow. */
function* pauses(): Generator<number> {
  for (let ms = FIRST_PAUSE_MS; ; ms = Math.min(2 * ms, LONGEST_PAUSE_MS)) yield ms;
}

const aborted = (signal: AbortSignal | undefined): Promise<null> =>
  new Promise((resolve) => signal?.addEventListener('abort', () => resolve(null), { once: true }));

/** For a machine that was given away before the line broke: asks until the target says that it runs it, or somebody decides that it goes on here. */
export async function reclaim(asker: Asker): Promise<'theirs' | 'ours'> {
  const { decided } = asker.recovery;
  const decision = aborted(decided);
  for (const ms of pauses()) {
    if (decided?.aborted) return 'ours';
    if ((await Promise.race([ask(asker, 'go'), decision])) === 'theirs') return 'theirs';
    await Promise.race([asker.sleep(ms), decision]);
  }
  return 'ours';
}

/** For a machine that stays here: tells a target that may wait with all of it, until it has heard it. `theirs`: it runs there all the same. */
export async function tellKept(asker: Asker): Promise<'theirs' | 'told' | null> {
  let tries = 0;
  for (const ms of pauses()) {
    const answer = await ask(asker, 'cancelled');
    if (answer !== null || ++tries === MOST_TRIES) return answer;
    await asker.sleep(ms);
  }
  return null;
}
