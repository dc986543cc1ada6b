import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
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

it.skipIf(!hasTshark)('tshark reads what filter-dump writes: a question of the guest and the answer of the network', () => {
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
  network.send(request);
  parts.close();
  const { stdout } = spawnSync('tshark', ['-r', path, '-T', 'fields', '-e', 'arp.opcode', '-e', 'arp.dst.proto_ipv4'], { encoding: 'utf8' });
  rmSync(folder, { recursive: true });
  expect(answers).toBe(1);
  expect(stdout.trim().split('\n')).toEqual(['1\t10.0.2.2', '2\t10.0.2.15']);
});
