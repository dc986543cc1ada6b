import { existsSync, readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { COUNTER, isAlphabetical, listening, options, sizeOf, until } from './counter.js';
import { guest, pathFor, start } from './spawn.js';

const TIMEOUT = 300_000;

/** A line to `target` that keeps back what the target says from its `ready` on. */
function keepingReady(
  path: string,
  target: string,
): Promise<{ readonly isKept: () => boolean; readonly release: () => void; readonly close: () => void }> {
  const kept: Buffer[] = [];
  let [released, give] = [false, (): void => {}];
  const server = createServer((here) => {
    const there = connect(target);
    give = () => {
      for (const data of kept.splice(0)) here.write(data);
    };
    here.on('data', (data) => void there.write(data));
    there.on('data', (data) => {
      if (released || (kept.length === 0 && !data.includes('ready'))) here.write(data);
      else kept.push(data);
    });
    for (const [one, other] of [
      [here, there],
      [there, here],
    ] as const)
      one.on('error', () => {}).on('close', () => other.destroy());
  });
  const release = (): void => {
    released = true;
    give();
  };
  return new Promise((resolve) => server.listen(path, () => resolve({ isKept: () => kept.length > 0, release, close: () => server.close() })));
}

describe('what a person does while a machine moves', () => {
  it('cannot make the machine go on, save or replace it while it is handed over: one side runs it', { timeout: TIMEOUT }, async () => {
    const [first, second] = [pathFor('kept-out.log'), pathFor('kept-in.log')];
    const target = start('run', ...guest(...COUNTER), ...options('kept-2', second), '-incoming', `unix:${pathFor('kept-target')}`);
    const there = await listening(target, 'kept-2');
    const source = start('run', ...guest(...COUNTER), ...options('kept-1', first));
    const here = await listening(source, 'kept-1');
    const line = await keepingReady(pathFor('kept-line'), pathFor('kept-target'));
    await until(() => sizeOf(first) > 10);
    await here.ask(`migrate -d unix:${pathFor('kept-line')}`);
    await until(line.isKept);
    const gone = sizeOf(first);
    expect(await here.ask('cont')).toContain('cont: the machine is being handed over');
    expect(await here.ask(`savevm ${pathFor('kept-file')}`)).toContain('savevm: a migration is under way');
    expect(await here.ask(`loadvm ${pathFor('kept-file')}`)).toContain('loadvm: a migration is under way');
    expect([await here.ask('info status'), existsSync(pathFor('kept-file'))]).toEqual([expect.stringContaining('paused'), false]);
    line.release();
    await until(() => sizeOf(second) > 20);
    expect(await here.ask('cont')).toContain('cont: the machine was migrated away');
    expect(sizeOf(first)).toBe(gone);
    expect(isAlphabetical(readFileSync(first, 'latin1') + readFileSync(second, 'latin1'))).toBe(true);
    line.close();
    await there.ask('quit');
    await here.ask('quit');
    await Promise.all([target.ended, source.ended]);
  });

  it('a machine that stands still arrives so; a process that waits for one has nothing to save, and goes on with it if that was asked for', {
    timeout: TIMEOUT,
  }, async () => {
    const logs = ['still-1.log', 'still-2.log', 'still-3.log'].map(pathFor) as [string, string, string];
    const one = start('run', ...guest(...COUNTER), ...options('still-1', logs[0]));
    const first = await listening(one, 'still-1');
    const two = start('run', ...guest(...COUNTER), ...options('still-2', logs[1]), '-incoming', `unix:${pathFor('still-line-2')}`);
    const second = await listening(two, 'still-2');
    await until(() => sizeOf(logs[0]) > 10);
    for (const command of [`savevm ${pathFor('still-file')}`, `loadvm ${pathFor('still-file')}`, 'migrate tcp:127.0.0.1:1'])
      expect(await second.ask(command)).toContain('this process waits for a machine, and has none yet');
    await first.ask('stop');
    expect(await first.ask(`migrate unix:${pathFor('still-line-2')}`)).toContain('migrated to');
    expect(await second.ask('info status')).toContain('VM status: paused\n');
    expect(sizeOf(logs[1])).toBe(0);
    await second.ask('cont');
    await until(() => sizeOf(logs[1]) > 10);
    const three = start('run', ...guest(...COUNTER), ...options('still-3', logs[2]), '-S', '-incoming', `unix:${pathFor('still-line-3')}`);
    const third = await listening(three, 'still-3');
    await third.ask('cont');
    expect(await third.ask('info status')).toContain('inmigrate');
    expect(await second.ask(`migrate unix:${pathFor('still-line-3')}`)).toContain('migrated to');
    await until(() => sizeOf(logs[2]) > 10);
    expect(isAlphabetical(logs.map((log) => readFileSync(log, 'latin1')).join(''))).toBe(true);
    for (const control of [first, second, third]) await control.ask('quit');
    await Promise.all([one.ended, two.ended, three.ended]);
  });

  it('`info migrate` tells how a pass is going, what came of the last try, and of files', { timeout: TIMEOUT }, async () => {
    const log = pathFor('told.log');
    const waiting = start('run', ...guest(...COUNTER), ...options('told-2', pathFor('told-2.log')), '-incoming', `unix:${pathFor('told-line')}`);
    await listening(waiting, 'told-2');
    const source = start('run', ...guest(...COUNTER), ...options('told', log));
    const here = await listening(source, 'told');
    await until(() => sizeOf(log) > 10);
    const startMs = performance.now();
    expect(await here.ask('migrate exec:false')).toContain('goes on as if nothing had been');
    // It is not waited until the line counts as broken.
    expect(performance.now() - startMs).toBeLessThan(25_000);
    expect(await here.ask('info migrate')).toMatch(/^[^]*Migration status: failed \(/);
    await here.ask('migrate tcp:127.0.0.1:1');
    expect(await here.ask('info migrate')).toMatch(/Migration status: failed \(.*is somebody listening there/);
    expect(await here.ask(`migrate file:${pathFor('told-file')}`)).toContain('saved to');
    expect(await here.ask('info migrate')).toMatch(/Migration status: completed\n[^]*passes: 1/);
    await here.ask('migrate_set_parameter max-bandwidth 1K');
    await here.ask(`migrate -d unix:${pathFor('told-line')}`);
    for (let told = ''; !/status: active[^]*remaining ram: 0\.[1-9]/.test(told); told = await here.ask('info migrate'))
      await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await here.ask('migrate_cancel')).toContain('cancelling');
    for (let told = ''; !/status: cancelled\n/.test(told); told = await here.ask('info migrate'))
      await new Promise((resolve) => setTimeout(resolve, 50));
    const before = sizeOf(log);
    await until(() => sizeOf(log) > before + 5);
    await here.ask('quit');
    await Promise.all([source.ended, waiting.ended]);
  });

  it('a line on which nothing moves: the time goes on, and `migrate_cancel` ends it at once', { timeout: TIMEOUT }, async () => {
    const log = pathFor('mute.log');
    const mute = createServer((socket) => socket.on('error', () => {})).listen(pathFor('mute-line'));
    const source = start('run', ...guest(...COUNTER), ...options('mute', log));
    const here = await listening(source, 'mute');
    await until(() => sizeOf(log) > 10);
    await here.ask(`migrate -d unix:${pathFor('mute-line')}`);
    const elapsed = async (): Promise<number> => Number(/total time: (\d+) ms/.exec(await here.ask('info migrate'))?.[1] ?? 0);
    while ((await elapsed()) < 500) await new Promise((resolve) => setTimeout(resolve, 50));
    const startMs = performance.now();
    await here.ask('migrate_cancel');
    for (let told = ''; !/status: cancelled\n/.test(told); told = await here.ask('info migrate'))
      await new Promise((resolve) => setTimeout(resolve, 50));
    expect(performance.now() - startMs).toBeLessThan(15_000);
    const before = sizeOf(log);
    await until(() => sizeOf(log) > before + 5);
    await here.ask('quit');
    await source.ended;
    mute.close();
  });
});
