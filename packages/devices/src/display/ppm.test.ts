import { expect, it } from 'vitest';
import { formatPpm, isDisplay } from './index.js';

it('a pixmap has the pixels without alpha', () => {
  const file = formatPpm({ width: 2, height: 1, pixels: Uint8Array.of(1, 2, 3, 255, 250, 251, 252, 255) });
  expect([...file]).toEqual([...new TextEncoder().encode('P6\n2 1\n255\n'), 1, 2, 3, 250, 251, 252]);
});

it('a display is known by its picture', () => {
  expect(isDisplay({ name: 'card', picture: () => undefined })).toBe(true);
  expect(isDisplay({ name: 'disk' })).toBe(false);
});
