import { createMachine } from '@nestvm/machine';
import { describe, expect, it } from 'vitest';
import { svmImage, vmxImage } from '../src/index.js';

/** Outcome, console and VM entries of three levels, with the TLB in one of its debug modes. */
async function run(
  vendor: 'intel' | 'amd',
  mode: 'plain' | 'evict' | 'sanitize',
): Promise<{ outcome: unknown; text: string; entries: number; stale: string[] }> {
  const stale: string[] = [];
  let text = '';
  const machine = createMachine({
    board: 'pc',
    cpu: `host,vendor=${vendor}`,
    nested: true,
    memoryBytes: 64 << 20,
    kernel: { name: vendor, bytes: (vendor === 'intel' ? vmxImage : svmImage)().bytes },
    clock: { kind: 'virtual', shift: 0, sleep: false },
    reboot: false,
    debugExit: { iobase: 0xf4, iosize: 4 },
    serial: [{ write: (byte) => void (text += String.fromCharCode(byte)) }],
    ...(mode === 'evict' ? { tlb: { evictSeed: 7 } } : {}),
    ...(mode === 'sanitize' ? { tlb: { onStale: (_cpu, line) => void stale.push(line) } } : {}),
  });
  const outcome = await machine.run();
  return { outcome, text, entries: machine.levels().entries, stale };
}

describe.each(['intel', 'amd'] as const)('three levels on %s', (vendor) => {
  it('do the same under random eviction, and use no stale translation', { timeout: 300_000 }, async () => {
    const plain = await run(vendor, 'plain');
    expect(plain.entries).toBeGreaterThan(100);
    expect(await run(vendor, 'evict')).toEqual(plain);
    expect(await run(vendor, 'sanitize')).toEqual(plain);
  });
});
