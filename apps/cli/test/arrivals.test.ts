import { existsSync, readFileSync } from 'node:fs';
import { vmxImage } from '@nestvm/guests';
import { expect, it } from 'vitest';
import { listening, until } from './counter.js';
import { negotiated } from './qmp-client.js';
import { fileOf, pathFor, start } from './spawn.js';

const TIMEOUT = 180_000;
/** Waits for interrupts, for ever. */
const IDLE = [0xfb, 0xf4, 0xeb, 0xfd];

type Client = Awaited<ReturnType<typeof negotiated>>['qmp'];

/** A line of the human monitor, over QMP: what it prints. */
const say = async (qmp: Client, line: string): Promise<string> => {
  const answer = await qmp.call('human-monitor-command', { 'command-line': line });
  return answer.error?.desc ?? String(answer.return);
};

it('a disk that was plugged in later is asked for by name, of a target that stays as it was', { timeout: TIMEOUT }, async () => {
  const drive = ['-drive', `file=${fileOf(new Uint8Array(1 << 20))},format=raw,if=none,snapshot=on,id=d0`];
  const [file, line] = [pathFor('plugged'), `unix:${pathFor('plugged-line')}`];
  const source = await negotiated(IDLE, ...drive);
  const plug = { driver: 'virtio-blk-pci', id: 'hot', drive: 'd0', addr: 9 };
  expect((await source.qmp.call('device_add', plug)).return).toEqual({});
  expect(await say(source.qmp, `savevm ${file}`)).toMatch(/saved to/);

  const plain = await negotiated(IDLE);
  await say(plain.qmp, 'stop');
  const before = [await say(plain.qmp, 'info registers'), await say(plain.qmp, 'info pci')];
  expect(await say(plain.qmp, `loadvm ${file}`)).toMatch(/virtio: the snapshot has .*hot/);
  expect([await say(plain.qmp, 'info registers'), await say(plain.qmp, 'info pci')]).toEqual(before);
  await say(plain.qmp, 'cont');
  expect((await plain.qmp.call('query-status')).return).toMatchObject({ running: true });

  const target = await negotiated(IDLE, '-incoming', line);
  expect(await say(source.qmp, `migrate ${line}`)).toMatch(/target refuses: [^]*hot[^]*goes on as if nothing had been/);
  expect((await source.qmp.call('query-status')).return).toMatchObject({ running: true });
  expect(await target.running.ended).toMatchObject({ status: 1, err: expect.stringMatching(/virtio: the snapshot has .*hot/) });
  for (const { qmp, running } of [source, plain]) {
    await qmp.call('quit');
    await running.ended;
  }
});

it('migrate -w waits until the L2 has ended, and the machine then moves', { timeout: TIMEOUT }, async () => {
  const image = fileOf(vmxImage({ levels: 2, program: 'count' }).bytes);
  const machine = [
    'run',
    '--nested',
    '-cpu',
    'Skylake-Server,vmx=on',
    '-m',
    '64M',
    '-kernel',
    image,
    '-display',
    'none',
    '-device',
    'isa-debug-exit,iobase=0xf4,iosize=4',
  ];
  const [first, second, line] = [pathFor('wait-1.log'), pathFor('wait-2.log'), `unix:${pathFor('wait-line')}`];
  const target = start(...machine, '-serial', `file:${second}`, '-incoming', line);
  const source = start(...machine, '-serial', `file:${first}`, '-monitor', 'stdio', '-S');
  const printed = (path: string): string => (existsSync(path) ? readFileSync(path, 'latin1') : '');
  await source.waitFor('(nestvm) ');
  source.child.stdin?.write('cont\n');
  while (!printed(first).includes('[L2] counts 1')) await new Promise((resolve) => setTimeout(resolve, 2));
  source.child.stdin?.write(`migrate ${line}\nmigrate -w ${line}\n`);
  await source.waitFor(/nested guest \(L2\) is active[^]*migrated to unix/);
  expect((await target.ended).status).toBe(1);
  const all = printed(first) + printed(second);
  const counts = (level: string): number[] => [...all.matchAll(new RegExp(`\\[${level}\\] counts (\\d+)`, 'g'))].map(([, count]) => Number(count));
  expect(counts('L1')).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
  expect(printed(second)).not.toContain('[L2]');
  source.child.stdin?.write('quit\n');
  await source.ended;
});

it('migrate -w leaves a machine that stands still as it is: refused while its L2 is active, saved when that has ended', {
  timeout: TIMEOUT,
}, async () => {
  const image = fileOf(vmxImage({ levels: 2, program: 'count', after: 'on' }).bytes);
  const log = pathFor('still-waits.log');
  const machine = ['run', '--nested', '-cpu', 'Skylake-Server,vmx=on', '-m', '64M', '-kernel', image, '-display', 'none', '-S'];
  const running = start(...machine, '-serial', `file:${log}`, '-monitor', `unix:${pathFor('still-waits')}`);
  const { ask } = await listening(running, 'still-waits');
  const printed = (): string => (existsSync(log) ? readFileSync(log, 'latin1') : '');
  const stopAfter = async (line: string): Promise<void> => {
    await ask('cont');
    await until(() => printed().includes(line));
    await ask('stop');
  };
  await stopAfter('[L2] counts 1');
  expect(await ask(`migrate -w file:${pathFor('still-waits.file')}`)).toContain('a nested guest (L2) is active');
  expect([await ask('info status'), existsSync(pathFor('still-waits.file'))]).toEqual([expect.stringContaining('paused'), false]);
  await stopAfter('without a guest');
  expect(await ask(`migrate -w file:${pathFor('still-waits.file')}`)).toContain('saved to');
  expect(await ask('info status')).toContain('paused');
  await ask('quit');
  await running.ended;
});
