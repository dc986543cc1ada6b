import { parseCpu } from '@nestvm/isa/models';
import { createMachine } from '@nestvm/machine';

// mov dx, 0x3f8; mov al, 'H'; out dx, al; mov al, 'i'; out dx, al; mov dx, 0x501; mov al, 3; out dx, al
const bytes = Uint8Array.of(0xba, 0xf8, 3, 0xb0, 0x48, 0xee, 0xb0, 0x69, 0xee, 0xba, 1, 5, 0xb0, 3, 0xee, 0xf4);
let text = '';
const machine = createMachine({
  board: 'isapc',
  cpu: parseCpu('max'),
  memoryBytes: 2 << 20,
  images: [{ file: { name: 'hello.bin', bytes }, address: 0x7c00, entry: 'real' }],
  serial: [{ write: (byte) => void (text += String.fromCharCode(byte)) }],
  debugExit: { iobase: 0x501, iosize: 2 },
});
console.log(await machine.run(), text);
