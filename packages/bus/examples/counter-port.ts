import { PortSpace, VirtualClock } from '@nestvm/bus';

const ports = new PortSpace();
const clock = new VirtualClock();
let ticks = 0;
const timer = clock.createTimer('tick', () => {
  ticks++;
  timer.arm(clock.nowNs() + 1_000);
});
timer.arm(1_000);
const handle = ports.claim({ name: 'counter', base: 0x300, size: 1, read: () => ticks & 0xff, write: () => void (ticks = 0) });

for (let turn = 1; turn <= 5; turn++) clock.advanceTo(turn * 1_000);
handle.move(0x310);
console.log(ports.read(0x310, 1), ports.read(0x300, 1).toString(16));
