import { MmioSpace, PortSpace, VirtualClock } from '@nestvm/bus';
import { InterruptRouting, Pic, PlatformWiring, Uart } from '@nestvm/devices/platform';

const ports = new PortSpace();
const dma = { read: (_address: number, target: Uint8Array) => void target.fill(0xff), write: () => {} };
const pic = new Pic();
const wiring = new PlatformWiring({ ports, mmio: new MmioSpace(), clock: new VirtualClock(), dma, routing: new InterruptRouting({ pic }) });
let text = '';
const uart = new Uart({ name: 'com1', base: 0x3f8, line: 'isa:4', backend: { write: (byte) => void (text += String.fromCharCode(byte)) } });
for (const device of [pic, uart]) device.attach(wiring);

for (const character of 'hello\n') ports.write(0x3f8, 1, character.charCodeAt(0));
ports.write(0x3f9, 1, 0x02);
console.log(text.trim(), pic.intr);
