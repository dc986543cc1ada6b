import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { NetworkParts } from '../src/networks/parts.js';

const hasTshark = spawnSync('tshark', ['--version']).status === 0;

/** An ARP request of 10.0.2.15 for 10.0.2.2. */
const request = Buffer.from(`ffffffffffff5254001234560806${'0001080006040001'}${'525400123456'}0a00020f${'000000000000'}0a000202`, 'hex');

it('dumps come and go while frames pass', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nestvm-dump-'));
  const [first, second] = [join(folder, 'first'), join(folder, 'second')];
  const parts = new NetworkParts();
  const spec = { kind: 'user', id: 'n0', option: '-netdev user,id=n0', restrict: false, forwards: [] } as const;
  parts.create({ networks: [spec], dumps: [{ id: 'f0', netdev: 'n0', path: first, mostBytes: 65_536 }], nics: [] });
  const network = parts.take('n0')!;
  network.send(request);
  parts.addDump({ id: 'f1', netdev: 'n0', path: second, mostBytes: 65_536 });
  parts.removeDump('f0');
  network.send(request);
  parts.removeDump('f1');
  network.send(request);
  const sizes = [first, second].map((path) => statSync(path).size);
  parts.close();
  rmSync(folder, { recursive: true });
  // A question and its answer each.
  expect(sizes).toEqual([24 + 2 * (16 + 42), 24 + 2 * (16 + 42)]);
});

/** Asks so many times; the file of the cable, and how many answers came. */
function dump(questions: number): { path: string; answers: number; remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'nestvm-dump-'));
  const path = join(folder, 'n0.pcap');
  const parts = new NetworkParts();
  parts.create({
    networks: [{ kind: 'user', id: 'n0', option: '-netdev user,id=n0', restrict: false, forwards: [] }],
    dumps: [{ id: 'f0', netdev: 'n0', path, mostBytes: 65_536 }],
    nics: [],
  });
  const network = parts.take('n0')!;
  let answers = 0;
  network.receiver = () => answers++;
  for (let i = 0; i < questions; i++) network.send(request);
  parts.close();
  return { path, answers, remove: () => rmSync(folder, { recursive: true }) };
}

it.skipIf(!hasTshark)('tshark reads what filter-dump writes: a question of the guest and the answer of the network', () => {
  const { path, answers, remove } = dump(1);
  const { stdout } = spawnSync('tshark', ['-r', path, '-T', 'fields', '-e', 'arp.opcode', '-e', 'arp.dst.proto_ipv4'], { encoding: 'utf8' });
  remove();
  expect(answers).toBe(1);
  expect(stdout.trim().split('\n')).toEqual(['1\t10.0.2.2', '2\t10.0.2.15']);
});

it('times of filter-dump are those of the host, to the microsecond', () => {
  const startMs = Date.now();
  const { path, remove } = dump(50);
  const file = readFileSync(path);
  remove();
  const micros: number[] = [];
  for (let at = 24; at < file.length; at += 16 + file.readUInt32BE(at + 8)) micros.push(file.readUInt32BE(at) * 1e6 + file.readUInt32BE(at + 4));
  expect(micros).toHaveLength(100);
  for (const time of micros) expect(Math.abs(time / 1000 - startMs)).toBeLessThan(60_000);
  expect(micros.filter((time) => time % 1000 !== 0).length).toBeGreaterThan(50);
});
