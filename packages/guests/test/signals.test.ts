import { parseCpu } from '@nestvm/isa/models';
import { createMachine } from '@nestvm/machine';
import { expect, it } from 'vitest';
import { svmSignalsImage, vmxSignalsImage } from '../src/index.js';

const VMX = ['INIT was an exit', 'the start-up IPI was an exit', 'INIT waited for the hypervisor'];
const SVM = ['INIT was an exit', 'the processor was restarted'];

it.each([
  ['VMX', vmxSignalsImage, 'Skylake-Server,vmx=on', VMX],
  ['VMX', vmxSignalsImage, 'host,vendor=intel', VMX],
  ['SVM', svmSignalsImage, 'EPYC,svm=on,x2apic=on', SVM],
  ['SVM', svmSignalsImage, 'host,vendor=amd', SVM],
] as const)('%s: a processor signals to another that runs a guest', { timeout: 120_000 }, async (_name, image, cpu, lines) => {
  let text = '';
  const guest = image();
  const machine = createMachine({
    board: 'q35',
    clock: { kind: 'virtual', shift: 3, sleep: false },
    cpu: parseCpu(cpu, { sockets: 1, cores: 2, threads: 1 }, { nested: true }),
    nested: true,
    memoryBytes: 16 << 20,
    kernel: { name: guest.name, bytes: guest.bytes },
    serial: [{ write: (byte) => void (text += String.fromCharCode(byte)) }],
    debugExit: { iobase: 0xf4, iosize: 4 },
    reboot: false,
  });
  expect(await machine.run()).toEqual({ kind: 'exit', status: 1 });
  expect(text.split('\r\n').filter((line) => line !== '')).toEqual(['INIT and start-up IPIs for a guest', ...lines]);
});
