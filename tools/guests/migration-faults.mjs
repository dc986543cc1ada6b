/** A loaded guest is moved again and again while processes are killed and lines fail: who runs it afterwards? */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createFaultyLine, faults } from './faulty-line.mjs';
import { COUNT, PROMPT } from './migration.mjs';
import { check, debian, Guest, pause, scratch } from './player.mjs';

/** A line on which nothing has moved for so long is given up. */
const LINE_TIMEOUT_MS = 3000;

/** True when a guest's console goes on. */
async function runs(guest) {
  if (guest.ending !== undefined) return false;
  const from = guest.output.length;
  return guest.waitFor(/tick \d+/, { minutes: 0.3, from }).then(
    () => true,
    () => false,
  );
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
    this.line = createFaultyLine(front, back);
    this.answer = here.ask(`migrate unix:${front}`).catch(() => '');
  }

  /** The guest from its checkpoint, when the source had come so far. */
  async fromCheckpoint() {
    const again = new Guest(`${this.name}-again`, this.folder, [...this.args, '-loadvm', this.checkpoint]);
    check(await runs(again), `the checkpoint does not go on: ${again.output.slice(-300)}`);
    return again;
  }
}

/** The source was killed: the target has the guest, or its checkpoint; or it had not been stopped yet, and has died with its process. */
async function afterSource(attempt) {
  const { there, line, checkpoint } = attempt;
  if (!line.opened) return { survivor: undefined, told: 'source killed before it had begun' };
  if (await runs(there))
    return { survivor: there, told: /it goes on here/.test(there.output) ? 'source killed: the target inherits' : 'source killed: handed over' };
  const ending = await Promise.race([there.ended, pause(20_000)]);
  check(ending === 1 && /source has gone[^]*not started/.test(there.output), `the source died; the target: ${ending} ${there.output.slice(-300)}`);
  if (existsSync(checkpoint)) return { survivor: await attempt.fromCheckpoint(), told: 'source killed: from its checkpoint' };
  return { survivor: undefined, told: 'source killed before the stop: the guest died with its process' };
}

/** The target was killed: the source goes on, unless the guest ran at the target already. */
async function afterTarget({ here, answer }) {
  const said = await Promise.race([answer, pause(30_000).then(() => 'no answer')]);
  if (said.includes('migrated to')) return { survivor: undefined, told: 'target killed after the move: the guest died with its process' };
  check(/goes on as if nothing had been/.test(said), `the target died; the source: ${said}`);
  check(await runs(here), `the target died, and the source does not go on: ${said}`);
  return { survivor: here, told: 'target killed: the source goes on' };
}

/** The line failed: one side runs the guest; when neither does, the source says that it may go on if the target does not run it. */
async function afterLine({ here, there, answer }, fault) {
  const said = await Promise.race([answer, pause(60_000).then(() => 'no answer')]);
  const [source, target] = await Promise.all([runs(here), runs(there)]);
  check(!(source && target), `${fault}: both sides run the guest: ${said}`);
  if (target) return { survivor: there, told: `${fault}: the target runs it` };
  if (source) return { survivor: here, told: `${fault}: the source goes on` };
  check(/stays stopped[^]*continue here \(cont\)/.test(said), `${fault}: neither side runs the guest, and the source says: ${said}`);
  await here.ask('cont');
  check(await runs(here), `${fault}: the source does not go on by cont`);
  return { survivor: here, told: `${fault} in the hand-over: a person decides, and the source goes on` };
}

async function once(here, name, folder, args) {
  const attempt = new Attempt(here, name, folder, args);
  await attempt.start();
  await Promise.race([attempt.answer, pause(Math.random() * 4000)]);
  const what = ['source', 'target', ...faults][Math.floor(Math.random() * 5)];
  if (what === 'source') await here.kill();
  else if (what === 'target') await attempt.there.kill();
  else attempt.line.fail(what);
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
