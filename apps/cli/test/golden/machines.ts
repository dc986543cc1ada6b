import { AtaDisk, CdDrive } from '@nestvm/devices/ata';
import {
  MemoryDisk,
  ScsiCd,
  ScsiDisk,
  VirtioBalloon,
  VirtioBlock,
  VirtioConsole,
  type VirtioDevice,
  VirtioEntropy,
  VirtioGraphics,
  VirtioInput,
  VirtioNetwork,
  VirtioScsi,
  VirtioVsock,
  VsockStreams,
} from '@nestvm/devices/virtio';
import { kernelImage } from '@nestvm/guests';
import { createMachine, type Machine, type MachineConfig } from '@nestvm/machine';

/** A machine full of devices, of which a snapshot is kept for ever: `packages/migration/test/golden.ts` has those of vCPUs and boards. */
export interface Golden {
  readonly file: string;
  readonly board: MachineConfig['board'];
  readonly packed: boolean;
  readonly more: () => Partial<MachineConfig>;
}

const disk = (): MemoryDisk => new MemoryDisk(1 << 20);
const ataDrives = () => [{ drive: new AtaDisk({ name: 'hda', disk: disk() }) }, undefined, { drive: new CdDrive({ name: 'cd', medium: disk() }) }];

export const goldens: readonly Golden[] = [
  { file: 'v1-microvm', board: 'microvm', packed: false, more: () => ({}) },
  { file: 'v1-microvm-packed', board: 'microvm', packed: true, more: () => ({}) },
  { file: 'v1-pc', board: 'pc', packed: false, more: () => ({ vga: { memoryBytes: 1 << 20 }, ata: { board: ataDrives() }, debugConsole }) },
  { file: 'v1-q35', board: 'q35', packed: true, more: () => ({ ata: { board: ataDrives() } }) },
];

const debugConsole = { port: 0x402, sink: { write: () => {} } };

/** One of each kind of virtio device. */
function virtioDevices(packed: boolean): VirtioDevice[] {
  const units = [
    { target: 0, unit: 0, device: new ScsiDisk({ disk: disk() }) },
    { target: 1, unit: 0, device: new ScsiCd({ medium: disk() }) },
  ];
  return [
    new VirtioBlock({ name: 'disk', disk: disk(), queues: 2, queueSize: 16, packed }),
    new VirtioNetwork({ name: 'net', backend: { offloads: true, send: () => {} }, mac: Uint8Array.of(0x52, 0x54, 0, 1, 2, 3), pairs: 2, packed }),
    new VirtioEntropy({ name: 'rng', fill: (bytes) => void bytes.fill(7), packed }),
    new VirtioConsole({
      name: 'console',
      ports: [
        { console: true, write: () => {} },
        { name: 'port', write: () => false },
      ],
      packed,
    }),
    new VirtioBalloon({ name: 'balloon', packed, deflateOnOom: true }),
    new VirtioScsi({ name: 'scsi', units, packed }),
    new VirtioVsock({ name: 'vsock', guestCid: 42, backend: new VsockStreams(), packed }),
    new VirtioInput({ name: 'tablet', kind: 'tablet', packed }),
    new VirtioGraphics({ name: 'gpu', width: 64, height: 48, mostBytes: 1 << 20, packed }),
  ];
}

/** The machine of one at power-on. Its guest is a small kernel that knows nothing of its devices, and prints to `print`. */
export function createGolden({ board, packed, more }: Golden, print: (text: string) => void): Machine {
  const image = kernelImage();
  return createMachine({
    board,
    cpu: 'qemu64',
    memoryBytes: 16 << 20,
    kernel: { name: image.name, bytes: image.bytes },
    serial: [{ write: (byte) => print(String.fromCharCode(byte)) }],
    debugExit: { iobase: 0xf4, iosize: 4 },
    reboot: false,
    virtio: virtioDevices(packed).map((device) => ({ device })),
    ...more(),
  });
}

/** The kernel has printed this when the snapshot is taken, and prints that afterwards. */
export const AFTER = 'page faults: 1\r\n';
export const REST = 'timer ticks: 20\r\nNestvm kernel: done\r\n';

/** Registers of virtio's MMIO transport ("VIRTIO", MMIO Device Register Layout), and the bits of its status. */
const Register = { features: 0x20, featuresSelect: 0x24, queue: 0x30, sizeMost: 0x34, size: 0x38, ready: 0x44, notify: 0x50, status: 0x70 };
const PLACES = [0x80, 0x90, 0xa0];
const [ACKNOWLEDGED, DRIVER, DRIVER_OK, FEATURES_OK] = [1, 2, 4, 8] as const;
const [VERSION_1, RING_PACKED] = [1 << 0, 1 << 2];
const MMIO_BASE = 0xfec1_0000;
const MMIO_STRIDE = 0x1000;
const RINGS = 0x90_0000;
const DEVICE_WRITES = 2;

/** Does on `microvm` what drivers do first: every queue of every device is ready, and split ones have a buffer for the device to write to. */
export function putToUse({ memory, platform }: Machine, packed: boolean): void {
  let rings = RINGS;
  for (const slot of platform.virtio.keys()) {
    const base = MMIO_BASE + slot * MMIO_STRIDE;
    const write = (register: number, value: number): void => memory.write32(base + register, value);
    write(Register.status, ACKNOWLEDGED | DRIVER);
    write(Register.featuresSelect, 1);
    write(Register.features, VERSION_1 | (packed ? RING_PACKED : 0));
    write(Register.status, ACKNOWLEDGED | DRIVER | FEATURES_OK);
    if ((memory.read32(base + Register.status) & FEATURES_OK) === 0) throw new Error(`device ${slot} does not take the features`);
    for (let queue = 0; ; queue++, rings += 0x4000) {
      write(Register.queue, queue);
      const most = memory.read32(base + Register.sizeMost);
      if (most === 0) break;
      write(Register.size, Math.min(most, 16));
      PLACES.forEach((register, i) => write(register, rings + 0x1000 * i));
      if (!packed) {
        [rings + 0x3000, 0, 64, DEVICE_WRITES].forEach((word, i) => memory.write32(rings + 4 * i, word));
        // The index of what is available next is 1, behind the flags.
        memory.write32(rings + 0x1000, 1 << 16);
      }
      write(Register.ready, 1);
    }
    write(Register.status, ACKNOWLEDGED | DRIVER | FEATURES_OK | DRIVER_OK);
    write(Register.notify, 0);
  }
}

/** How {@link putToUse} has left each device: its status, and which of its queues are ready. */
export function inUse({ memory, platform }: Machine): { readonly name: string; readonly status: number; readonly queues: readonly number[] }[] {
  return platform.virtio.map(({ device }, slot) => {
    const base = MMIO_BASE + slot * MMIO_STRIDE;
    const queues = [];
    for (let queue = 0; ; queue++) {
      memory.write32(base + Register.queue, queue);
      if (memory.read32(base + Register.sizeMost) === 0) break;
      queues.push(memory.read32(base + Register.ready));
    }
    return { name: device.name, status: memory.read32(base + Register.status), queues };
  });
}
