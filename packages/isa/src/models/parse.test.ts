import { describe, expect, it } from 'vitest';
import { cpuSignature, supportedXcr0 } from './cpuid.js';
import { implementedFeatures } from './features.js';
import { nearestName } from './nearest.js';
import { cpuModelNames, parseCpu } from './parse.js';

const state = { apicId: 0, apicEnabled: true, cr4: 0, xcr0: 1, xss: 0, limitMaximum: false };

describe('parseCpu', () => {
  it('knows every name that it lists, and answers every leaf with 32-bit values', () => {
    for (const name of cpuModelNames) {
      const cpu = parseCpu(name, { sockets: 1, cores: 3, threads: 2 });
      expect(cpu.name).toBe(name);
      for (const feature of cpu.features) expect(implementedFeatures.has(feature)).toBe(true);
      for (const leaf of [...Array(0x24).keys(), 0x40000000, ...Array.from({ length: 0x24 }, (_, i) => 0x80000000 + i), 0xffffffff]) {
        for (let sub = 0; sub < 12; sub++) {
          for (const value of Object.values(cpu.cpuid(leaf, sub, state)))
            expect(value >= 0 && value <= 0xffffffff && Number.isInteger(value), `${name} ${leaf.toString(16)}.${sub}`).toBe(true);
        }
      }
    }
  });

  it('resolves aliases and versions', () => {
    expect(cpuSignature(parseCpu('Haswell-noTSX-IBRS'))).toBe(0x306c1);
    expect(cpuSignature(parseCpu('EPYC-Rome'))).toBe(0x830f10);
    expect(parseCpu('Haswell-noTSX-IBRS').has('spec-ctrl')).toBe(true);
    expect(parseCpu('Haswell').missing).toEqual(['hle', 'rtm']);
  });

  it('applies +, - and = in order', () => {
    const cpu = parseCpu('Haswell-noTSX,-avx,sse4_2=off,+avx2,vendor=amd,family=0x19');
    expect(cpu.has('avx2')).toBe(false); // stands on avx
    expect(cpu.has('sse4.2')).toBe(false);
    expect(cpu.vendor).toBe('amd');
    expect(cpu.family).toBe(0x19);
    expect(parseCpu('max,-smep,+smep').has('smep')).toBe(true);
    expect(parseCpu('max,vendor=amd').cpuid(0, 0, state).ebx).toBe(0x68747541);
  });

  it('names the nearest', () => {
    expect(() => parseCpu('Hasswell')).toThrow(/nearest is 'Haswell'/);
    expect(() => parseCpu('max,+avx22')).toThrow(/nearest is 'avx2'/);
    expect(() => parseCpu('max,avx=maybe')).toThrow(/neither on nor off/);
    expect(() => parseCpu('max,phys-bits=99')).toThrow(/between 32 and 52/);
    expect(() => parseCpu('EPYC,enforce')).toThrow(/does not have/);
    expect(nearestName('zzzzzzzz', ['abc'])).toBeUndefined();
  });
});

describe('cpuid', () => {
  it('shows run-time state', () => {
    const cpu = parseCpu('max');
    expect(cpu.cpuid(1, 0, { ...state, apicId: 3 }).ebx >>> 24).toBe(3);
    expect((cpu.cpuid(1, 0, { ...state, cr4: 1 << 18 }).ecx >>> 27) & 1).toBe(1);
    expect((cpu.cpuid(1, 0, state).ecx >>> 27) & 1).toBe(0);
    expect((cpu.cpuid(1, 0, { ...state, apicEnabled: false }).edx >>> 9) & 1).toBe(0);
    expect((cpu.cpuid(7, 0, { ...state, cr4: 1 << 22 }).ecx >>> 4) & 1).toBe(1);
    expect(cpu.cpuid(0, 0, { ...state, limitMaximum: true }).eax).toBe(2);
  });

  it('gives XSAVE sizes that follow XCR0', () => {
    const cpu = parseCpu('max');
    expect(supportedXcr0(cpu)).toBe(0x207);
    expect(cpu.cpuid(13, 0, { ...state, xcr0: 1 }).ebx).toBe(576);
    expect(cpu.cpuid(13, 0, { ...state, xcr0: 7 }).ebx).toBe(832);
    expect(cpu.cpuid(13, 0, { ...state, xcr0: 0x207 })).toEqual({ eax: 0x207, ebx: 2696, ecx: 2696, edx: 0 });
    expect(cpu.cpuid(13, 1, { ...state, xcr0: 0x207 }).ebx).toBe(840);
  });

  it('says 1 GHz in leaves 15h and 16h of models that have them', () => {
    const { eax, ebx, ecx } = parseCpu('max').cpuid(0x15, 0, state);
    expect((ecx * ebx) / eax).toBe(1e9);
    expect(parseCpu('Icelake-Server').level).toBeGreaterThanOrEqual(0xd);
    expect(parseCpu('EPYC').cpuid(0x15, 0, state)).toEqual({ eax: 0, ebx: 0, ecx: 0, edx: 0 });
  });

  it('counts cores and threads', () => {
    const cpu = parseCpu('Haswell', { sockets: 1, cores: 2, threads: 2 });
    expect(cpu.cpuid(0xb, 0, state)).toEqual({ eax: 1, ebx: 2, ecx: 0x100, edx: 0 });
    expect(cpu.cpuid(0xb, 1, state)).toEqual({ eax: 2, ebx: 4, ecx: 0x201, edx: 0 });
    expect((cpu.cpuid(1, 0, state).ebx >>> 16) & 0xff).toBe(4);
  });
});
