import { rmSync } from 'node:fs';
import type { Machine } from '@nestvm/machine';
import { type Link, MigrationError, type MigrationStatus, migrateOut, saveSnapshot, type Witness } from '@nestvm/migration';
import { hintFreePages } from '../monitor/balloon.js';
import { writeWhole } from './file.js';
import { inTime } from './in-time.js';
import type { MigrationParameters } from './parameters.js';
import { recoverSource } from './recovery.js';
import { type LineOptions, openLine, type Place } from './transport.js';

/** What the migration of a session asks of it. */
export interface SessionControl {
  machine(): Machine;
  /** Resolves when no vCPU runs. */
  pause(): Promise<void>;
  resume(): void;
  running(): boolean;
  /** Waits for a machine (`-incoming`). */
  arriving(): boolean;
  /** From the last pause on until it is clear who has the machine, nobody but the migration lets it go on here. */
  handOver(underWay: boolean): void;
  /** The images get all that was written. */
  flushDisks(): Promise<void>;
  /** Another process may have the images from now on, or no more. */
  lendDisks(lent: boolean): void;
  /** Whether the guest can write to the image of a disk: then its memory of a moment ago does not fit its disks of now. */
  hasWritableDisks(): boolean;
}

/** Options of {@link depart}. */
export interface DepartureOptions {
  readonly session: SessionControl;
  readonly parameters: MigrationParameters;
  readonly witness: Witness;
  readonly place: Place;
  readonly line: LineOptions;
  readonly signal: AbortSignal;
  readonly onStatus: (status: MigrationStatus) => void;
  /** The line broke in the hand-over, and the target is being asked; `decide` lets the machine go on here. */
  readonly onOpen: (decide: () => void) => void;
  /** The target runs the machine although it was decided that it goes on here; it was stopped here again. */
  readonly onConflict: () => void;
}

/** A machine on its way to another process. */
export interface Departure {
  /** Resolves when it runs there; rejects when it stays here. */
  readonly ended: Promise<void>;
  /** Resolves to a message for people when it has been open for some seconds who has it. */
  readonly open: Promise<string>;
}

/** Most broken lines are mended, or prove to be gone for good, in this time. */
const GRACE_MS = 5000;

export const reasonOf = (error: unknown): string => (error instanceof Error ? error.message.replace(/^migration: /, '') : String(error));
export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Stops the machine for a moment to keep it as it is before anything is sent: pages that reach the target one by one are no machine yet. */
async function keepBeginning({ session }: DepartureOptions, path: string): Promise<void> {
  const wasRunning = session.running();
  await session.pause();
  try {
    await keepCheckpoint(session.machine(), path);
  } finally {
    if (wasRunning) session.resume();
  }
}

/** The line, with the machine in its checkpoint where one is asked for and its disks do not change under it. */
async function openSafely(options: DepartureOptions, open: () => Promise<Link>): Promise<Link> {
  const { checkpoint } = options.parameters;
  if (checkpoint === '' || options.session.hasWritableDisks()) return open();
  await keepBeginning(options, checkpoint);
  try {
    return await open();
  } catch (error) {
    rmSync(checkpoint, { force: true });
    throw error;
  }
}

/** Keeps the machine, which is stopped, until it is known to run somewhere. */
const keepCheckpoint = (machine: Machine, path: string): Promise<void> =>
  writeWhole(path, (sink) => saveSnapshot(machine.migratable, sink, { compression: 'none' }));

/** What remains to be done when it is clear who has the machine. */
async function settle(moving: Promise<unknown>, onEnd: () => void, checkpoint: string): Promise<void> {
  const dropCheckpoint = (): void => void (checkpoint && rmSync(checkpoint, { force: true }));
  try {
    await moving;
  } catch (error) {
    // Nobody knows who has the machine: what was kept stays.
    if (!(error instanceof MigrationError && error.code === 'undecided')) dropCheckpoint();
    throw error;
  } finally {
    onEnd();
  }
  dropCheckpoint();
}

/** A running guest that can do so begins to name its free pages; the result ends that. */
async function nameFreePages({ session, parameters: { maxBandwidth } }: DepartureOptions): Promise<() => void> {
  if (!session.running()) return () => {};
  return hintFreePages(session.machine(), { sleep, ...(maxBandwidth === 0 ? {} : { lineBytesPerMs: Math.max(1, maxBandwidth / 1000) }) });
}

/** Begins to move the machine; throws `UsageError` when nobody listens there. */
export async function depart(options: DepartureOptions): Promise<Departure> {
  const { session, parameters, place, witness, onStatus, signal, onConflict } = options;
  const { maxBandwidth, downtimeLimitMs, checkpoint, autoConverge, throttleInitial, throttleIncrement, throttleMost } = parameters;
  const machine = session.machine();
  const open = (ending: AbortSignal): Promise<Link> => openLine('migrate', place, { ...options.line, ending });
  const link = await openSafely(options, () => inTime(open, options.line.timeoutMs(), signal));
  const decision = new AbortController();
  let tell: (message: string) => void = () => {};
  const told = new Promise<string>((resolve) => {
    tell = resolve;
  });
  const onWaiting = (message: string): void => {
    options.onOpen(() => decision.abort());
    void sleep(GRACE_MS).then(() => tell(message));
  };
  const recovery = recoverSource(place, open, { onWaiting, decided: decision.signal, onConflict });
  machine.yieldOften(true);
  const endHints = await nameFreePages(options);
  let ran = true;
  const pause = async (): Promise<void> => {
    ran = session.running();
    session.handOver(true);
    await session.pause();
    await session.flushDisks();
    session.lendDisks(true);
  };
  const resume = (): void => {
    session.lendDisks(false);
    session.handOver(false);
    if (ran) session.resume();
  };
  const moving = migrateOut({ ...machine.migratable, pause, resume }, link, {
    clock: { nowMs: () => performance.now(), sleep },
    compression: 'none',
    downtimeLimitMs,
    isStopped: () => !ran,
    witness,
    onStatus: (status) => {
      // What is free now was sent already, or comes with what else has changed.
      if (status.passes > 0) endHints();
      onStatus(status);
    },
    signal,
    ...(recovery ? { recovery } : {}),
    ...(maxBandwidth === 0 ? {} : { bandwidth: maxBandwidth }),
    ...(checkpoint === '' ? {} : { onStopped: () => keepCheckpoint(machine, checkpoint) }),
    throttleSteps: { initial: throttleInitial / 100, increment: throttleIncrement / 100, most: throttleMost / 100 },
    ...(autoConverge ? { throttle: (share: number) => machine.throttle(share) } : {}),
  });
  const onEnd = (): void => {
    session.handOver(false);
    endHints();
    machine.yieldOften(false);
  };
  return { ended: settle(moving, onEnd, checkpoint), open: told };
}
