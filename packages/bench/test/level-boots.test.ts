import { expect, it } from 'vitest';
import { formatLevelBoots, LevelBootsReader } from '../src/index.js';

const bootsOf = (...times: number[]) => {
  let now = 0;
  const reader = new LevelBootsReader(() => ({ wallMs: now, cpuMs: now }));
  times.forEach((ms, i) => {
    now = ms;
    reader.push(`something\nhello fr`);
    reader.push(`om L${i + 1}, up 1.00 s\n`);
  });
  return reader.finish();
};

it('takes the least CPU time to each level, and says what is missing', () => {
  const runs = [bootsOf(4000, 8000, 16_000), bootsOf(3000, 9000)];
  const text = formatLevelBoots([{ name: 'SVM', runs, entries: new Map([[3, 70_000]]) }], 3);
  expect(text).toContain('| CPU s to | L1 | L2 | L3 | VM entries, 2 levels | VM entries, 3 levels |');
  expect(text).toContain('| SVM | 3.0 | 8.0 | 16.0 | – | 70000 |');
});
