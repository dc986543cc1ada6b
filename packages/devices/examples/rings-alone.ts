import { SplitRing } from '@nestvm/devices/virtio';
import { DriverMemory, SplitDriverQueue } from '@nestvm/devices/virtio/testing';

/** A ring without a machine: an emulator of your own brings the memory, and calls this when its guest notifies. */
const memory = new DriverMemory(0x1_0000);
const driver = new SplitDriverQueue({ memory, size: 8, eventIndex: false, indirect: false });
const { size, descriptors, driver: available, device: used } = driver;
const ring = new SplitRing({
  memory,
  size,
  descriptors,
  driver: available,
  device: used,
  indirect: false,
  eventIndex: false,
  violated: (clause, detail) => console.log(`the driver broke ${clause}: ${detail}`),
});

const address = memory.allocate(16);
memory.write(address, new TextEncoder().encode('to be turned'));
driver.add([
  { address, length: 12, writable: false },
  { address: memory.allocate(16), length: 12, writable: true },
]);
for (let chain = ring.pop(); chain; chain = ring.pop()) {
  const bytes = new Uint8Array(chain.readableBytes);
  chain.read(0, bytes);
  console.log(new TextDecoder().decode(bytes.toReversed()));
  ring.push(chain, chain.write(0, bytes.toReversed()));
}
const count = ring.publish();
console.log('interrupt wanted:', count > 0 && ring.wants(count), '- used:', driver.poll());
