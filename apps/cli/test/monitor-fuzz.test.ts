import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { monitorCommands } from '../src/monitor/commands.js';
import { infoRows } from '../src/monitor/info.js';
import { parametersOf, qmpCommands } from '../src/qmp/commands.js';
import { guest, pathFor, type Running, startWith } from './spawn.js';
import { temporaryFolder } from './temporary.js';

/** Lines of a monitor, and messages of QMP; a million each in the nightly tier. */
const LINES = Number(process.env['NESTVM_MONITOR_FUZZ'] ?? 3000);
const BATCH = 250;
const IDLE = [0xfb, 0xf4, 0xeb, 0xfd];

type Below = (limit: number) => number;

function random(seed: number): Below {
  let state = seed;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

/** Commands that end the run, or take the machine elsewhere. */
const ENDING: ReadonlySet<string> = new Set(['quit', 'migrate', 'migrate_incoming', 'migrate-incoming']);
/** Commands with names of files: those get these, or names in the folder of the run. */
const WRITING: ReadonlySet<string> = new Set([
  'savevm',
  'loadvm',
  'screendump',
  'memsave',
  'pmemsave',
  'drive_add',
  'change',
  'chardev-add',
  'x-savevm',
  'x-loadvm',
  'blockdev-add',
  'blockdev-change-medium',
  'human-monitor-command',
]);
const PLACES = ['/nowhere/file', '/dev/full', '/dev/null/x', '.', 'file', 'image'];
const WORDS = [
  '0',
  '1',
  '-1',
  '3',
  '4096',
  '0x7c00',
  '0xffffffffffffffff',
  '18446744073709551616',
  '1e9',
  'NaN',
  '9'.repeat(40),
  '$rip',
  '$rsp+8',
  '$nope',
  '(',
  ')',
  '((1)',
  '1/0',
  '~-+1',
  '/',
  '/4096xg',
  '/99999i',
  '/10i',
  '/3c',
  '*',
  '%',
  '--',
  '-f',
  '-a',
  '-d',
  '-w',
  '-z',
  '-b',
  '-e',
  '-'.repeat(300),
  'a',
  'ctrl-alt-delete',
  'a-b-c',
  'on',
  'off',
  'up',
  'down',
  'none',
  'all',
  '10M',
  '1T',
  '0.3',
  'n0',
  'd0',
  's0',
  'b0',
  'v0',
  'k0',
  'virtio-net-pci,id=v1',
  'virtio-rng-pci',
  'scsi-hd,drive=d0,bus=s0.0',
  'virtio-blk-pci,drive=d0,id=v2',
  'user,id=n1',
  'hubport,id=h0,hubid=1',
  'null,id=c1',
  'if=none,id=d1,file=image',
  'max-bandwidth',
  'downtime-limit',
  'auto-converge',
  'compress',
  'n0 tcp::1-:22',
  'tcp:x',
  'constructor',
  '__proto__',
  '=',
  ',',
  'a=,b=,,',
  'é\u0001',
];

/** A word: one of those above, or any letters. */
const word = (below: Below): string =>
  below(12) === 0 ? String.fromCharCode(...Array.from({ length: below(30) }, () => 33 + below(94))) : WORDS[below(WORDS.length)]!;

/** The same for a command that may write files. */
const place = (below: Below): string => {
  const any = word(below);
  return below(2) === 0 || /^\.|\//.test(any) ? PLACES[below(PLACES.length)]! : any;
};

const namesOf = (rows: object): string[] => Object.keys(rows).filter((name) => !ENDING.has(name));
const [COMMANDS, SHOWN, MESSAGES] = [monitorCommands, infoRows, qmpCommands].map(namesOf) as [string[], string[], string[]];

function monitorLine(below: Below): string {
  const kind = below(20);
  if (kind === 0) return Array.from({ length: below(8) }, () => word(below)).join(' ');
  if (kind === 1) return `#${String.fromCharCode(...Array.from({ length: below(80) }, () => 32 + below(95)))}`;
  if (kind < 6) return `info ${SHOWN[below(SHOWN.length)]!} ${below(3) === 0 ? word(below) : ''}`;
  if (kind < 10) return `${['x', 'xp', 'p', 'print'][below(4)]!}/${below(40)}${'xduoci'[below(7)] ?? ''}${'bhwg'[below(5)] ?? ''} ${word(below)}`;
  const name = COMMANDS[below(COMMANDS.length)]!;
  return [name, ...Array.from({ length: below(5) }, () => (WRITING.has(name) ? place(below) : word(below)))].join(' ');
}

/** A value of JSON: mostly texts and numbers, now and then a structure. */
function jsonValue(below: Below, text: (below: Below) => string, depth = 0): unknown {
  const kind = below(depth > 3 ? 6 : 9);
  if (kind < 3) return text(below);
  if (kind === 3) return [0, 1, -1, 4096, 2 ** 53, 2 ** 64, 1e300, 0.5, 0x7c00][below(9)];
  if (kind < 6) return [true, false, null][below(3)];
  if (kind < 8) return Array.from({ length: below(3) }, () => jsonValue(below, text, depth + 1));
  return Object.fromEntries(Array.from({ length: below(4) }, () => [jsonKey(below), jsonValue(below, text, depth + 1)]));
}

const KEYS = [
  'id',
  'driver',
  'type',
  'data',
  'node-name',
  'file',
  'filename',
  'backend',
  'addr',
  'key',
  'down',
  'capability',
  'state',
  'axis',
  'value',
  '__proto__',
];
const jsonKey = (below: Below): string => KEYS[below(KEYS.length)]!;

function qmpMessage(below: Below): string {
  const name = MESSAGES[below(MESSAGES.length)]!;
  const row = qmpCommands[name]!;
  const text = WRITING.has(name) ? place : word;
  const keys = [...parametersOf(row), ...(row.open || below(20) === 0 ? Array.from({ length: below(5) }, () => jsonKey(below)) : [])];
  const given = keys.filter(() => below(4) > 0).map((key) => [key, key === 'command-line' ? monitorLine(below) : jsonValue(below, text)] as const);
  const whole = JSON.stringify({ execute: name, ...(below(6) === 0 ? {} : { arguments: Object.fromEntries(given) }), id: below(1000) });
  if (below(8) > 0) return whole;
  // Some are cut, or have letters changed: then they may name other commands, but not those that end the run.
  const at = below(whole.length);
  const mutated = below(2) === 0 ? whole.slice(0, at) : `${whole.slice(0, at)}${'{}[]",:\\x0'[below(10)]!}${whole.slice(at + 1)}`;
  // 0xff drops what is unfinished, which would swallow what comes behind it.
  return mutated.includes('"quit"') ? whole : `${mutated}${below(10) > 0 ? '\u00ff' : ''}`;
}

async function connected(running: Running, path: string): Promise<Socket> {
  for (;;) {
    const socket = connect(path);
    try {
      await once(socket, 'connect');
      return socket;
    } catch {
      await Promise.race([new Promise((resolve) => setTimeout(resolve, 50)), running.ended.then(({ err }) => Promise.reject(new Error(err)))]);
    }
  }
}

/** Sends batches, each when the one before was answered: `seen` says of what came whether that is so. */
async function talk(running: Running, socket: Socket, batches: number, batch: (n: number) => { text: string; seen: (came: string) => boolean }) {
  let [came, bytes] = ['', 0];
  const bugs = new Set<string>();
  let look = (): void => {};
  const died = running.ended.then(({ status, err }) => Promise.reject(new Error(`it ended with ${String(status)}: ${err.slice(-2000)}`)));
  socket.setEncoding('latin1');
  socket.on('data', (data) => {
    came += String(data);
    bytes += data.length;
    look();
  });
  for (let n = 0; n < batches; n++) {
    const { text, seen } = batch(n);
    came = '';
    const answered = new Promise<void>((resolve) => (look = () => seen(came) && resolve()));
    socket.write(text, 'latin1');
    await Promise.race([answered, died]);
    for (const [bug] of came.matchAll(/.{0,60}internal error.{0,100}/g)) bugs.add(bug);
  }
  expect([...bugs].slice(0, 20)).toEqual([]);
  return bytes;
}

const PROMPT = '(nestvm) ';

it(`a monitor stands ${LINES} lines of nonsense, and QMP as many messages`, { timeout: 300_000 + 20 * LINES }, async () => {
  const [monitor, qmp] = [pathFor('fuzzed-monitor'), pathFor('fuzzed-qmp')];
  const folder = temporaryFolder('monitor-fuzz');
  writeFileSync(join(folder, 'image'), new Uint8Array(8192));
  const devices = [
    'virtio-scsi-pci,id=s0',
    'virtio-net-pci,netdev=n0,id=v0',
    'virtio-balloon-pci,id=b0',
    'virtio-keyboard-pci,id=k0',
    'virtio-serial-pci',
  ];
  const running = startWith(
    { stdio: ['pipe', 'pipe', 'pipe'], cwd: folder },
    'run',
    ...guest(...IDLE),
    '-serial',
    'null',
    '-cdrom',
    'image',
    '-drive',
    'if=none,id=d0,file=image',
    '-netdev',
    'user,id=n0',
    '-no-shutdown',
    ...devices.flatMap((device) => ['-device', device]),
    '-monitor',
    `unix:${monitor},server=on,wait=off`,
    '-qmp',
    `unix:${qmp},server=on,wait=off`,
  );
  const below = random(20_261);
  const lines = await connected(running, monitor);
  let told = await talk(running, lines, Math.ceil(LINES / BATCH), () => {
    const batch = Array.from({ length: BATCH }, () => monitorLine(below));
    return { text: `${batch.join('\n')}\n`, seen: (came) => came.split(PROMPT).length > BATCH };
  });
  console.log(`monitor: ${LINES} lines, ${told} bytes of answers`);
  const messages = await connected(running, qmp);
  messages.write('{"execute":"qmp_capabilities"}');
  told = await talk(running, messages, Math.ceil(LINES / BATCH), (n) => ({
    // 0xff drops what is unfinished.
    text: `${Array.from({ length: BATCH }, () => qmpMessage(below)).join('\n')}\u00ff{"execute":"query-name","id":"all of ${n}"}`,
    seen: (came) => came.includes(`"all of ${n}"`),
  }));
  console.log(`QMP: ${LINES} messages, ${told} bytes of answers`);
  lines.write('quit\n');
  const { status, err } = await running.ended;
  expect([status, err.includes(' at ')]).toEqual([0, false]);
});
