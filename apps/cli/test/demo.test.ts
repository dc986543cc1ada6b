import { expect, it } from 'vitest';
import { nestvm } from './spawn.js';

const TIMEOUT = 300_000;

it('demo shows three levels on both vendors, and ends with status 0', { timeout: TIMEOUT }, async () => {
  const { status, out, err } = await nestvm('demo');
  expect(err).toBe('');
  for (const title of ['Intel VMX', 'AMD SVM']) expect(out).toContain(title);
  expect(out.match(/L3 {2}hello from L3/g)).toHaveLength(8);
  // Counts by reason, of both.
  for (const reason of ['VMRESUME', 'VMREAD', 'VMRUN', 'VMMCALL', 'CPUID', 'HLT', 'IOIO'])
    expect(out).toMatch(new RegExp(`\\d+ +[\\d.]+ % +${reason}`));
  expect(out).not.toContain('FAILED');
  expect(status).toBe(0);
});

it('demo snapshot: refused while L2 runs, then saved, and a second process goes on', { timeout: TIMEOUT }, async () => {
  const { status, out, err } = await nestvm('demo', 'snapshot');
  expect(err).toBe('');
  expect(out).toMatch(/L2 {2}counts 4\n {2}savevm: cannot save this machine: a nested guest \(L2\) is active[^]*resident[^]*VMRESUME/);
  expect(out.indexOf('L2 has ended')).toBeLessThan(out.indexOf('savevm: saved'));
  expect(out.slice(out.indexOf('savevm: saved'))).toMatch(/L1 {2}counts 5\n[^]*L1 {2}counts 12\n {2}the second process counted to the end/);
  expect(status).toBe(0);
});

it('demo kernel runs without nesting', { timeout: TIMEOUT }, async () => {
  const { status, out } = await nestvm('demo', 'kernel');
  expect(out).toContain('timer ticks: 20');
  expect(status).toBe(0);
});

it('an unknown demo names the nearest', { timeout: TIMEOUT }, async () => {
  const { status, err } = await nestvm('demo', 'smv');
  expect(err).toBe("nestvm: demo smv: no such demo; the nearest is 'svm'\n");
  expect(status).toBe(2);
});
