import { expect, it } from 'vitest';
import { svmSignalsImage, vmxSignalsImage } from '../src/index.js';
import { pairMachine } from './run.js';

const VMX = ['INIT was an exit', 'the start-up IPI was an exit', 'INIT waited for the hypervisor'];
const SVM = ['INIT was an exit', 'the processor was restarted'];

it.each([
  ['VMX', vmxSignalsImage, 'Skylake-Server,vmx=on', VMX],
  ['VMX', vmxSignalsImage, 'host,vendor=intel', VMX],
  ['SVM', svmSignalsImage, 'EPYC,svm=on,x2apic=on', SVM],
  ['SVM', svmSignalsImage, 'host,vendor=amd', SVM],
] as const)('%s: a processor signals to another that runs a guest', { timeout: 300_000 }, async (_name, image, cpu, said) => {
  const { machine, lines } = pairMachine(image(), cpu);
  expect(await machine.run()).toEqual({ kind: 'exit', status: 1 });
  expect(lines()).toEqual(['INIT and start-up IPIs for a guest', ...said]);
});
