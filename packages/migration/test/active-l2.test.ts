/**
 * The rule about active L2s with our own hypervisors, by the numbers of docs/explanation/active-l2.md ("How it is tested"). What takes KVM, QEMU or several vCPUs is in
 * tools/guests/migration.mjs.
 */
import { loadRegisters } from '@nestvm/cpu/extension';
import type { LevelOptions } from '@nestvm/guests';
import type { Machine } from '@nestvm/machine';
import { describe, expect, it } from 'vitest';
import { createMemorySource, isActive, L2ActiveError, loadSnapshot, saveSnapshot, strongestClass } from '../src/index.js';
import { saveUnits } from '../src/save.js';
import { boot, bootTo, fingerprint, ramFingerprint, runTo, snapshot, vendors } from './machines.js';

const TIMEOUT = 300_000;
const SECOND = 1e9;

const discard = { write: () => Promise.resolve() };

/** What comes of an attempt to save: nothing, or the refusal. */
async function attempt(machine: Machine): Promise<L2ActiveError | undefined> {
  try {
    await saveSnapshot(machine.migratable, discard, { compression: 'none' });
    return undefined;
  } catch (error) {
    if (error instanceof L2ActiveError) return error;
    throw error;
  }
}

/** Gives one machine all of another's state although an L2 runs, which no snapshot can: memory first, since the state of an L2 lies there too. */
function loadBelowTheRule(target: Machine, source: Machine): void {
  const blocks = target.migratable.ram();
  source.migratable.ram().forEach(({ bytes }, i) => blocks[i]!.bytes.set(bytes));
  target.migratable.forgetCaches();
  const saved = new Map(saveUnits(source.migratable).map(({ path, state }) => [path, state]));
  const isLater = (path: string): boolean => path === 'nested' || /^cpu\d+$/.test(path);
  for (const [path, unit] of target.migratable.units()) if (unit.kind === 'stateful' && !isLater(path)) unit.load(saved.get(path)!);
  // Last, since loading the state of an MMU leaves guest mode.
  for (const cpu of target.cpus) loadRegisters(cpu, saved.get(`cpu${cpu.index}`));
}

const classOf = (machine: Machine): string => strongestClass(machine.migratable.nested.inspect());

/** Attempts at random instants of guest time, until so many were made or the L2 has ended. */
async function attemptOften(machine: Machine, attempts: number, stepNs: number) {
  const classes = new Set<string>();
  let [seed, refused, made] = [1, 0, 0];
  let ns = machine.clock.nowNs();
  for (; made < attempts; made++) {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    ns += 1 + ((seed >>> 8) % stepNs);
    if ((await runTo(machine, ns)) === 'ended') break;
    const refusal = await attempt(machine);
    if (refusal) refused++;
    for (const { class: kind } of refusal?.contexts ?? []) classes.add(kind);
  }
  return { made, refused, classes: [...classes].sort().join(' ') };
}

/** A machine whose only context is of this class, and that context in its ledger, which is judged anew each time. */
async function until(machine: Machine, kind: string) {
  while (classOf(machine) !== kind) expect(await runTo(machine, machine.clock.nowNs() + 10_000)).toBe('stopped');
  const { memory } = machine;
  const { ledger } = machine.cpus[0]!.virtualization!;
  const context = ledger.list()[0]!;
  const judged = (): string => {
    context.over = null;
    const [report] = machine.migratable.nested.inspect();
    return `${report!.class}: ${report!.why}`;
  };
  /** How it is judged while so much later, or while some words of memory are others. */
  const later = (ns: number): string => {
    context.lastExitNs -= ns;
    const result = judged();
    context.lastExitNs += ns;
    return result;
  };
  const having = (words: Readonly<Record<number, number>>, look = judged): string => {
    const before = Object.keys(words).map((address) => [Number(address), memory.read32(Number(address))] as const);
    for (const [address, word] of Object.entries(words)) memory.write32(Number(address), word);
    const result = look();
    for (const [address, word] of before) memory.write32(address, word);
    return result;
  };
  const emptyRoot = Object.fromEntries(Array.from({ length: 1024 }, (_, i) => [context.root + 4 * i, 0]));
  return { context, judged, later, having, emptyRoot };
}

describe('what ends an L2, piece by piece', () => {
  const [{ image: vmx, cpu: intel }, { image: svm, cpu: amd }] = vendors;
  const at = (idle?: LevelOptions['idle']): LevelOptions => ({ levels: 2, program: 'count', ...(idle ? { idle } : {}) });

  it('a VMCS that is launched: an empty EPT root for a second', { timeout: TIMEOUT }, async () => {
    const { judged, later, having, emptyRoot } = await until(await bootTo(vmx(at()), intel, '[L2] counts 1\r\n'), 'resident');
    expect([judged(), later(100 * SECOND), having(emptyRoot)].map((text) => text.split(':')[0])).toEqual(['resident', 'resident', 'resident']);
    expect(having(emptyRoot, () => later(SECOND))).toMatch(/^configured: Its EPT root has had no entry for a second/);
  });

  it('one that was cleared: an empty EPT root, or another page', { timeout: TIMEOUT }, async () => {
    const { context, judged, later, having, emptyRoot } = await until(await bootTo(vmx(at('cleared')), intel, '[L2] counts 1\r\n'), 'parked');
    expect([judged(), later(100 * SECOND)].map((text) => text.split(':')[0])).toEqual(['parked', 'parked']);
    expect(having(emptyRoot)).toMatch(/^configured: It was cleared, and its EPT root is empty/);
    expect(having({ [context.pa + 0x800]: 0x1234 })).toMatch(/^configured: It was cleared, and its page has been overwritten/);
    expect(judged()).toMatch(/^parked/);
  });

  it('VMXOFF, and EFER.SVME cleared: two seconds later, or an empty root', { timeout: TIMEOUT }, async () => {
    for (const [image, cpu, gone] of [
      [vmx, intel, /^configured: It was cleared|^off/],
      [svm, amd, /^off/],
    ] as const) {
      const { later, having, emptyRoot } = await until(await bootTo(image(at('off')), cpu, '[L2] counts 1\r\n'), 'parked');
      expect([later(1.9 * SECOND), later(2 * SECOND)].map((text) => text.split(':')[0])).toEqual(['parked', 'off']);
      expect(having(emptyRoot)).toMatch(gone);
    }
  });

  it('a VMCB that was entered: an empty nested table for a second, or one that VMRUN would refuse', { timeout: TIMEOUT }, async () => {
    const { context, judged, later, having, emptyRoot } = await until(await bootTo(svm(at()), amd, '[L2] counts 1\r\n'), 'resident');
    const { pa } = context;
    expect([judged(), later(100 * SECOND), having(emptyRoot)].map((text) => text.split(':')[0])).toEqual(['resident', 'resident', 'resident']);
    expect(having(emptyRoot, () => later(SECOND))).toMatch(/^configured: Its nested page table has had no entry for a second/);
    expect(having({ [pa + 0x10]: 0 })).toMatch(/^configured: .*no longer intercepts VMRUN/);
    expect(having({ [pa + 0x58]: 0 })).toMatch(/^configured: .*ASID is 0/);
    expect(having({ [pa + 0x4d0]: 0 })).toMatch(/^configured: .*EFER.SVME is 0/);
    for (const base of [0x40, 0x48]) expect(having({ [pa + base + 4]: 0x8000_0000 })).toMatch(/^configured: .*permission maps lie beyond/);
    expect(judged()).toMatch(/^resident/);
  });
});

describe.each(vendors)('$vendor', ({ vendor, image, cpu }) => {
  const count = (options: LevelOptions = {}) => image({ levels: 2, program: 'count', ...options });

  it('test 1: in VMX operation (SVM on) since its start, no L2 yet: allowed', { timeout: TIMEOUT }, async () => {
    const machine = await bootTo(count(), cpu, 'hypervisor: on\r\n');
    expect(machine.cpus[0]!.virtualization!.enabled).toBe(true);
    expect(await attempt(machine)).toBeUndefined();
    await runTo(machine, machine.clock.nowNs() + 200);
    expect([machine.levels().entries, await attempt(machine)]).toEqual([0, undefined]);
  });

  it('test 2: an L2 that computes or idles in HLT: refused at 1,000 random instants', { timeout: TIMEOUT }, async () => {
    const machine = await bootTo(count(), cpu, '[L2] counts 1\r\n');
    const result = await attemptOften(machine, 1000, 700_000);
    expect([result.made, result.refused]).toEqual([1000, 1000]);
    expect(result.classes).toContain('resident');
    const busy = boot(image({ levels: 2, program: 'exits', repeat: 100_000 }), cpu);
    while (busy.levels().entries === 0) await runTo(busy, busy.clock.nowNs() + 5_000);
    const other = await attemptOften(busy, 1000, 3_000);
    expect([other.made, other.refused]).toEqual([1000, 1000]);
    expect(other.classes).toBe('executing resident');
  });

  it('test 3: the L2 ends, its hypervisor stays on: allowed at once (VMX), after a second without an entry (SVM)', { timeout: TIMEOUT }, async () => {
    const machine = await bootTo(count({ after: 'on' }), cpu, 'without a guest\r\n');
    expect(machine.cpus[0]!.virtualization!.enabled).toBe(true);
    if (vendor === 'SVM') {
      expect((await attempt(machine))?.contexts[0]?.clearsWhen).toMatch(/for a second/);
      await runTo(machine, machine.clock.nowNs() + SECOND);
    }
    expect(await attempt(machine)).toBeUndefined();
    expect(classOf(machine)).toBe('configured');
  });

  it('what showed the end of an L2 holds, though L1 has used the memory for something else since', { timeout: TIMEOUT }, async () => {
    const machine = await bootTo(count({ after: 'on' }), cpu, 'without a guest\r\n');
    const root = machine.migratable.nested.inspect()[0]!.root;
    await runTo(machine, machine.clock.nowNs() + 1.5 * SECOND);
    // Nobody has asked meanwhile.
    machine.memory.write32(root, 0x123_4567);
    expect(await attempt(machine)).toBeUndefined();
  });

  it.runIf(vendor === 'VMX')('test 6: VMCLEAR at each return from an idle L2, as bhyve does: refused', { timeout: TIMEOUT }, async () => {
    const machine = await bootTo(count({ idle: 'cleared' }), cpu, '[L2] counts 1\r\n');
    const result = await attemptOften(machine, 500, 700_000);
    expect([result.made, result.refused]).toEqual([500, 500]);
    expect(result.classes).toContain('parked');
  });

  it('test 7: the extension turned off between two runs of the L2, as VirtualBox does: refused', { timeout: TIMEOUT }, async () => {
    const machine = await bootTo(count({ idle: 'off' }), cpu, '[L2] counts 1\r\n');
    const result = await attemptOften(machine, 500, 700_000);
    expect([result.made, result.refused]).toEqual([500, 500]);
    expect(result.classes).toContain('parked');
  });

  it('test 8: an L3 counts as its L1 runs it: refused', { timeout: TIMEOUT }, async () => {
    const machine = await bootTo(image({ levels: 3, program: 'count' }), cpu, '[L3] counts 1\r\n');
    const result = await attemptOften(machine, 500, 500_000);
    expect([result.made, result.refused]).toEqual([500, 500]);
    expect(machine.migratable.nested.inspect().filter(isActive)).toHaveLength(2);
  });

  it('test 9: the state of a running L2, below the rule: loaded into another machine, it goes on as if nothing had been', {
    timeout: TIMEOUT,
  }, async () => {
    for (const [paging, seed] of [
      ['nested', 3],
      ['shadow', 5],
    ] as const) {
      const guest = image({ levels: 2, program: 'exits', repeat: 2000, paging });
      const said: number[] = [];
      const first = boot(guest, cpu, said);
      let ns = 1000 * seed;
      while (classOf(first) !== 'executing') expect(await runTo(first, (ns += 12_345))).toBe('stopped');
      const heard: number[] = [];
      const second = boot(guest, cpu, heard);
      loadBelowTheRule(second, first);
      const before = said.length;
      expect(fingerprint(second)).toBe(fingerprint(first));
      for (const later of [ns + 100, ns + 10_000, ns + 300_000, ns + 3e6]) {
        expect(await runTo(second, later)).toBe(await runTo(first, later));
        expect(fingerprint(second), `${later - ns} ns later`).toBe(fingerprint(first));
      }
      expect([await runTo(first, 1e12), await runTo(second, 1e12)]).toEqual(['ended', 'ended']);
      expect(fingerprint(second)).toBe(fingerprint(first));
      expect(heard).toEqual(said.slice(before));
      expect(String.fromCharCode(...heard)).toContain('[L2] end');
    }
  });

  it('refuses to load into a machine whose L2 runs, which stays as it was', { timeout: TIMEOUT }, async () => {
    const bytes = await snapshot(await bootTo(count(), cpu, 'hypervisor: on\r\n'));
    const machine = await bootTo(count(), cpu, '[L2] counts 1\r\n');
    const before = ramFingerprint(machine);
    await expect(loadSnapshot(machine.migratable, () => createMemorySource(bytes))).rejects.toBeInstanceOf(L2ActiveError);
    expect(ramFingerprint(machine)).toBe(before);
  });
});
