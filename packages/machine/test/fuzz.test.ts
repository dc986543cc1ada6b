import type { Width } from '@nestvm/bus';
import { parseCpu } from '@nestvm/isa/models';
import { describe, expect, it } from 'vitest';
import { boardNames, createEventLoopHost, createMachine, type Machine, type MachineOptions } from '../src/index.js';
import { random, scramble } from './random-code.js';

const RAM = 4 << 20;
const machineWith = (mode: 'real' | 'protected' | 'long', bytes: readonly number[], rest: Partial<MachineOptions> = {}): Machine =>
  createMachine({
    board: 'pc',
    cpu: parseCpu('max'),
    memoryBytes: RAM,
    images: [{ file: { name: 'guest', bytes: Uint8Array.from(bytes) }, address: 0x7c00, entry: mode }],
    serial: [{ write: () => {} }],
    debugConsole: { port: 0xe9, sink: { write: () => {} } },
    debugExit: { iobase: 0xf4, iosize: 4 },
    testDevice: true,
    ...rest,
  });

const WIDTHS: readonly Width[] = [1, 2, 4];

/** Accesses to every port, then at random to ports and addresses; returns how many there were. */
function hammer(machine: Machine, operations: number, next: (below: number) => number): number {
  const { ports, memory, mmio, clock } = machine;
  const checked = (value: number, width: Width, where: string): void => {
    if (!Number.isInteger(value) || value < 0 || value >= 2 ** (8 * width)) throw new Error(`${where} read as ${value}, ${width} bytes wide`);
  };
  let done = 0;
  for (let port = 0; port < 0x10000; port++) {
    const width = WIDTHS[port % 3]!;
    checked(ports.read(port, width), width, `port 0x${port.toString(16)}`);
    ports.write(port, width, next(2 ** 32) % 2 ** (8 * width));
    done += 2;
  }
  const regions = mmio.list();
  for (; done < operations; done++) {
    const width = WIDTHS[next(3)]!;
    const value = next(2 ** 32) % 2 ** (8 * width);
    if (next(256) === 0) clock.advanceTo(clock.nowNs() + next(2_000_000));
    if (next(3) === 0) {
      const port = next(2) ? next(0x10000) : next(0x400);
      if (next(2)) checked(ports.read(port, width), width, `port 0x${port.toString(16)}`);
      else ports.write(port, width, value);
      continue;
    }
    const region = regions[next(regions.length)];
    const address = region && next(4) ? region.base + next(Math.min(region.size, 0x100000)) : RAM + next(2 ** 32) * (next(2) ? 1 : 2 ** 18);
    const where = `address 0x${address.toString(16)}`;
    if (next(2)) checked(width === 1 ? memory.read8(address) : width === 2 ? memory.read16(address) : memory.read32(address) >>> 0, width, where);
    else if (width === 1) memory.write8(address, value);
    else if (width === 2) memory.write16(address, value);
    else memory.write32(address, value);
  }
  return done;
}

describe('every port and address', { timeout: 900_000 }, () => {
  it.each(boardNames)('%s', (board) => {
    const machine = machineWith('real', [0xf4], { board });
    const done = hammer(machine, 1_000_000, random(boardNames.indexOf(board) + 77));
    console.log(`fuzz of ports and MMIO on ${board}: ${done} accesses`);
    expect(done).toBeGreaterThanOrEqual(1_000_000);
    // A reset makes it the machine that it was.
    machine.reset();
    expect(machine.ports.read(0x64, 1) & 0xc0).toBe(machine.platform.keyboard ? 0 : 0xc0);
  });
});

describe('random code', { timeout: 900_000 }, () => {
  it.each([
    ['real', 16],
    ['protected', 32],
    ['long', 64],
  ] as const)('that starts in %s mode', (mode, bits) => {
    const next = random(bits * 31337);
    const machine = machineWith(mode, [0xf4]);
    const faults = new Map<number, number>();
    const ends = new Map<string, number>();
    machine.trace({ delivery: (_cpu, vector) => void faults.set(vector, (faults.get(vector) ?? 0) + 1) });
    const [executor] = machine.executors;
    const before = executor!.retired;
    let rounds = 0;
    while (executor!.retired - before < 1_000_000 && rounds < 20_000) {
      rounds++;
      machine.reset();
      scramble(machine, bits, next);
      const stop = executor!.run(3_000);
      ends.set(stop, (ends.get(stop) ?? 0) + 1);
      machine.clock.advanceTo(machine.clock.nowNs() + next(100_000));
    }
    const retired = executor!.retired - before;
    const listed = [...faults]
      .filter(([vector]) => vector < 32)
      .sort((a, b) => a[0] - b[0])
      .map(([vector, count]) => `${vector}:${count}`);
    console.log(`random ${bits}-bit code: ${retired} instructions in ${rounds} programs, ${[...ends].join(' ')}; deliveries ${listed.join(' ')}`);
    expect(retired).toBeGreaterThanOrEqual(1_000_000);
    // The usual suspects must have come up, or the programs were not random enough to mean anything.
    for (const vector of [6, 13]) if (bits !== 16 || vector === 6) expect(faults.get(vector) ?? 0).toBeGreaterThan(100);
  });
});

it('triple faults without end: the machine resets each time and can be stopped', async () => {
  // lidt [0] with a zero limit; int3.
  const machine = machineWith('protected', [0x0f, 0x01, 0x1d, 0x00, 0x00, 0x00, 0x00, 0xcc], {
    host: createEventLoopHost(globalThis),
    clock: { kind: 'host' },
  });
  let resets = 0;
  machine.trace({ reset: () => void resets++ });
  const timer = setInterval(() => resets > 3 && machine.stop(), 5);
  expect(await machine.run()).toEqual({ kind: 'stopped' });
  clearInterval(timer);
});
