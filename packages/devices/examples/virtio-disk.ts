import { MmioSpace, VirtualClock } from '@nestvm/bus';
import { MemoryDisk, VirtioBlock, VirtioMmio } from '@nestvm/devices/virtio';
import { DriverMemory, MmioDriverTransport, VirtioDriver } from '@nestvm/devices/virtio/testing';

const mmio = new MmioSpace();
const memory = new DriverMemory(0x10_0000);
const nothing = () => ({ set: () => {}, send: () => {}, move: () => {}, remove: () => {} });
const device = new VirtioBlock({ disk: new MemoryDisk(1 << 20), serial: 'EXAMPLE' });
const card = new VirtioMmio({ device, base: 0xfeb0_0000, line: 'gsi:16' });
card.attach({ pio: nothing, mmio: (region) => mmio.claim(region), line: nothing, msi: nothing, clock: new VirtualClock(), dma: memory });

const driver = new VirtioDriver({ transport: new MmioDriverTransport(mmio, 0xfeb0_0000), memory });
driver.start(1);
const header = new Uint8Array(16);
header[0] = 8;
const { bytes } = driver.request(0, [header], [20, 1]);
console.log(new TextDecoder().decode(bytes.subarray(0, 7)), bytes[20]);
