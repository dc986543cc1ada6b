import { expect, it } from 'vitest';
import { Flash, FwCfg } from '../src/platform/index.js';
import { random, TestBoard } from './board.js';

const OPERATIONS = Number(globalThis.process?.env['NESTVM_FUZZ_OPERATIONS'] ?? 1_000_000);
const WIDTHS = [1, 2, 4] as const;
const BASE = 0xffc0_0000;
const BYTES = 0x4000;
/** The commands of the flash, counts of its buffer, and what confirms. */
const TELLING = [0x10, 0x20, 0x40, 0x50, 0x60, 0x70, 0x90, 0x98, 0xd0, 0xe8, 0xf0, 0xff, 0, 3, 0x7ff, 0x800];

it.each([false, true])(
  `a flash (read-only: %s) stands a hostile guest for ${OPERATIONS} operations: nothing outside of it changes, and what changes is told`,
  (readOnly) => {
    const board = new TestBoard();
    const all = new Uint8Array(3 * BYTES).fill(0x5a);
    const memory = all.subarray(BYTES, 2 * BYTES);
    const kept = memory.slice();
    let stores = 0;
    const options = { name: 'flash0', base: BASE, memory, readOnly, show: () => {} };
    const flash = new Flash({
      ...options,
      onStore: (offset, bytes) => {
        stores++;
        kept.set(bytes, offset);
      },
    });
    flash.attach(board.wiring);
    const next = random(0xf1a5 + Number(readOnly));
    let place = 0;
    for (let i = 0; i < OPERATIONS; i++) {
      const width = WIDTHS[next(8) === 0 ? next(3) : 0]!;
      // Most commands come in sequences at places that follow each other.
      place = next(4) === 0 ? next(BYTES) : place + width;
      if (place + width > BYTES) place = next(8) === 0 ? BYTES - width : 0;
      const rare = next(5000);
      if (rare === 0) flash.reset();
      else if (rare === 1) flash.load(JSON.parse(JSON.stringify(flash.save())));
      else if (next(4) === 0) board.mmio.read(BASE + place, width);
      else board.mmio.write(BASE + place, width, next(4) === 0 ? next(2 ** 32) % 2 ** (8 * width) : TELLING[next(TELLING.length)]!);
    }
    expect(Buffer.from(kept).equals(memory)).toBe(true);
    expect([...all.subarray(0, BYTES), ...all.subarray(2 * BYTES)].every((byte) => byte === 0x5a)).toBe(true);
    if (readOnly) expect(stores).toBe(0);
    else expect(stores).toBeGreaterThan(OPERATIONS / 1000);
    console.log(`fuzz pflash (read-only: ${readOnly}): ${OPERATIONS} operations, ${stores} stores`);
  },
  600_000,
);

it(`fw_cfg stands a hostile guest for ${OPERATIONS} operations, and its items stay as they are`, () => {
  const board = new TestBoard();
  const device = new FwCfg({ ramBytes: 1 << 20 });
  const file = Uint8Array.from({ length: 5000 }, (_, i) => i);
  device.setFile('opt/file', file);
  device.setFile('etc/renewed', new Uint8Array(64), () => new Uint8Array(64).fill(7));
  device.attach(board.wiring);
  const before = file.slice();
  const next = random(0xfc);
  const { bytes } = board.memory;
  const view = new DataView(bytes.buffer);
  let transfers = 0;
  for (let i = 0; i < OPERATIONS; i++) {
    const kind = next(8);
    if (kind === 0) board.out(0x510, next(2) ? next(0x30) : next(0x1_0000), 2);
    else if (kind < 3) board.in(0x510 + next(2), WIDTHS[next(3)]!);
    else if (kind === 3) board.out(0x510 + next(12), next(2 ** 32), 1);
    else if (kind === 4 && next(1000) === 0) device.load(JSON.parse(JSON.stringify(device.save())));
    else {
      // A transfer as drivers begin it, with anything in its fields.
      const at = next(32) === 0 ? bytes.length - 1 - next(20) : next(bytes.length - 16);
      if (at + 16 <= bytes.length) {
        view.setUint32(at, (next(0x30) << 16) | (next(4) === 0 ? next(2 ** 16) : [2, 4, 8, 10, 16][next(5)]!));
        view.setUint32(at + 4, next(1024) === 0 ? next(2 ** 18) : next(8000));
        view.setUint32(at + 8, next(32) === 0 ? next(4) : 0);
        view.setUint32(at + 12, next(bytes.length));
      }
      if (next(16) === 0) board.out(0x514, next(2) ? 0 : next(2 ** 32), 4);
      board.out(0x518, (((at & 0xff) << 24) | ((at & 0xff00) << 8) | ((at >>> 8) & 0xff00) | (at >>> 24)) >>> 0, 4);
      transfers++;
    }
  }
  expect(file).toEqual(before);
  console.log(`fuzz fw_cfg: ${OPERATIONS} operations, ${transfers} transfers`);
}, 600_000);
