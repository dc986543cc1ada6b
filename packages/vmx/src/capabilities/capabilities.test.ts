import { Cr4 } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { controlGroups, default1Of } from '../controls/controls.js';
import type { Generation } from '../controls/table.js';
import { F, fieldNamed, fieldOrdinal, fields } from '../fields/layout.js';
import { createCapabilities, generationOf } from './capabilities.js';
import { capabilityMsrs } from './msrs.js';

const hex = (value: number): string => (value >>> 0).toString(16);
const features = (names: string) => (feature: string) => names.split(' ').includes(feature);
const of = (generation: Generation, has = features('rdtscp invpcid rdrand rdseed xsaves'), without: readonly string[] = []) =>
  createCapabilities({ has, physicalBits: 46, cr4: Cr4.PAE | Cr4.PSE, generation, without });
const msr = (generation: Generation, index: number) => capabilityMsrs(of(generation)).find((m) => m.index === index);

describe('controls that must be 1', () => {
  it('come out as the words that every hypervisor knows', () => {
    expect(Object.values(controlGroups).map((group) => [group.key, hex(default1Of(group))])).toEqual([
      ['pin', '16'],
      ['proc1', '401e172'],
      ['proc2', '0'],
      ['proc3', '0'],
      ['exit', '36dff'],
      ['exit2', '0'],
      ['entry', '11ff'],
      ['vmfunc', '0'],
    ]);
    expect(hex(msr('Haswell', 0x482)!.lo)).toBe('401e172');
    expect(hex(msr('Haswell', 0x48e)!.lo)).toBe('4006172');
    expect(hex(msr('Haswell', 0x48f)!.lo)).toBe('36dfb');
    expect(hex(msr('Haswell', 0x490)!.lo)).toBe('11fb');
  });
});

describe('capabilities of a core', () => {
  it('are those of a Haswell server', () => {
    expect(hex(msr('Haswell', 0x48e)!.hi)).toBe('fff9fffe');
    expect(hex(msr('Haswell', 0x48b)!.hi)).toBe('7fff');
    expect(hex(msr('Haswell', 0x48c)!.lo)).toBe('6334141');
    expect(hex(msr('Haswell', 0x48c)!.hi)).toBe('f01');
    expect(msr('Haswell', 0x491)).toMatchObject({ lo: 1, hi: 0 });
    expect(msr('Haswell', 0x492)).toBeUndefined();
    expect(msr('Haswell', 0x493)).toBeUndefined();
    expect(msr('Haswell', 0x480)!.hi & 0x1fff).toBe(4096);
  });
  it('grow from core to core', () => {
    expect(msr('Penryn', 0x48c)).toBeUndefined();
    expect(hex(msr('Nehalem', 0x48c)!.lo)).toBe('6114141');
    expect(msr('SapphireRapids', 0x492)!.lo).toBe(0b11110);
    expect(of('SapphireRapids').eptVpidLo & 0x80).toBe(0x80);
  });
  it('follow from the CPU signature', () => {
    expect(generationOf(0x306c4)).toBe('Haswell');
    expect(generationOf(0x806f4)).toBe('SapphireRapids');
    expect(generationOf(0x50654)).toBe('Skylake');
    expect(generationOf(0xf61)).toBe('newest');
  });
  it('lose with a control what needs it', () => {
    const c = of('SapphireRapids', undefined, ['proc2.ENABLE_EPT']);
    expect(hex(c.controls.proc2.may & 0x4602ff)).toBe('27d');
    expect(c.controls.vmfunc.may).toBe(0);
    expect(c.controls.proc3.may).toBe(0x10);
    expect(c.fieldExists[fieldNamed('EPT_POINTER').ordinal]).toBe(0);
    expect(() => of('Haswell', undefined, ['proc2.ENABLE_ETP'])).toThrow(/no VMX capability/);
  });
});

describe('fields', () => {
  it('are found by encoding, each at its own word', () => {
    for (const field of fields) expect(fieldOrdinal(field.encoding)).toBe(field.ordinal);
    expect(new Set(fields.map((field) => field.word)).size).toBe(fields.length);
    expect(Math.max(...fields.map((field) => field.word)) + 2).toBeLessThanOrEqual(1024);
    expect(F.GUEST_RIP).toBe(fieldNamed('GUEST_RIP').word);
  });
  it('have a high half by encoding only where they are 64 bits wide', () => {
    expect(fieldOrdinal(0x2001)).toBe(fieldOrdinal(0x2000));
    for (const encoding of [0x4001, 0x6801, 0x0001, 0x10000, 0x1000, 0x8000, 0x200f | 0x80, -1, 0x6fff]) expect(fieldOrdinal(encoding)).toBe(-1);
  });
  it('agree with every encoding that is not in the table', () => {
    const known = new Set(fields.map((field) => field.encoding));
    for (let encoding = 0; encoding < 0x8000; encoding += 2) expect(fieldOrdinal(encoding) >= 0).toBe(known.has(encoding));
  });
});
