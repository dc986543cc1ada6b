import { expect, it } from 'vitest';
import { parseSoakOptions, soakHelp } from './options.js';

it('knows its options', () => {
  expect(parseSoakOptions([])).toEqual({ vendors: ['intel', 'amd'], minutes: 10, everyNs: 1e9, seed: 1, reference: 'on' });
  expect(parseSoakOptions(['--', '--hours', '2', '--vendor=amd', '--every', '5', '--seed', '9', '--reference', 'off', '--label', 'x'])).toEqual({
    vendors: ['amd'],
    minutes: 120,
    everyNs: 5e6,
    seed: 9,
    reference: 'off',
    label: 'x',
  });
  expect(parseSoakOptions(['--help', '--vendor', 'none'])).toBe('help');
  expect(soakHelp).toContain('--vendor V');
});

it.each([
  [['--foo'], /^Unknown option '--foo'; --help lists the options$/],
  [['foo'], /^Unexpected argument 'foo'.*--help lists the options$/],
  [['--minutes'], /--minutes.*argument missing; --help/],
  [['--minutes', '0'], /^--minutes 0: write a number above 0/],
  [['--hours', 'x'], /^--hours x: write a number above 0/],
  [['--vendor', 'via'], /^--vendor via: there are intel, amd, both/],
  [['--reference', 'maybe'], /^--reference maybe: there are on, off/],
])('says in a line what it does not know: %j', (args, message) => {
  let said = '';
  try {
    parseSoakOptions(args);
  } catch (error) {
    said = (error as Error).message;
  }
  expect(said).toMatch(message);
  expect(said).not.toContain('\n');
});
