/** Moves a machine that runs in a page to another one over a MessagePort; the test calls it there. */
import { createEventLoopHost, type Machine } from '@nestvm/machine';
import { createMessagePortLink, type MessagePortLike, type MigrationStatus, migrateIn, migrateOut } from '@nestvm/migration';
import { countMachine } from './count-machine.js';

/** What both machines printed, and how the move and the guest ended. */
export interface Moved {
  readonly first: string;
  readonly second: string;
  readonly outcome: string;
  readonly status: MigrationStatus;
}

/** One of the two machines, made alike. */
class Half {
  text = '';
  running: Promise<unknown> = Promise.resolve();
  readonly machine: Machine;
  onText: () => void = () => {};

  constructor(incoming: boolean) {
    const print = (character: string): void => {
      this.text += character;
      this.onText();
    };
    this.machine = countMachine(print, { clock: { kind: 'host' }, host: createEventLoopHost(globalThis), incoming });
  }

  readonly run = (): void => void (this.running = this.machine.run());

  readonly pause = async (): Promise<void> => {
    this.machine.stop();
    await this.running;
  };
}

/** Moves the machine when its guest has printed `line`. */
export async function moveOverPort(line: string): Promise<Moved> {
  const [from, to] = [new Half(false), new Half(true)];
  const { port1, port2 } = new MessageChannel();
  const printed = new Promise<void>((resolve) => {
    from.onText = () => {
      if (from.text.includes(line)) resolve();
    };
  });
  from.run();
  await printed;
  const arrived = migrateIn(to.machine.migratable, createMessagePortLink(port2 as unknown as MessagePortLike)).then(async ({ confirm }) => {
    await confirm();
    to.run();
  });
  const live = { ...from.machine.migratable, pause: from.pause, resume: from.run };
  const clock = { nowMs: () => performance.now(), sleep: (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms)) };
  const { status } = await migrateOut(live, createMessagePortLink(port1 as unknown as MessagePortLike), { clock });
  await arrived;
  const outcome = JSON.stringify(await to.running);
  return { first: from.text, second: to.text, outcome, status };
}

Object.assign(globalThis, { moveOverPort });
