/** A loaded guest is moved again and again while processes are killed and lines fail: who runs it afterwards? */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createFaultyLine, faults, words } from './faulty-line.mjs';
import { COUNT, PROMPT } from './migration.mjs';
import { check, debian, Guest, pause, scratch, within } from './player.mjs';

/** A line on which nothing has moved for so long is given up. */
const LINE_TIMEOUT_MS = 8000;
/** Everything is over long before, but on a host that is busy with other things; a migration that still goes on would look like one that left two guests. */
const PATIENCE_MS = 900_000;

/** Most moves of an idle host are over by then: random moments lie before. */
const LONGEST_MOVE_MS = 1500;

const ticksSince = (guest, from) => (guest.output.slice(from).match(/tick \d+/g) ?? []).length;

/** Resolves to those of the guests whose consoles go on: the first that does, and those that do by the time that it has come 20 ticks further. */
async function running(...guests) {
  const from = guests.map((guest) => guest.output.length);
  const ticks = () => guests.map((guest, i) => ticksSince(guest, from[i]));
  for (let waited = 0; waited < PATIENCE_MS && Math.max(...ticks()) < 20; waited += 50) {
    if (guests.every((guest) => guest.ending !== undefined)) break;
    await pause(50);
  }
  const counts = ticks();
  return guests.filter((_, i) => counts[i] > 0);
}

/** One migration: the guest `here`, a target that waits, the line between them, and the answer to come. */
class Attempt {
  constructor(here, name, folder, args) {
    this.here = here;
    this.name = name;
    this.folder = folder;
    this.args = args;
    this.checkpoint = join(folder, `${name}.checkpoint`);
  }

  async start() {
    const { here, name, folder, args, checkpoint } = this;
    const [front, back] = [join(folder, `${name}.line`), join(folder, `${name}.target`)];
    this.there = new Guest(name, folder, [...args, '-incoming', `unix:${back}`]);
    await this.there.ask(`migrate_set_parameter x-line-timeout ${LINE_TIMEOUT_MS}`);
    await here.ask(`migrate_set_parameter x-line-timeout ${LINE_TIMEOUT_MS}`);
    await here.ask(`migrate_set_parameter x-checkpoint ${checkpoint}`);
    this.line = createFaultyLine(front, back, Math.random() * 6000);
    this.answer = here.ask(`migrate unix:${front}`).catch(() => '');
  }

  /** The guest from its checkpoint, when the source had come so far. */
  async fromCheckpoint() {
    const again = new Guest(`${this.name}-again`, this.folder, [...this.args, '-loadvm', this.checkpoint]);
    check((await running(again)).length === 1, `the checkpoint does not go on: ${again.output.slice(-300)}`);
    return again;
  }
}

/** The source was killed: the target has the guest, or the checkpoint that was made before the line was opened. */
async function afterSource(attempt) {
  const { there, checkpoint } = attempt;
  if ((await running(there)).length === 1)
    return { survivor: there, told: /it goes on here/.test(there.output) ? 'source killed: the target inherits' : 'source killed: handed over' };
  const ending = await within(PATIENCE_MS, there.ended);
  check(ending === 1 && /source has gone[^]*not started/.test(there.output), `the source died; the target: ${ending} ${there.output.slice(-300)}`);
  check(existsSync(checkpoint), 'the source died while it migrated, and there is no checkpoint');
  return { survivor: await attempt.fromCheckpoint(), told: 'source killed: from its checkpoint' };
}

/** The target was killed: the source goes on. */
async function afterTarget({ here, answer }) {
  const said = await within(PATIENCE_MS, answer, 'no answer');
  // The target had said that it runs the guest, and the source had no time to tell of it.
  if (said.includes('migrated to')) return { survivor: undefined, told: 'target killed after the move: the guest died with its process' };
  check(/goes on as if nothing had been/.test(said), `the target died; the source: ${said}`);
  check((await running(here)).length === 1, `the target died, and the source does not go on: ${said}`);
  return { survivor: here, told: 'target killed: the source goes on' };
}

/** The line failed: exactly one side runs the guest, for the source comes back over another line and asks. */
async function afterLine({ here, there, answer }, fault) {
  const said = await within(PATIENCE_MS, answer, 'no answer');
  const again = () => (/waiting|trying/i.test(there.output + said) ? ', after another line' : '');
  const alive = await running(here, there);
  const state = there.ending === undefined ? await there.ask('info status') : 'ended';
  check(alive.length === 1, `${fault}: ${alive.length} sides run the guest: ${said}; the target (${state}): ${there.output.slice(-500)}`);
  if (alive[0] === there) return { survivor: there, told: `${fault}: the target runs it${again()}` };
  return { survivor: here, told: `${fault}: the source goes on${again()}` };
}

/** Makes something go wrong, at a random moment of the migration or in its hand-over; false when that was over before. */
async function disturb({ answer, line, here, there }, what) {
  const process_ = { source: here, target: there }[what];
  const isOver = (/** @type {Promise<unknown>} */ moment) => Promise.race([answer.then(() => true), moment.then(() => false)]);
  if (await isOver(line.opened)) return false;
  if (Math.random() < 0.5) {
    if (await isOver(pause(Math.random() * LONGEST_MOVE_MS))) return false;
    if (process_) await process_.kill();
    else line.fail(what);
    return true;
  }
  const word = words[Math.floor(Math.random() * words.length)];
  // A process is killed with its word on the way; else the word itself is lost.
  line.failAt(word, process_ ? 'stall' : what);
  if (await isOver(line.hasFailed)) return false;
  await process_?.kill();
  return true;
}

/** Who has the guest when something has gone wrong, or nothing. */
async function outcomeOf(attempt, what) {
  if (!(await disturb(attempt, what))) return { ...(await afterLine(attempt, 'nothing')), untouched: true };
  if (what === 'source') return afterSource(attempt);
  return what === 'target' ? afterTarget(attempt) : afterLine(attempt, what);
}

/** Whether the file into which the guest counts has every number: what it has been through has damaged nothing. */
async function assertWhole(guest, what) {
  let said = '';
  // Ticks come between, and may come into the middle of a word.
  for (let i = 0; i < 5; i++) {
    said = await guest.shell("cp /tmp/file /tmp/copy; seq 0 $(($(wc -l </tmp/copy)-1)) | cmp - /tmp/copy && echo 'who''le'");
    if (/^whole$/m.test(said)) return;
  }
  check(false, `${what}: the guest's file is damaged: ${said.slice(-500)}`);
}

async function once(here, name, folder, args) {
  const attempt = new Attempt(here, name, folder, args);
  await attempt.start();
  const what = ['source', 'target', ...faults][Math.floor(Math.random() * 5)];
  const outcome = await outcomeOf(attempt, what);
  for (const guest of [here, attempt.there]) if (guest !== outcome.survivor) await guest.kill();
  attempt.line.close();
  if (outcome.survivor) await assertWhole(outcome.survivor, outcome.told);
  rmSync(attempt.checkpoint, { force: true });
  return outcome;
}

/**
 * kill -9 of either side, cut, silent and damaged lines at random moments of migrations: never both run, and one that can run is left each time. Tries in which the
 * migration was over before something went wrong count for nothing.
 */
export async function faultsWhileMoving(name, machine, { tries, report }) {
  const folder = scratch();
  const args = debian('initrd.cpio', '', ...machine);
  const counts = new Map();
  let here;
  let made = 0;
  const start = async (number) => {
    here = new Guest(`${name}-${number}-new`, folder, args);
    await here.waitFor(PROMPT);
    await here.shell(COUNT);
  };
  const told = () => `${made} tries: ${[...counts].map(([text, count]) => `${text} ${count}`).join('; ')}`;
  try {
    for (let i = 1; made < tries; i++) {
      check(i <= 4 * tries + 20, `most migrations are over before anything goes wrong: ${told()}`);
      if (!here) await start(i);
      const { survivor, told: what, untouched } = await once(here, `${name}-${i}`, folder, args);
      counts.set(what, (counts.get(what) ?? 0) + 1);
      here = survivor;
      if (!survivor || untouched) continue;
      made++;
      if (made % 25 === 0 && made < tries) report(told());
    }
    report(told());
  } finally {
    await here?.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}
