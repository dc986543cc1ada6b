import { expect, it } from 'vitest';
import { SendBuffer } from './send-buffer.js';

it('is a queue of bytes of any length, whose front can be read anywhere', () => {
  const buffer = new SendBuffer();
  const model: number[] = [];
  let seed = 1;
  const random = (limit: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return (seed >>> 8) % limit;
  };
  for (let step = 0; step < 3000; step++) {
    const bytes = Uint8Array.from({ length: random(step % 50 === 0 ? 20_000 : 900) }, () => random(256));
    buffer.push(bytes);
    for (const byte of bytes) model.push(byte);
    bytes.fill(0);
    const count = step % 400 === 399 ? model.length : Math.min(model.length, random(1200));
    buffer.drop(count);
    model.splice(0, count);
    expect(buffer.length).toBe(model.length);
    const offset = random(model.length + 1);
    const target = new Uint8Array(random(model.length - offset + 1));
    buffer.copy(offset, target);
    expect(Buffer.from(target).equals(Buffer.from(model.slice(offset, offset + target.length)))).toBe(true);
  }
});

it('gives much room back once it is empty', () => {
  const buffer = new SendBuffer();
  buffer.push(new Uint8Array(2 ** 21));
  buffer.drop(2 ** 21);
  buffer.push(Uint8Array.of(7));
  const target = new Uint8Array(1);
  buffer.copy(0, target);
  expect([...target, buffer.length]).toEqual([7, 1]);
});
