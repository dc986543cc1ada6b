import { type GuestImage, kernelImage, svmImage, vmxImage } from '@nestvm/guests';
import type { MachineOrder } from './protocol.js';

/** A guest that comes with the page. */
export interface Demo {
  readonly id: string;
  readonly title: string;
  readonly about: string;
  readonly order: () => MachineOrder;
}

const nested = (cpu: string, { name, bytes, memoryBytes }: GuestImage): MachineOrder => ({
  board: 'pc',
  cpu,
  nested: true,
  memoryMiB: Math.max(16, Math.ceil(memoryBytes / 2 ** 20)),
  kernel: { name, bytes },
});

const INTEL = 'Skylake-Server,vmx=on';
const AMD = 'EPYC,svm=on';

/** What the page offers without any file of yours. */
export const demos: readonly Demo[] = [
  {
    id: 'vmx',
    title: 'Intel VMX: L1 → L2 → L3',
    about: 'A hypervisor of a few hundred lines runs itself as a guest, which runs a guest. Every VMCS, EPT and exit is emulated here.',
    order: () => nested(INTEL, vmxImage()),
  },
  {
    id: 'svm',
    title: 'AMD SVM: L1 → L2 → L3',
    about: 'The same on the other vendor: VMCBs and nested page tables.',
    order: () => nested(AMD, svmImage()),
  },
  {
    id: 'count',
    title: 'Snapshots: while L2 counts, and after',
    about: 'L2 counts timer ticks, then L1 counts on alone. “Save” is refused, with the reason, as long as the L2 is active.',
    order: () => nested(INTEL, vmxImage({ levels: 2, program: 'count' })),
  },
  {
    id: 'deep',
    title: 'Intel VMX, four levels',
    about: 'One level more: each exit of L4 costs L3, L2 and L1 exits of their own. Watch the counters.',
    order: () => nested(INTEL, vmxImage({ levels: 4 })),
  },
  {
    id: 'kernel',
    title: 'A small 64-bit kernel',
    about: 'No nesting: paging, interrupts, a timer.',
    order: () => ({ ...nested('max', kernelImage()), nested: false }),
  },
];
