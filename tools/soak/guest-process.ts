/** A process that runs one guest, from checkpoint to checkpoint as its parent says (`remote-run.ts`). */
import { createHash } from 'node:crypto';
import { createEventLoopHost, createMachine, type MachineOutcome } from '../../packages/machine/src/index.js';
import { digestOf } from './digest.js';
import { machineOptions, type RunOrder } from './guests.js';
import type { Answer, Request } from './remote-run.js';

const order = JSON.parse(process.argv[2]!) as RunOrder;
const printed = createHash('sha1');
let length = 0;
let fresh = '';
const machine = createMachine({
  ...machineOptions(order, (byte) => {
    printed.update(Uint8Array.of(byte));
    fresh += String.fromCharCode(byte);
  }),
  host: createEventLoopHost(globalThis),
});
const checkpoint = machine.clock.createTimer('checkpoint', () => machine.stop());
let ending: MachineOutcome | undefined;

/** How a guest ended, with all that it printed. */
const endOf = (outcome: MachineOutcome): string =>
  `${JSON.stringify(outcome)} after ${machine.retired} instructions, console ${printed.copy().digest('hex').slice(0, 20)}`;

async function advance({ untilNs, withDigest }: Request): Promise<Answer> {
  if (ending === undefined) {
    checkpoint.arm(untilNs);
    const outcome = await machine.run();
    checkpoint.cancel();
    if (outcome.kind !== 'stopped') ending = outcome;
  }
  length += fresh.length;
  const console_ = fresh;
  fresh = '';
  const { jit, drops } = machine;
  return {
    console: console_,
    counters: { ...(jit ? { regions: jit.counters.regions, flushes: jit.counters.flushes } : {}), ...drops?.counters },
    cpuSeconds: process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6,
    ...(ending ? { ended: endOf(ending) } : {}),
    ...(withDigest ? { digest: { ...digestOf(machine), console: `${length} characters, ${printed.copy().digest('hex').slice(0, 20)}` } } : {}),
  };
}

process.on('message', (request: Request) => {
  void advance(request).then(
    (answer) => process.send!(answer),
    (error: unknown) => {
      process.send!({ failed: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    },
  );
});
process.on('disconnect', () => process.exit());
