import { describe, expect, it } from 'vitest';
import { cpuSignature, supportedXcr0 } from './cpuid.js';
import { implementedFeatures } from './features.js';
import { nearestName } from './nearest.js';
import { cpuModelNames, parseCpu } from './parse.js';

const state = { apicId: 0, apicEnabled: true, cr4: 0, xcr0: 1, xss: 0, limitMaximum: false };

describe('parseCpu', () => {
  it('knows every name that it lists, and answers every leaf with 32-bit values', () => {
    // One expectation for hundreds of thousands of answers.
    const wrong: string[] = [];
    for (const name of cpuModelNames) {
      const cpu = parseCpu(name, { sockets: 1, cores: 3, threads: 2 });
      expect(cpu.name).toBe(name);
      expect([...cpu.features].filter((feature) => !implementedFeatures.has(feature))).toEqual([]);
      for (const leaf of [...Array(0x24).keys(), 0x40000000, ...Array.from({ length: 0x24 }, (_, i) => 0x80000000 + i), 0xffffffff]) {
        for (let sub = 0; sub < 12; sub++) {
          for (const value of Object.values(cpu.cpuid(leaf, sub, state)))
            if (!(value >= 0 && value <= 0xffffffff && Number.isInteger(value))) wrong.push(`${name} ${leaf.toString(16)}.${sub}`);
        }
      }
    }
    expect(wrong).toEqual([]);
  });

  it('resolves aliases and versions', () => {
    expect(cpuSignature(parseCpu('Haswell-noTSX-IBRS'))).toBe(0x306c1);
    expect(cpuSignature(parseCpu('EPYC-Rome'))).toBe(0x830f10);
    expect(parseCpu('Haswell-noTSX-IBRS').has('spec-ctrl')).toBe(true);
    expect(parseCpu('Haswell').missing).toEqual(['hle', 'rtm']);
  });

  it('shows features that a capability MSR announces', () => {
    const capabilities = (text: string): bigint => parseCpu(text).msr(0x10a);
    expect(capabilities('Cascadelake-Server-v2') & 0x2bn).toBe(0x2bn); // RDCL_NO, IBRS_ALL, SKIP_L1DFL_VMENTRY, MDS_NO
    expect(capabilities('max,-rdctl-no') & 3n).toBe(2n);
    expect(capabilities('max') >> 62n).toBe(1n); // ITS_NO
    expect(capabilities('Haswell')).toBe(0n);
  });

  it('max and host have performance counters, named models on request', () => {
    const leaf = (text: string): number[] => Object.values(parseCpu(text).cpuid(0xa, 0, state));
    expect(leaf('host')).toEqual([0x07300402, 0x78, 0, 0x603]);
    expect(leaf('Haswell,pmu=on')).toEqual(leaf('max'));
    for (const text of ['Haswell', 'max,pmu=off', 'max,vendor=amd']) expect(leaf(text)).toEqual([0, 0, 0, 0]);
    const core = (text: string): number => (parseCpu(text).cpuid(0x80000001, 0, state).ecx >>> 23) & 1;
    expect([core('EPYC-Rome'), core('EPYC-Rome,pmu=on'), core('max,vendor=amd')]).toEqual([0, 1, 1]);
  });

  it('has the bits of the third part of leaf 7, and says how many parts there are', () => {
    const leaf7 = (text: string, part: number): { eax: number; edx: number } => parseCpu(text).cpuid(7, part, state);
    expect([leaf7('max', 0).eax, leaf7('max', 2).edx]).toEqual([2, 1 << 4]); // BHI_CTRL
    expect([leaf7('max,-bhi-ctrl', 0).eax, leaf7('Haswell', 0).eax]).toEqual([1, 0]);
    expect(leaf7('max,vendor=amd', 2).edx).toBe(0);
  });

  it('says that it has none of the flaws of AMD processors, for which kernels would go round about on each return and each way out', () => {
    const safe = (text: string): number[] => {
      const cpu = parseCpu(text);
      return [cpu.cpuid(0x80000021, 0, state).eax >>> 29, cpu.cpuid(0x80000021, 0, state).ecx, cpu.cpuid(0x80000008, 0, state).ebx >>> 29];
    };
    expect(safe('max,vendor=amd')).toEqual([3, 6, 3]);
    expect(safe('host,vendor=amd,-srso-no,-tsa-l1-no,-btc-no')).toEqual([2, 2, 2]);
    expect([parseCpu('max,vendor=amd').has('eraps'), parseCpu('max,vendor=amd').cpuid(0x80000021, 0, state).ebx]).toEqual([true, 4 << 16]);
    expect(safe('max')[2]).toBe(2); // IBPB_RET goes with IBPB; Intel's extended leaves end before the others
    expect(safe('EPYC-Milan')).toEqual([0, 0, 0]);
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
    expect(() => parseCpu('max,l3-cache=off')).toThrow(/leave the option out/);
    expect(parseCpu('max,pmu=off,l3-cache=on,migratable=no,kvm=off').warnings).toEqual([]);
    expect(nearestName('zzzzzzzz', ['abc'])).toBeUndefined();
  });
});

describe('nesting', () => {
  const none = ['vmx', 'svm', 'npt', 'vgif'];

  it('is off by default: no model has VMX or SVM, and nobody is warned of it', () => {
    for (const name of cpuModelNames) {
      const cpu = parseCpu(name);
      expect(
        none.filter((feature) => cpu.has(feature)),
        name,
      ).toEqual([]);
      expect(
        none.filter((feature) => cpu.missing.includes(feature as never)),
        name,
      ).toEqual([]);
    }
  });

  it('gives host and max what their vendor has, named models what they list or are given', () => {
    const has = (text: string): string[] => none.filter((feature) => parseCpu(text, undefined, { nested: true }).has(feature));
    expect(has('host')).toEqual(['vmx']);
    expect(has('max,vendor=amd')).toEqual(['svm', 'npt', 'vgif']);
    expect(has('host,vendor=AuthenticAMD,-svm')).toEqual([]);
    expect(has('Haswell-noTSX-IBRS')).toEqual([]);
    expect(has('Haswell-noTSX-IBRS,vmx=on')).toEqual(['vmx']);
    expect(has('EPYC')).toEqual(['svm', 'npt']);
    expect(has('EPYC,svm=on,+vgif')).toEqual(['svm', 'npt', 'vgif']);
    expect(has('EPYC,svm=off')).toEqual([]);
  });

  it('takes the vendor that nesting is on for', () => {
    expect(parseCpu('host', undefined, { nested: { intel: false, amd: true } }).vendor).toBe('amd');
    expect(parseCpu('host', undefined, { nested: { intel: true, amd: true } }).vendor).toBe('intel');
    expect(parseCpu('host,vendor=intel', undefined, { nested: { intel: false, amd: true } }).has('vmx')).toBe(false);
  });

  it('says how to switch it on', () => {
    expect(() => parseCpu('Haswell,vmx=on')).toThrow(/add --nested, or --modprobe FILE with the line 'options kvm-intel nested=Y'/);
    expect(() => parseCpu('EPYC,+svm', undefined, { nested: { intel: true, amd: false } })).toThrow(/kvm-amd nested=1/);
    expect(() => parseCpu('EPYC,vmx=on', undefined, { nested: true })).toThrow(/an AMD CPU has svm, not vmx/);
    expect(parseCpu('Haswell,vmx=on,vmx=off').has('vmx')).toBe(false);
  });

  it('shows in CPUID', () => {
    const bit = (text: string, leaf: number, register: 'ecx' | 'edx', at: number): number =>
      (parseCpu(text, undefined, { nested: true }).cpuid(leaf, 0, state)[register] >>> at) & 1;
    expect(bit('host', 1, 'ecx', 5)).toBe(1);
    expect(bit('host', 0x80000001, 'ecx', 2)).toBe(0);
    expect(bit('host,vendor=amd', 1, 'ecx', 5)).toBe(0);
    expect(bit('host,vendor=amd', 0x80000001, 'ecx', 2)).toBe(1);
    expect(bit('host,vendor=amd', 0x8000000a, 'edx', 0)).toBe(1);
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
