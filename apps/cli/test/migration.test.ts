import { existsSync, readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { COUNTER, isAlphabetical, listening, options, sizeOf, until } from './counter.js';
import { freePort } from './ports.js';
import { fileOf, guest, nestvm, pathFor, start } from './spawn.js';

const TIMEOUT = 300_000;

/** A line to `target` that breaks when the source gives the machine away: what says so never arrives. Afterwards it carries again, if `heals`. */
function losingGo(path: string, target: string, heals = false): Promise<{ heal: () => void; close: () => void }> {
  let [broken, whole] = [false, false];
  const server = createServer((here) => {
    if (broken && !whole) return void here.destroy();
    const there = connect(target);
    const end = (): void => {
      here.destroy();
      there.destroy();
    };
    // What is looked for may come in two pieces.
    let last = '';
    here.on('data', (data) => {
      last = last.slice(-100) + data.toString('latin1');
      if (!whole) broken = /CTRL[^]{12,60}say[^]{1,9}go/.test(last);
      if (whole || !broken) return void there.write(data);
      whole = heals;
      end();
    });
    there.on('data', (data) => void here.write(data));
    for (const socket of [here, there]) socket.on('error', end).on('close', end);
  });
  return new Promise((resolve) => server.listen(path, () => resolve({ heal: () => void (whole = true), close: () => server.close() })));
}

describe('snapshots and migration of a process', () => {
  it('savevm, then -loadvm in a second process, which goes on where the first one was', { timeout: TIMEOUT }, async () => {
    const [first, second, file] = [pathFor('first.log'), pathFor('second.log'), pathFor('snapshot')];
    const one = start('run', ...guest(...COUNTER), ...options('save-1', first));
    const control = await listening(one, 'save-1');
    await until(() => sizeOf(first) > 10);
    expect(await control.ask('stop')).toContain('(nestvm)');
    expect(await control.ask(`savevm ${file}`)).toMatch(/saved to .*snapshot/);
    expect(await control.ask('info nested')).toContain('allowed');
    await control.ask('quit');
    expect((await one.ended).status).toBe(0);
    expect(existsSync(`${file}.partial`)).toBe(false);
    const two = start('run', ...guest(...COUNTER), ...options('save-2', second), '-loadvm', file);
    const again = await listening(two, 'save-2');
    await until(() => sizeOf(second) > 10);
    await again.ask('quit');
    await two.ended;
    expect(isAlphabetical(readFileSync(first, 'latin1') + readFileSync(second, 'latin1'))).toBe(true);
  });

  it('a snapshot that is damaged or of another machine is refused with one line', { timeout: TIMEOUT }, async () => {
    const text = await nestvm('run', ...guest(...COUNTER), '-serial', 'null', '-loadvm', fileOf('not a snapshot, really'));
    expect([text.status, text.err]).toEqual([1, expect.stringMatching(/^nestvm: -loadvm .*: this is no Nestvm snapshot/)]);
    const absent = await nestvm('run', ...guest(...COUNTER), '-serial', 'null', '-loadvm', pathFor('absent'));
    expect([absent.status, absent.err]).toEqual([2, expect.stringMatching(/^nestvm: -loadvm .*no such file/)]);
  });

  it('migrates over TCP while it runs, without a gap in what it prints', { timeout: TIMEOUT }, async () => {
    const [first, second] = [pathFor('out.log'), pathFor('in.log')];
    const port = await freePort();
    const target = start('run', ...guest(...COUNTER), ...options('move-2', second), '-incoming', `tcp:127.0.0.1:${port}`);
    const there = await listening(target, 'move-2');
    const source = start('run', ...guest(...COUNTER), ...options('move-1', first));
    const here = await listening(source, 'move-1');
    await until(() => sizeOf(first) > 10);
    expect(await here.ask(`migrate tcp:127.0.0.1:${port}`)).toMatch(/migrated to tcp.*runs there now/);
    expect(await here.ask('info migrate')).toMatch(/Migration status: completed[^]*downtime: \d+ ms/);
    await until(() => sizeOf(second) > 10);
    const gone = sizeOf(first);
    await here.ask('cont');
    await until(() => sizeOf(second) > 40);
    expect(sizeOf(first)).toBe(gone);
    await there.ask('quit');
    await here.ask('quit');
    await Promise.all([target.ended, source.ended]);
    expect(isAlphabetical(readFileSync(first, 'latin1') + readFileSync(second, 'latin1'))).toBe(true);
  });

  it('a target that is killed leaves the machine running here', { timeout: TIMEOUT }, async () => {
    const log = pathFor('survivor.log');
    const port = await freePort();
    const server = createServer((socket) => socket.once('data', () => socket.destroy())).listen(port, '127.0.0.1');
    const source = start('run', ...guest(...COUNTER), ...options('survive', log));
    const here = await listening(source, 'survive');
    expect(await here.ask(`migrate tcp:127.0.0.1:${port}`)).toMatch(/migrate: .*goes on as if nothing had been/);
    const before = sizeOf(log);
    await until(() => sizeOf(log) > before + 5);
    expect(await here.ask('migrate tcp:127.0.0.1:1')).toMatch(/migrate tcp:.*is somebody listening there/);
    server.close();
    await here.ask('quit');
    expect((await source.ended).status).toBe(0);
  });

  it('a line that breaks in the hand-over is opened again, and the target has the machine', { timeout: TIMEOUT }, async () => {
    const [first, second] = [pathFor('again-out.log'), pathFor('again-in.log')];
    const target = start('run', ...guest(...COUNTER), ...options('again-2', second), '-incoming', `unix:${pathFor('again-target')}`);
    const there = await listening(target, 'again-2');
    const source = start('run', ...guest(...COUNTER), ...options('again-1', first));
    const here = await listening(source, 'again-1');
    const line = await losingGo(pathFor('again-line'), pathFor('again-target'), true);
    await until(() => sizeOf(first) > 10);
    expect(await here.ask(`migrate unix:${pathFor('again-line')}`)).toMatch(/migrated to unix/);
    await until(() => sizeOf(second) > 20);
    expect(isAlphabetical(readFileSync(first, 'latin1') + readFileSync(second, 'latin1'))).toBe(true);
    line.close();
    await there.ask('quit');
    await here.ask('quit');
    expect((await target.ended).status).toBe(0);
  });

  it('a line that breaks in the hand-over and stays away: a person gives the machine to the target, and the source learns it later', {
    timeout: TIMEOUT,
  }, async () => {
    const [first, second] = [pathFor('away-out.log'), pathFor('away-in.log')];
    const target = start('run', ...guest(...COUNTER), ...options('away-2', second), '-incoming', `unix:${pathFor('away-target')}`);
    const there = await listening(target, 'away-2');
    const source = start('run', ...guest(...COUNTER), ...options('away-1', first));
    const here = await listening(source, 'away-1');
    const line = await losingGo(pathFor('away-line'), pathFor('away-target'));
    await until(() => sizeOf(first) > 10);
    expect(await here.ask(`migrate unix:${pathFor('away-line')}`)).toMatch(/stays stopped[^]*continue here \(cont\)/);
    expect(await here.ask('migrate_cancel')).toContain('only if the target does not run it, write cont');
    expect([sizeOf(second), await here.ask('info migrate')]).toEqual([0, expect.stringContaining('Migration status: waiting')]);
    await there.ask('cont');
    await until(() => sizeOf(second) > 20);
    line.heal();
    for (let told = ''; !told.includes('completed'); told = await here.ask('info migrate')) await new Promise((resolve) => setTimeout(resolve, 100));
    await here.ask('cont');
    expect(isAlphabetical(readFileSync(first, 'latin1') + readFileSync(second, 'latin1'))).toBe(true);
    line.close();
    await there.ask('quit');
    await here.ask('quit');
    expect((await target.ended).err).toMatch(/before the source gave it away[^]*go on here \(cont\)[^]*as was decided/);
    expect((await source.ended).err).toContain('the target has the machine and runs it; it stays stopped here');
  });
});
