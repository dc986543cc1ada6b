import { HeldBlocks } from '@nestvm/state';
import { expect, test } from 'vitest';
import { ContainerReader, ContainerWriter } from '../src/container.js';
import {
  createMemorySink,
  createMemorySource,
  type HeldDisk,
  loadSnapshot,
  type MigratableMachine,
  MigrationError,
  saveSnapshot,
} from '../src/index.js';
import { move } from './moving.js';
import { ToyMachine, usedMachine } from './toy-machine.js';

const BLOCK = 4096;

/** A toy with a disk of 100 blocks, some of them held. */
function withDisk(machine: ToyMachine, blocks: Readonly<Record<number, number>> = {}, blockBytes = BLOCK) {
  const held = new HeldBlocks(100 * BLOCK - 512, blockBytes);
  for (const [index, value] of Object.entries(blocks)) held.set(Number(index), new Uint8Array(blockBytes).fill(value));
  const disks: HeldDisk[] = [{ name: 'disk', blocks: held }];
  return Object.assign(machine, { held, heldDisks: () => disks });
}

const contents = ({ held }: { held: HeldBlocks }): [number, number][] => held.indices().map((index) => [index, held.get(index)![7]!]);

async function saved(machine: MigratableMachine): Promise<Uint8Array> {
  const sink = createMemorySink();
  await saveSnapshot(machine, sink);
  return sink.bytes();
}

const refusal = (machine: MigratableMachine, bytes: Uint8Array): Promise<unknown> =>
  loadSnapshot(machine, () => createMemorySource(bytes)).catch((error: unknown) => error);

test('what a disk holds in memory is saved and loaded, in place of what was there', async () => {
  const blocks = Object.fromEntries(Array.from({ length: 99 }, (_, i) => [i + (i > 40 ? 1 : 0), (i % 250) + 1]));
  const bytes = await saved(withDisk(usedMachine(), { ...blocks }));
  const target = withDisk(new ToyMachine(), { 3: 99 });
  await loadSnapshot(target, () => createMemorySource(bytes));
  expect(contents(target)).toEqual(Object.entries(blocks).map(([index, value]) => [Number(index), value]));
  // A machine without writes, and one that kept no disk in memory: nothing is held afterwards.
  for (const one of [withDisk(usedMachine()), usedMachine()]) {
    const other = withDisk(new ToyMachine(), { 3: 99 });
    await loadSnapshot(other, await sourceOf(one));
    expect(contents(other)).toEqual([]);
  }
});

async function sourceOf(machine: MigratableMachine): Promise<() => ReturnType<typeof createMemorySource>> {
  const bytes = await saved(machine);
  return () => createMemorySource(bytes);
}

test('a machine without such a disk refuses, and stays as it was', async () => {
  const bytes = await saved(withDisk(usedMachine(), { 5: 1 }));
  const plain = new ToyMachine();
  const before = plain.fingerprint();
  expect(await refusal(plain, bytes)).toMatchObject({ code: 'other-machine', unit: 'disk', message: expect.stringContaining('-snapshot') });
  expect(plain.fingerprint()).toBe(before);
  const coarse = withDisk(new ToyMachine(), { 1: 7 }, 2 * BLOCK);
  expect(await refusal(coarse, bytes)).toMatchObject({ code: 'other-machine', unit: 'disk' });
  expect(contents(coarse)).toEqual([[1, 7]]);
  // Nothing was written to it there: its image is all there is.
  await loadSnapshot(plain, await sourceOf(withDisk(usedMachine())));
  expect(plain.fingerprint()).toBe(usedMachine().fingerprint());
});

test('sections that lie about blocks are refused with their place, and nothing changes', async () => {
  const value = { disk: 'disk', blockBytes: BLOCK, first: 5, data: new Uint8Array(BLOCK) };
  const lies = [
    { ...value, disk: 4 },
    { ...value, first: -1 },
    { ...value, first: 0.5 },
    { ...value, first: 100 },
    { ...value, first: 99, data: new Uint8Array(2 * BLOCK) },
    { ...value, data: new Uint8Array(BLOCK - 1) },
    { ...value, data: new Uint8Array(0) },
    { disk: 'disk', blockBytes: BLOCK, first: 5, forgotten: 2 ** 60 },
    { disk: 'disk', blockBytes: BLOCK, first: 5 },
  ];
  const whole = await saved(withDisk(usedMachine(), { 5: 1 }));
  for (const lie of lies) {
    const target = withDisk(new ToyMachine(), { 1: 7 });
    expect(await refusal(target, await withSection(whole, lie))).toMatchObject({ code: 'corrupt', offset: expect.any(Number) });
    expect([contents(target), target.counter]).toEqual([[[1, 7]], 0]);
  }
});

/** A snapshot with another section `DISK` in place of its own. */
async function withSection(whole: Uint8Array, value: Parameters<ContainerWriter['value']>[1]): Promise<Uint8Array> {
  const input = new ContainerReader(createMemorySource(whole));
  const sink = createMemorySink();
  const out = new ContainerWriter(sink);
  await input.begin();
  await out.begin(true);
  for (;;) {
    const { kind, payload } = await input.next();
    if (kind === 'END ') break;
    if (kind === 'DISK') await out.value('DISK', value);
    else await out.section(kind, payload);
  }
  await out.end();
  return sink.bytes();
}

test('a disk that is written while its machine moves arrives as it was when the machine was stopped', async () => {
  const toy = withDisk(usedMachine(), { 1: 1, 2: 2, 90: 90 });
  const target = withDisk(new ToyMachine(), { 50: 50 });
  const ending = await move({
    from: toy,
    target,
    onPass: (source, pass) => {
      if (!source.running) return;
      toy.held.set(10 + pass, new Uint8Array(BLOCK).fill(pass));
      toy.held.writable(2)![7] = 100 + pass;
      if (pass === 2) toy.held.delete(90);
    },
  });
  expect([ending.sourceError, ending.targetError, ending.target.running]).toEqual([undefined, undefined, true]);
  expect(contents(target)).toEqual(contents(toy));
  expect(contents(toy).length).toBeGreaterThan(3);
  expect(toy.held.takeChanged()).toEqual([]);
});

test('a target without the disk refuses, and the source goes on', async () => {
  const ending = await move({ from: withDisk(usedMachine(), { 1: 1 }) });
  expect(ending.sourceError).toBeInstanceOf(MigrationError);
  expect(ending.sourceError!.message).toMatch(/target refuses: .*-snapshot.*goes on as if nothing had been/);
  expect([ending.source.running, ending.target.running]).toEqual([true, false]);
});
