/** A loaded guest is moved again and again while processes are killed and lines fail: who runs it afterwards? */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createFaultyLine, faults, words } from './faulty-line.mjs';
import { COUNT, PROMPT } from './migration.mjs';
import { check, debian, Guest, pause, scratch } from './player.mjs';

/** A line on which nothing has moved for so long is given up. */
const LINE_TIMEOUT_MS = 8000;
/** Everything is over long before, but on a host that is busy with other things; a migration that still goes on would look like one that left two guests. */
const PATIENCE_MS = 900_000;

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
    void this.answer.then((said) => {
      this.said = said;
    });
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
  const { there, line, checkpoint } = attempt;
  if (!line.opened) return { survivor: undefined, told: 'source killed before the migration had begun' };
  // A busy host may have let the line time out before.
  if (/goes on as if nothing had been/.test(attempt.said ?? '')) return { survivor: undefined, told: 'source killed after its migration had failed' };
  if ((await running(there)).length === 1)
    return { survivor: there, told: /it goes on here/.test(there.output) ? 'source killed: the target inherits' : 'source killed: handed over' };
  const ending = await Promise.race([there.ended, pause(PATIENCE_MS)]);
  check(ending === 1 && /source has gone[^]*not started/.test(there.output), `the source died; the target: ${ending} ${there.output.slice(-300)}`);
  check(existsSync(checkpoint), 'the source died while it migrated, and there is no checkpoint');
  return { survivor: await attempt.fromCheckpoint(), told: 'source killed: from its checkpoint' };
}

/** The target was killed: the source goes on, unless the guest ran at the target already. */
async function afterTarget({ here, answer }) {
  const said = await Promise.race([answer, pause(PATIENCE_MS).then(() => 'no answer')]);
  if (said.includes('migrated to')) return { survivor: undefined, told: 'target killed after the move: the guest died with its process' };
  check(/goes on as if nothing had been/.test(said), `the target died; the source: ${said}`);
  check((await running(here)).length === 1, `the target died, and the source does not go on: ${said}`);
  return { survivor: here, told: 'target killed: the source goes on' };
}

/** The line failed: exactly one side runs the guest, for the source comes back over another line and asks. */
async function afterLine({ here, there, answer }, fault) {
  const said = await Promise.race([answer, pause(PATIENCE_MS).then(() => 'no answer')]);
  const again = () => (/waiting|trying/i.test(there.output + said) ? ', after another line' : '');
  const alive = await running(here, there);
  const state = there.ending === undefined ? await there.ask('info status') : 'ended';
  check(alive.length === 1, `${fault}: ${alive.length} sides run the guest: ${said}; the target (${state}): ${there.output.slice(-500)}`);
  if (alive[0] === there) return { survivor: there, told: `${fault}: the target runs it${again()}` };
  return { survivor: here, told: `${fault}: the source goes on${again()}` };
}

/** Makes something go wrong, at a random moment or in the hand-over. */
async function disturb({ answer, line, here, there }, what) {
  const process_ = { source: here, target: there }[what];
  if (Math.random() < 0.5) {
    await Promise.race([answer, pause(Math.random() * 4000)]);
    if (process_) await process_.kill();
    else line.fail(what);
    return;
  }
  const word = words[Math.floor(Math.random() * words.length)];
  // A process is killed with its word on the way; else the word itself is lost.
  line.failAt(word, process_ ? 'stall' : what);
  await Promise.race([answer, line.hasFailed]);
  await process_?.kill();
}

async function once(here, name, folder, args) {
  const attempt = new Attempt(here, name, folder, args);
  await attempt.start();
  const what = ['source', 'target', ...faults][Math.floor(Math.random() * 5)];
  await disturb(attempt, what);
  const outcome = what === 'source' ? await afterSource(attempt) : what === 'target' ? await afterTarget(attempt) : await afterLine(attempt, what);
  for (const guest of [here, attempt.there]) if (guest !== outcome.survivor) await guest.kill();
  attempt.line.close();
  rmSync(attempt.checkpoint, { force: true });
  return outcome;
}

/** kill -9 of either side, cut, silent and damaged lines at random moments: never both run, and one that can run is left wherever the machine had been stopped. */
export async function faultsWhileMoving(name, machine, { tries, report }) {
  const folder = scratch();
  const args = debian('initrd.cpio', '', ...machine);
  const counts = new Map();
  let here;
  const start = async (number) => {
    here = new Guest(`${name}-${number}-new`, folder, args);
    await here.waitFor(PROMPT);
    await here.shell(COUNT);
  };
  try {
    for (let i = 1; i <= tries; i++) {
      if (!here) await start(i);
      const { survivor, told } = await once(here, `${name}-${i}`, folder, args);
      counts.set(told, (counts.get(told) ?? 0) + 1);
      here = survivor;
      if (i % 25 === 0) report(`${i} tries: ${[...counts].map(([text, count]) => `${text} ${count}`).join('; ')}`);
    }
    report([...counts].map(([text, count]) => `${text} ${count}`).join('; '));
  } finally {
    await here?.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}
