import { VirtioBalloon } from '@nestvm/devices/virtio';
import type { Machine } from '@nestvm/machine';
import { UsageError } from '../errors.js';

const PAGE_BYTES = 4096;
/** Shortest time between two events about the balloon, in ms. */
const EVENT_MS = 1000;

/** The machine's balloon; throws `UsageError` when there is none. */
function balloonOf(machine: Machine): VirtioBalloon {
  const balloon = findBalloon(machine);
  if (balloon) return balloon;
  throw new UsageError('No balloon device has been activated; start with -device virtio-balloon-pci');
}

export const findBalloon = ({ platform }: Pick<Machine, 'platform'>): VirtioBalloon | undefined =>
  platform.virtio.map(({ device }) => device).find((device) => device instanceof VirtioBalloon);

/** Bytes of memory that the guest has beside its balloon. */
export const guestBytes = (machine: Machine): number => machine.config.memoryBytes - balloonOf(machine).actual * PAGE_BYTES;

/** Asks the guest to get along with so many bytes; more than it has is all. */
export function askForMemory(machine: Machine, bytes: number): void {
  const all = machine.config.memoryBytes;
  balloonOf(machine).target = Math.floor((all - Math.min(bytes, all)) / PAGE_BYTES);
}

/** `info balloon`: the size, and what the guest said of its memory when it was asked last; asks again. */
export function describeBalloon(machine: Machine): string[] {
  const balloon = balloonOf(machine);
  const statistics = Object.entries(balloon.statistics ?? {}).map(([name, value]) => `  ${name}: ${value}`);
  balloon.requestStatistics();
  return [`balloon: actual=${Math.floor(guestBytes(machine) / 2 ** 20)}`, ...statistics];
}

/** A turn of waiting, which is longer on a busy host, where the guest gets less done and sending takes longer, too. */
const TURN_MS = 5;
/** Turns in which a guest has to begin to name its free pages. */
const FIRST_TURNS = 10;
/** Most turns that are waited for pages that come, which are taken all the same later. */
const MOST_TURNS = 50;
/** What a line takes, if nobody says that it is less. */
const LINE_BYTES_PER_MS = 2 ** 18;

/** How {@link hintFreePages} waits. */
export interface HintOptions {
  readonly sleep: (ms: number) => Promise<void>;
  readonly lineBytesPerMs?: number;
}

/**
 * Has a running guest with a balloon name its free pages, which are cleared as they come, so that nobody needs to send them. Resolves when it has named all, or as
 * soon as sending would be faster than waiting; pages that come then are still taken. The result ends it: the guest has its pages back.
 */
export async function hintFreePages(
  machine: Pick<Machine, 'platform'>,
  { sleep, lineBytesPerMs = LINE_BYTES_PER_MS }: HintOptions,
): Promise<() => void> {
  const balloon = findBalloon(machine);
  if (!balloon?.startHinting()) return () => {};
  const before = balloon.clearedBytes;
  const spared = (): number => (balloon.clearedBytes - before) / (lineBytesPerMs * TURN_MS);
  for (let turn = 0; !balloon.hinted && turn < Math.min(MOST_TURNS, FIRST_TURNS + spared()); turn++) await sleep(TURN_MS);
  let ended = false;
  return () => {
    if (!ended) balloon.endHinting();
    ended = true;
  };
}

/** Tells of changes: the first at once, then one in a while with the size by then. The result ends it. */
export function watchBalloon(machine: Machine, tell: (actual: number) => void): () => void {
  const balloon = findBalloon(machine);
  if (!balloon) return () => {};
  let timer: NodeJS.Timeout | undefined;
  let changed = false;
  const report = (): void => {
    changed = false;
    tell(guestBytes(machine));
    timer = setTimeout(() => {
      timer = undefined;
      if (changed) report();
    }, EVENT_MS);
    timer.unref();
  };
  balloon.onChange = () => {
    changed = true;
    if (timer === undefined) report();
  };
  return () => clearTimeout(timer);
}
