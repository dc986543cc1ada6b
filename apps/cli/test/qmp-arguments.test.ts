import { describe, expect, it } from 'vitest';
import { cpuOf, flagOf, numberOf, optionalNumber, textOf } from '../src/qmp/arguments.js';

describe('arguments of QMP commands', () => {
  it('are taken where they are what they should be', () => {
    const given = { text: 'x', flag: true, number: 2 ** 40, 'cpu-index': 1 };
    expect([textOf(given, 'text'), flagOf(given, 'flag'), flagOf(given, 'other'), numberOf(given, 'number')]).toEqual(['x', true, false, 2 ** 40]);
    expect([optionalNumber(given, 'other'), cpuOf(given, 2), cpuOf({}, 2)]).toEqual([undefined, 1, 0]);
  });

  it.each([-1, 0.5, 1e300, NaN, '5', null, true])('are refused where they are no whole number of 64 bits: %s', (value) => {
    expect(() => numberOf({ value }, 'value')).toThrow("Invalid parameter type for 'value', expected: number");
  });

  it('name vCPUs that there are', () => {
    expect(() => cpuOf({ 'cpu-index': 2 }, 2)).toThrow("Parameter 'cpu-index' expects a CPU number");
  });
});
