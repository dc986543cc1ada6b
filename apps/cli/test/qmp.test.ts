import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { JsonStream } from '../src/qmp/json-stream.js';
import { client, negotiated, session } from './qmp-client.js';
import { fileOf, guest, pathFor, start } from './spawn.js';

const TIMEOUT = 300_000;
/** hlt; jmp to it, with interrupts on. */
const IDLE = [0xfb, 0xf4, 0xeb, 0xfd];
describe('the stream of values', () => {
  const all = (text: string | Uint8Array): unknown[] => [...new JsonStream().push(typeof text === 'string' ? Buffer.from(text) : text)];

  it('needs nothing between objects, and takes them in any pieces', () => {
    const text = '{"a":"}\\"{"}{"b":[{}]}\n [1]';
    const whole = [{ value: { a: '}"{' } }, { value: { b: [{}] } }, { value: [1] }];
    expect(all(text)).toEqual(whole);
    const stream = new JsonStream();
    expect([...Buffer.from(text)].flatMap((byte) => [...stream.push(Uint8Array.of(byte))])).toEqual(whole);
  });

  it('skips what is no JSON, up to the end of its line', () => {
    expect(all('what?\n{"a":1}')).toEqual([{ error: expect.any(String) as string }, { value: { a: 1 } }]);
    expect(all('}{"a":1}')).toEqual([{ error: expect.any(String) as string }, { value: { a: 1 } }]);
    // An answer repeats the id, and is written by recursion.
    expect(all(`{"id":${'['.repeat(50_000)}${']'.repeat(50_000)}}{"a":1}`)).toEqual([
      { error: 'a message nested deeper than 1024' },
      { value: { a: 1 } },
    ]);
    expect(all(Buffer.concat([Buffer.from('{"a":"'), Uint8Array.of(0xff), Buffer.from('{"b":2}')]))).toEqual([{ value: { b: 2 } }]);
  });
});

describe('QMP', () => {
  it(
    'greets, wants the handshake first, and names what it does not know',
    async () => {
      const { running, qmp } = await session(IDLE);
      expect(await qmp.next()).toHaveProperty('QMP');
      expect((await qmp.call('query-status')).error).toMatchObject({ class: 'CommandNotFound', desc: expect.stringContaining('qmp_capabilities') });
      await qmp.call('qmp_capabilities');
      expect((await qmp.call('qmp_capabilities')).error?.class).toBe('CommandNotFound');
      expect(await qmp.call('bogus', undefined, 7)).toMatchObject({ error: { class: 'CommandNotFound' }, id: 7 });
      expect((await qmp.call('query-status', { x: 1 })).error?.desc).toBe("Parameter 'x' is unexpected");
      expect((await qmp.call('migrate')).error?.desc).toBe("Parameter 'uri' is missing");
      expect((await qmp.call('migrate', { uri: 3 })).error?.desc).toMatch(/expected: string/);
      for (const nonsense of ['{"execute":3}', '[]', '3\n', '"x"\n', '{"exec":"stop"}', '{]', '\n{"execute":"constructor"}']) {
        qmp.socket.write(nonsense);
        expect((await qmp.next()).error).toBeDefined();
      }
      expect((await qmp.call('query-status')).return).toEqual({ status: 'running', running: true, singlestep: false });
      expect((await qmp.call('quit')).return).toEqual({});
      expect((await running.ended).status).toBe(0);
      expect(await qmp.event('SHUTDOWN')).toMatchObject({ data: { guest: false, reason: 'host-qmp-quit' } });
    },
    TIMEOUT,
  );

  it(
    'stops, goes on, resets, and tells of it',
    async () => {
      const { running, qmp } = await negotiated(IDLE, '-S', '-name', 'one', '-pidfile', pathFor('pid'));
      expect(readFileSync(pathFor('pid'), 'latin1')).toBe(`${running.child.pid}\n`);
      expect((await qmp.call('query-status')).return).toMatchObject({ status: 'prelaunch', running: false });
      await qmp.call('cont');
      await qmp.event('RESUME');
      await qmp.call('stop');
      expect(await qmp.event('STOP')).toMatchObject({ timestamp: { seconds: expect.any(Number) as number } });
      expect((await qmp.call('query-status')).return).toMatchObject({ status: 'paused' });
      await qmp.call('cont');
      await qmp.call('system_reset');
      expect(await qmp.event('RESET')).toMatchObject({ data: { guest: false, reason: 'host-qmp-system-reset' } });
      expect((await qmp.call('query-name')).return).toEqual({ name: 'one' });
      expect((await qmp.call('query-cpus-fast')).return).toMatchObject([{ 'cpu-index': 0, target: 'x86_64' }]);
      expect((await qmp.call('query-memory-size-summary')).return).toEqual({ 'base-memory': 4 << 20 });
      expect((await qmp.call('x-query-nested')).return).toMatchObject({ class: 'off', migratable: true, contexts: [] });
      const names = ((await qmp.call('query-commands')).return as { name: string }[]).map(({ name }) => name);
      expect(names).toEqual(expect.arrayContaining(['qmp_capabilities', 'query-commands', 'migrate', 'human-monitor-command']));
      const schema = (await qmp.call('query-qmp-schema')).return as { name: string; 'meta-type': string; 'arg-type'?: string }[];
      const kinds = (kind: string): string[] => schema.filter((each) => each['meta-type'] === kind).map(({ name }) => name);
      expect(kinds('command').sort()).toEqual(names);
      expect(schema.find(({ name }) => name === 'q_obj_send-key-arg')).toEqual({
        name: 'q_obj_send-key-arg',
        'meta-type': 'object',
        members: [
          { name: 'keys', type: '[any]' },
          { name: 'hold-time', type: 'int', default: null },
        ],
      });
      const known = new Set(schema.map(({ name }) => name));
      for (const each of schema) if (each['arg-type'] !== undefined) expect(known).toContain(each['arg-type']);
      expect((await qmp.call('query-events')).return).toEqual(kinds('event').map((name) => ({ name })));
      await qmp.call('quit');
      await running.ended;
      expect(existsSync(pathFor('pid'))).toBe(false);
    },
    TIMEOUT,
  );

  it(
    'says what a guest does by itself',
    async () => {
      // Port 0x92 bit 0 resets; under -no-reboot the machine ends.
      const { running, qmp } = await negotiated([0xb0, 0x01, 0xe6, 0x92, 0xf4], '-S', '-no-reboot');
      await qmp.call('cont');
      expect(await qmp.event('SHUTDOWN')).toMatchObject({ data: { guest: true, reason: 'guest-reset' } });
      expect((await running.ended).status).toBe(0);
    },
    TIMEOUT,
  );

  it(
    'runs lines of the monitor',
    async () => {
      const { running, qmp } = await negotiated(IDLE, '-S');
      const line = async (text: string): Promise<unknown> => (await qmp.call('human-monitor-command', { 'command-line': text })).return;
      expect(await line('x /2i $rip + 0x7c00 - $rip')).toBe(
        '0x0000000000007c00: fb                             sti\r\n0x0000000000007c01: f4                             hlt\r\n',
      );
      expect(await line('xp/4xb 0x7c00')).toBe('0000000000007c00: 0xfb 0xf4 0xeb 0xfd\r\n');
      expect(await line('x /1dh 0x7c02')).toBe('0000000000007c02: -533\r\n');
      expect(await line('xp /2xg 0x3ffff8')).toBe(`00000000003ffff8: 0x${'0'.repeat(16)}\r\n0000000000400000: cannot access memory\r\n`);
      expect(await line('p (2 + 3) * 4 - 1 << 2')).toBe('0x4c\r\n');
      expect(await line('print /d 0 - 5')).toBe('-5\r\n');
      expect(await line('p 1 / 0')).toBe('print: division by zero\r\n');
      expect(await line('info lapic')).toMatch(
        /^local APIC of CPU 0: id 0, base 0xfee00000, .*\r\nLVT timer .* masked, one-shot\r\n.*\r\n.*\r\nLVT LINT0 /,
      );
      expect(await line('info pic')).toMatch(/^io-apic: id=0x00 .*\r\n {2}pin 0  0x0000000000010000 fixed, vector 0, [^]*\r\npic1: irr=/);
      expect(await line('info irq')).toMatch(/^IRQ statistics for pic:\r\n(?: \d: \d+\r\n)*IRQ statistics for io-apic:\r\n/);
      expect(await line('info qtree')).toMatch(
        /^bus: main-system-bus\r\n {2}type System\r\n[^]*\r\n {4}bus: pci\.0\r\n {6}type PCI\r\n {6}dev: i440fx, id ""\r\n {8}addr = 00\.0\r\n/,
      );
      expect(await line('info uuid')).toBe('00000000-0000-0000-0000-000000000000\r\n');
      expect(await line('p $rxx')).toMatch(/no such register/);
      expect(await line(`p ${'('.repeat(50_000)}1`)).toMatch(/^print: an expression of more than 256/);
      expect(await line('gva2gpa 0x1234')).toBe('gpa: 0x1234\r\n');
      expect(await line('info registers')).toMatch(/RIP=0000000000007c00 RFL=00000002/);
      expect(await line('info mem')).toBe('paging is off\r\n');
      expect(await line('info mtree')).toMatch(/0000000000000000-000000000009ffff ram[^]*00f4-00f7 /);
      expect(await line('info pci')).toMatch(/Host bridge: PCI device 8086:1237/);
      expect(await line('info bogus')).toMatch(/^info: bogus: unknown/);
      expect(await line('sendkey ctrl-alt-delte')).toMatch(/'delte' is no key/);
      expect(await line('sendkey ctrl-alt-delete')).toBe('');
      expect(await line('mouse_move 3 -4 1')).toBe('');
      expect(await line('mouse_move 3')).toMatch(/write mouse_move DX DY/);
      expect(await line('mouse_button 5')).toBe('');
      expect(await line('mouse_button 9')).toMatch(/write mouse_button STATE/);
      const input = (events: unknown) => qmp.call('input-send-event', { events });
      expect((await input([{ type: 'key', data: { down: true, key: { type: 'qcode', data: 'a' } } }])).return).toEqual({});
      expect(
        (
          await input([
            { type: 'rel', data: { axis: 'x', value: 3 } },
            { type: 'btn', data: { button: 'left', down: true } },
          ])
        ).return,
      ).toEqual({});
      expect((await input([{ type: 'abs', data: { axis: 'x', value: 3 } }])).error).toMatchObject({
        desc: expect.stringMatching(/no device for that/),
      });
      expect((await input([{ type: 'nod', data: {} }])).error).toMatchObject({ desc: expect.stringMatching(/there are key, btn, rel, abs/) });
      expect(await line('nmi')).toBe('');
      expect(await line('cpu 1')).toMatch(/CPUs 0 to 0/);
      const file = fileOf('');
      expect(await line(`pmemsave 0x7c00 4 ${file}`)).toBe('');
      expect(await line('pmemsave 0x7c00 5000000 x')).toMatch(/more than the machine's memory/);
      expect((await qmp.call('human-monitor-command', { 'command-line': 'x 0', 'cpu-index': 3 })).error).toBeDefined();
      await qmp.call('quit');
      await running.ended;
    },
    TIMEOUT,
  );

  it(
    'says at once that a machine cannot go where nobody can be',
    async () => {
      const { running, qmp } = await negotiated(IDLE);
      expect((await qmp.call('migrate', { uri: 'bogus:1' })).error?.desc).toMatch(/^migrate bogus:1: write tcp:HOST:PORT/);
      expect((await qmp.call('migrate', { uri: 'tcp:127.0.0.1:1,tls-creds=none' })).error?.desc).toMatch(/there is no -object/);
      expect((await qmp.call('query-migrate')).return).toEqual({});
      await qmp.call('quit');
      await running.ended;
    },
    TIMEOUT,
  );

  it(
    'says why nobody can come by an address that is told later',
    async () => {
      const { running, qmp } = await negotiated(IDLE, '-incoming', 'defer');
      const uri = `unix:${pathFor('absent/socket')}`;
      expect((await qmp.call('migrate-incoming', { uri })).error?.desc).toMatch(/absent.*choose another address/);
      expect(await running.ended).toMatchObject({ status: 2, err: expect.stringMatching(/absent.*choose another address/) });
    },
    TIMEOUT,
  );

  it(
    'migrates into a file, and keeps the reason of a failure',
    async () => {
      const { running, qmp } = await negotiated(IDLE);
      expect((await qmp.call('query-migrate')).return).toEqual({});
      expect((await qmp.call('migrate', { uri: `unix:${pathFor('nobody')}` })).return).toEqual({});
      for (;;) {
        const state = (await qmp.call('query-migrate')).return as { status?: string; 'error-desc'?: string };
        if (state.status === undefined) continue;
        expect(state).toMatchObject({ status: 'failed', 'error-desc': expect.stringContaining('is somebody listening there?') });
        break;
      }
      const target = pathFor('target');
      const other = start('run', ...guest(...IDLE), '-serial', 'null', '-incoming', 'defer', '-qmp', `unix:${target}-qmp`);
      const far = await client(other, `${target}-qmp`);
      await far.next();
      await far.call('qmp_capabilities');
      expect((await far.call('query-status')).return).toMatchObject({ status: 'inmigrate' });
      expect((await far.call('migrate-incoming', { uri: 'nonsense' })).error?.desc).toMatch(/write tcp:HOST:PORT/);
      expect((await far.call('migrate-incoming', { uri: `unix:${target}` })).return).toEqual({});
      // Answered when the source may come.
      expect(existsSync(target)).toBe(true);
      expect((await far.call('migrate-incoming', { uri: `unix:${target}` })).error?.desc).toContain('-incoming defer');
      await qmp.call('migrate-set-parameters', { 'cpu-throttle-initial': 30, 'max-cpu-throttle': 95, 'downtime-limit': 250, 'max-bandwidth': 1e9 });
      expect((await qmp.call('migrate-set-parameters', { 'max-cpu-throttle': 100 })).error?.desc).toMatch(/per cent, 1 to 99/);
      expect((await qmp.call('query-migrate-parameters')).return).toMatchObject({
        'cpu-throttle-initial': 30,
        'cpu-throttle-increment': 10,
        'max-cpu-throttle': 95,
        'downtime-limit': 250,
        'max-bandwidth': 1e9,
      });
      await qmp.call('migrate-set-capabilities', { capabilities: [{ capability: 'auto-converge', state: true }] });
      expect((await qmp.call('migrate-set-capabilities', { capabilities: [{ capability: 'xbzrle', state: true }] })).error?.desc).toContain(
        'no such',
      );
      expect((await qmp.call('query-migrate-capabilities')).return).toEqual([
        { capability: 'auto-converge', state: true },
        { capability: 'events', state: true },
      ]);
      await qmp.call('migrate', { uri: `unix:${target}` });
      while (!qmp.events.some(({ event, data }) => event === 'MIGRATION' && (data as { status: string }).status === 'completed'))
        await new Promise((resolve) => setTimeout(resolve, 20));
      expect((await qmp.call('query-status')).return).toMatchObject({ status: 'postmigrate' });
      expect((await qmp.call('query-migrate')).return).toMatchObject({
        status: 'completed',
        downtime: expect.any(Number) as number,
        ram: { total: 4 << 20, normal: expect.any(Number) as number, duplicate: expect.any(Number) as number, 'page-size': 4096 },
      });
      const told = qmp.events.flatMap(({ event, data }) => (event === 'MIGRATION' ? [(data as { status: string }).status] : (event ?? [])));
      expect(
        told.filter((word, i) => ['setup', 'active', 'device', 'completed', 'STOP', 'MIGRATION_PASS'].includes(word) && told.indexOf(word) === i),
      ).toEqual(['setup', 'active', 'MIGRATION_PASS', 'STOP', 'completed']);
      while (!((await far.call('query-status')).return as { running: boolean }).running) await new Promise((resolve) => setTimeout(resolve, 20));
      await qmp.call('quit');
      await far.call('quit');
      await Promise.all([running.ended, other.ended]);
    },
    TIMEOUT,
  );
});
