import { createMachine, type Machine, type MachineOptions } from '@nestvm/machine';
import { demos } from '../src/demos.js';

/** A machine that is made as the page makes that of the demo `count`, but for what is given; `print` gets what its guest prints. */
export function countMachine(print: (character: string) => void, options: Pick<MachineOptions, 'clock' | 'host' | 'incoming'>): Machine {
  const order = demos.find(({ id }) => id === 'count')!.order();
  return createMachine({
    board: order.board,
    cpu: order.cpu,
    nested: true,
    memoryBytes: order.memoryMiB << 20,
    kernel: order.kernel,
    debugExit: { iobase: 0xf4, iosize: 4 },
    serial: [{ write: (byte) => print(String.fromCharCode(byte)) }],
    ...options,
  });
}
