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

export const findBalloon = ({ platform }: Machine): VirtioBalloon | undefined =>
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

/** Longest that a guest may take to name its free pages. */
const HINTING_MS = 1000;

/** Has a running guest with a balloon name its free pages, which are cleared, so that nobody needs to send them. It has them back when this resolves. */
export async function clearFreePages(machine: Machine): Promise<void> {
  const balloon = findBalloon(machine);
  if (!balloon?.startHinting()) return;
  for (const end = performance.now() + HINTING_MS; !balloon.hinted && performance.now() < end; )
    await new Promise<void>((resolve) => setTimeout(resolve, 5));
  balloon.endHinting();
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
