import { parseCpu } from '@nestvm/isa/models';
import { describe, expect, it } from 'vitest';
import { createMachine, MachineError, type MachineOptions } from '../src/index.js';

const options = (rest: Partial<MachineOptions>): MachineOptions => ({
  board: 'pc',
  cpu: 'host',
  memoryBytes: 4 << 20,
  images: [{ file: { name: 'guest', bytes: Uint8Array.of(0xf4) }, address: 0x7c00, entry: 'real' }],
  ...rest,
});

const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof MachineError) return error.code;
    throw error;
  }
  return 'none';
};

describe('the nesting switch', () => {
  it('is off by default', () => {
    const { cpu } = createMachine(options({})).config;
    expect([cpu.has('vmx'), cpu.has('svm')]).toEqual([false, false]);
  });

  it('gives host VMX, or SVM by vendor', () => {
    expect(createMachine(options({ nested: true })).config.cpu.has('vmx')).toBe(true);
    const amd = createMachine(options({ nested: { vendor: 'amd' } })).config.cpu;
    expect([amd.vendor, amd.has('svm')]).toEqual(['amd', true]);
    expect(createMachine(options({ cpu: 'EPYC,svm=on', nested: true })).config.cpu.has('svm')).toBe(true);
  });

  it('attaches the extension to every vCPU', () => {
    const svm = createMachine(options({ cpu: parseCpu('EPYC', { sockets: 2, cores: 1, threads: 1 }, { nested: true }), nested: true }));
    expect(svm.cpus.map((cpu) => cpu.virtualization?.ledger.kind)).toEqual(['vmcb', 'vmcb']);
    expect(createMachine(options({})).cpus[0]!.virtualization).toBeNull();
    expect(svm.levels()).toMatchObject({ entries: 0, exits: [], contexts: [] });
  });

  it('refuses a CPU with an extension while it is off, or of another vendor', () => {
    const cpu = parseCpu('host', undefined, { nested: true });
    expect(codeOf(() => createMachine(options({ cpu })))).toBe('nesting-off');
    expect(codeOf(() => createMachine(options({ cpu, nested: { vendor: 'amd' } })))).toBe('bad-option');
    expect(codeOf(() => createMachine(options({ cpu, nested: { vendor: 'intel' } })))).toBe('none');
    expect(() => createMachine(options({ cpu: 'Haswell,vmx=on' }))).toThrow(/nested virtualization is off/);
  });
});
