import { expect, it } from 'vitest';
import { random, TestBoard } from '../../test/board.js';
import { Vga } from '../display/vga/device.js';
import { PciHost } from '../platform/pci/host.js';
import { MemoryDisk } from '../virtio/block/backend.js';
import { AhciController } from './ahci.js';
import { CdDrive } from './cd.js';
import { AtaDisk } from './disk.js';
import { IdeController } from './ide.js';

const OPERATIONS = Number(globalThis.process?.env['NESTVM_FUZZ_OPERATIONS'] ?? 1_000_000);
const WIDTHS = [1, 2, 4] as const;
/** Values that lead somewhere: commands, control bits, addresses in memory. */
const TELLING = [
  0xec, 0x20, 0x30, 0xc8, 0xca, 0x25, 0x35, 0x60, 0x61, 0xa0, 0xa1, 0x06, 0x08, 0x90, 0xef, 0x11, 0x10, 1, 9, 0, 0x1000, 0x2000, 0xffff_ffff,
];

const drives = () => [
  new AtaDisk({ name: 'hd', disk: new MemoryDisk(64 * 512) }),
  new AtaDisk({ name: 'read-only', disk: new MemoryDisk(64 * 512, true) }),
  new CdDrive({ name: 'cd', medium: new MemoryDisk(16 * 2048) }),
];

interface Device {
  attach(wiring: TestBoard['wiring']): void;
  reset(): void;
  save(): unknown;
  load(saved: unknown): void;
  readonly pci: IdeController['pci'];
}

type Place = ReturnType<TestBoard['ports']['list']>[number];

const devices: Readonly<Record<string, () => Device>> = {
  ide: () => new IdeController('ide', drives()),
  ahci: () => new AhciController('ahci', drives()),
  vga: () => new Vga({ memory: new Uint8Array(0x10_0000) }),
};

it.each(Object.keys(devices))(
  `%s stands a hostile guest for ${OPERATIONS} operations`,
  (name) => {
    const board = new TestBoard();
    const device = devices[name]!();
    const host = new PciHost();
    host.attach(board.wiring);
    host.add(1, device.pci);
    device.attach(board.wiring);
    const place = (): void => {
      device.pci.writeConfig(0x20, 4, 0xc000);
      device.pci.writeConfig(0x24, 4, 0xf000_0000);
      device.pci.writeConfig(0x18, 4, 0xf100_0000);
      device.pci.writeConfig(0x04, 2, 7);
    };
    place();
    const next = random(0x5eed + name.length);
    const value = (): number => (next(3) === 0 ? next(2 ** 32) : TELLING[next(TELLING.length)]!);
    let answers = 0;
    const [memory, ports] = [board.mmio, board.ports].map((space) => space.list().filter(({ name: owner }) => owner !== 'pci-config')) as [
      Place[],
      Place[],
    ];
    for (let i = 0; i < OPERATIONS; i++) {
      const space = next(2) ? board.mmio : board.ports;
      const regions = space === board.mmio ? memory : ports;
      const region = regions[next(Math.max(1, regions.length))];
      const rare = next(20_000);
      if (rare === 0) {
        device.reset();
        place();
      } else if (rare === 1) device.load(JSON.parse(JSON.stringify(device.save())));
      else if (next(50) === 0) board.memory.bytes[next(board.memory.bytes.length)] = value();
      else if (region && next(3) === 0) answers += space.read(region.base + next(region.size), WIDTHS[next(3)]!) ? 1 : 0;
      else if (region) space.write(region.base + next(next(2) ? region.size : Math.min(region.size, 0x200)), WIDTHS[next(3)]!, value());
      if (name === 'vga' && i % 20_000 === 0) (device as unknown as Vga).picture();
      board.messages.length = 0;
    }
    expect(answers).toBeGreaterThan(OPERATIONS / 1000);
    console.log(`fuzz ${name}: ${OPERATIONS} operations`);
  },
  600_000,
);
