import { type Arrival, MigrationError } from '@nestvm/migration';
import type { ArrivingDisk } from '../blocks/arriving-disk.js';
import type { MigrationController } from './controller.js';

/** What waits for a machine. */
export interface ArrivalOptions {
  readonly migration: MigrationController;
  /** `-incoming`. */
  readonly uri: string;
  readonly disks: Iterable<ArrivingDisk>;
  /** A line for people. */
  readonly say: (text: string) => void;
}

const WORDS: Readonly<Record<Arrival['how'], string>> = {
  'handed over': '',
  decided: 'the machine goes on here, as was decided',
  inherited: 'the source has died when all of the machine was here; it goes on here',
};

/** Waits for a machine; `undecided` when one is complete, but somebody has to say whether it is to run here; `stopped` when it stood still before. */
export async function takeIn({ migration, uri, disks, say }: ArrivalOptions): Promise<'here' | 'stopped' | 'undecided'> {
  let arrival: Arrival;
  try {
    arrival = await migration.receive(uri);
  } catch (error) {
    if (!(error instanceof MigrationError && error.code === 'undecided')) throw error;
    say(error.message.replace(/^migration: /, ''));
    return 'undecided';
  }
  takeDisks(disks);
  // The source is to hear of it before anything runs: what it does not know, nobody can undo.
  await arrival.confirm();
  if (WORDS[arrival.how] !== '') say(WORDS[arrival.how]);
  return arrival.stopped ? 'stopped' : 'here';
}

/** The images are this machine's now. */
export function takeDisks(disks: Iterable<ArrivingDisk>): void {
  for (const disk of disks) disk.arrive();
}
