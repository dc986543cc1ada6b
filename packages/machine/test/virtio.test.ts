import { MemoryDisk, VirtioBlock, VirtioEntropy } from '@nestvm/devices/virtio';
import { describe, expect, it } from 'vitest';
import { createMachine, type MachineOptions, type VirtioConfig } from '../src/index.js';

const block = (name: string) => new VirtioBlock({ name, disk: new MemoryDisk(1 << 20) });
const machine = (board: MachineOptions['board'], virtio: readonly VirtioConfig[]) =>
  createMachine({ board, cpu: 'max', memoryBytes: 16 << 20, incoming: true, virtio });

describe('virtio devices', () => {
  it('are on PCI where there is PCI, else behind MMIO, and each is a unit of snapshots', () => {
    const pc = machine('pc', [{ device: block('disk') }, { device: new VirtioEntropy({ name: 'rng', fill: () => {} }), slot: 9 }]);
    expect(pc.platform.pci?.functions[9 * 8]?.config[0]).toBe(0xf4);
    const units = [...pc.migratable.units().keys()];
    expect(units).toEqual(expect.arrayContaining(['disk', 'rng', 'pci/00:09.0', 'pci/00:00.0']));
    const microvm = machine('microvm', [{ device: block('disk') }, { device: block('other') }]);
    const words = [0, 4, 8].map((register) => [0xfec1_0000, 0xfec1_1000].map((base) => microvm.memory.read32(base + register)));
    expect(words).toEqual([
      [0x74726976, 0x74726976],
      [2, 2],
      [2, 2],
    ]);
  });

  it('with the same snapshot need the same options', () => {
    const one = machine('pc', [{ device: block('disk') }]);
    const same = machine('pc', [{ device: block('disk') }]);
    const other = machine('pc', [{ device: block('disk'), mode: 'modern' }]);
    expect(same.migratable.mismatches(one.migratable.configuration())).toEqual([]);
    expect(other.migratable.mismatches(one.migratable.configuration())).toEqual([expect.stringContaining('virtio')]);
  });

  it('come and go, and a snapshot with one that came fits a machine that has it from the start', () => {
    const one = machine('pc', [{ device: block('disk') }]);
    const gone: string[] = [];
    one.hotplug.onUnplugged = (name) => gone.push(name);
    one.hotplug.plug({ device: block('hot') });
    expect(() => one.hotplug.plug({ device: block('hot') })).toThrow(/device 'hot' already/);
    expect(() => one.hotplug.plug({ device: block('far'), bus: 'mmio' })).toThrow(/only devices on PCI/);
    const slot = one.platform.virtio[1]!.slot!;
    const same = machine('pc', [{ device: block('disk') }, { device: block('hot'), slot }]);
    expect(same.migratable.mismatches(one.migratable.configuration())).toEqual([]);
    expect([...one.migratable.units().keys()].toSorted()).toEqual([...same.migratable.units().keys()].toSorted());
    const events = (): number[] => [0, 4, 8].map((register) => one.ports.read(0xae00 + register, 4));
    expect(events()).toEqual([2 ** slot, 0, 0]);
    one.hotplug.unplug('hot');
    expect(events()).toEqual([0, 2 ** slot, 0]);
    one.ports.write(0xae08, 4, 2 ** slot);
    expect([gone, one.platform.virtio.length, events()]).toEqual([['hot'], 1, [0, 0, 0]]);
    expect(() => one.hotplug.unplug('hot')).toThrow(/no virtio device 'hot'/);
    expect(() => machine('microvm', []).hotplug).toThrow(/no ACPI with PCI/);
  });

  it('keep a buffer of the guest out of device memory', () => {
    const pc = machine('pc', []);
    expect(pc.memory.view(0x1000, 0x1000, true)?.length).toBe(0x1000);
    expect(pc.memory.view(0x9f000, 0x2000, false)).toBeUndefined();
    expect(pc.memory.view(0xfec0_0000, 4, false)).toBeUndefined();
  });

  it('are refused where they cannot be', () => {
    expect(() => machine('pc', [{ device: block('a') }, { device: block('a') }])).toThrow(/two devices are named 'a'/);
    expect(() => machine('microvm', [{ device: block('a'), bus: 'pci' }])).toThrow(/no PCI/);
    expect(() => machine('isapc', [{ device: block('a') }])).toThrow(/no I\/O APIC/);
    expect(() => machine('pc', [{ device: block('a'), slot: 1 }])).toThrow(/slot 1/i);
  });
});
