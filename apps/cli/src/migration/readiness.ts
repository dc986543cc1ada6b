import { setImmediate as rest } from 'node:timers/promises';
import { type MigratableMachine, type RamBlock, rehearse } from '@nestvm/migration';
import { sleep } from './departure.js';
import { patient } from './patience.js';

/** A page of the host. */
const PAGE_BYTES = 4096;
/** Of a machine's memory so much is made ready, at most: what is not needed then stays with this process all the same. */
const SHARE = 1 / 2;
const MOST_BYTES = 512 << 20;
/** So much at once, which takes about a millisecond. */
const SLICE_BYTES = 2 << 20;
const LONGEST_LINE_MS = 60_000;

/** Has the host give memory for a part of a block: what is there stays. */
function touch(bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; at += PAGE_BYTES) bytes[at]! |= 0;
}

/** Parts of memory: guests take it from the end downwards, and their kernels lie at the beginning. */
function* parts(blocks: readonly RamBlock[], bytes: number): Generator<Uint8Array> {
  const largest = blocks.reduce((one, other) => (other.bytes.length > one.bytes.length ? other : one)).bytes;
  const quarter = Math.min(bytes, largest.length) / 4;
  for (let at = 0; at < quarter; at += SLICE_BYTES) {
    yield largest.subarray(at, at + SLICE_BYTES);
    const end = largest.length - 3 * at;
    for (let slice = 1; slice <= 3; slice++) yield largest.subarray(end - slice * SLICE_BYTES, end - (slice - 1) * SLICE_BYTES);
  }
}

/** What a process can do while it waits for a machine, so that less is left to do when it comes: code is compiled, and the host gives memory. Ends when `signal` is aborted. */
export async function makeReady(machine: MigratableMachine, signal: AbortSignal): Promise<void> {
  const clock = { nowMs: () => performance.now(), sleep };
  await rehearse(machine, {
    clock,
    rest,
    signal,
    dress: (link) =>
      patient(
        link,
        () => LONGEST_LINE_MS,
        () => link.close(),
      ),
  });
  const blocks = machine.ram();
  const all = blocks.reduce((sum, { bytes }) => sum + bytes.length, 0);
  for (const part of parts(blocks, Math.min(all * SHARE, MOST_BYTES))) {
    if (signal.aborted) return;
    touch(part);
    await rest();
  }
}
