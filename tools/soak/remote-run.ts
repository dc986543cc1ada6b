/** A run of a guest in a process of its own. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Checkpoint, Run, Way } from './compare.js';
import type { GuestOrder, Variant } from './guests.js';

/** To the process. */
export interface Request {
  readonly untilNs: number;
  readonly withDigest: boolean;
}

/** From the process: where it stands, or why it could not go on. */
export interface Answer extends Checkpoint {
  readonly console?: string;
  readonly counters?: Readonly<Record<string, number>>;
  readonly cpuSeconds?: number;
  readonly failed?: string;
}

/** What somebody who watches is told at each checkpoint. */
export type Watcher = (way: string, answer: Answer) => void;

const program = fileURLToPath(new URL('./guest-process.ts', import.meta.url));

class RemoteRun implements Run {
  private readonly child: ChildProcess;
  private pending: { readonly done: (answer: Answer) => void; readonly fail: (error: Error) => void } | undefined;
  private gone: string | undefined;

  constructor(
    private readonly name: string,
    guest: GuestOrder,
    variant: Variant,
    private readonly watcher: Watcher | undefined,
  ) {
    this.child = fork(program, [JSON.stringify({ guest, variant })], { execArgv: ['--import', 'tsx', '--conditions=@nestvm/source'] });
    this.child.on('message', (answer: Answer) => {
      if (answer.failed === undefined) this.pending?.done(answer);
      else this.pending?.fail(new Error(`${name}: ${answer.failed}`));
    });
    this.child.on('close', (status, signal) => {
      this.gone = `${name}: its process ended with ${signal ?? `status ${status}`}`;
      this.pending?.fail(new Error(this.gone));
    });
  }

  async advance(untilNs: number, withDigest: boolean): Promise<Checkpoint> {
    if (this.gone !== undefined) throw new Error(this.gone);
    const answer = await new Promise<Answer>((done, fail) => {
      this.pending = { done, fail };
      this.child.send({ untilNs, withDigest } satisfies Request);
    });
    this.pending = undefined;
    this.watcher?.(this.name, answer);
    return answer;
  }

  close(): void {
    this.child.kill('SIGKILL');
  }
}

/** A way to run a guest, in a process. */
export const remoteWay = (name: string, guest: GuestOrder, variant: Variant, watcher?: Watcher): Way => ({
  name,
  start: () => new RemoteRun(name, guest, variant, watcher),
});
