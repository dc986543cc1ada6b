import type { MsrDefinition } from '../msr/definition.js';
import type { Vcpu } from '../vcpu.js';
import { UINTR_REQUESTS } from '../words.js';

const when = (cpu: Vcpu): boolean => cpu.features.has('uintr');

/** The MSRs of user interrupts (SDM Vol. 4, "Architectural MSRs"). */
export const userInterruptMsrs: readonly MsrDefinition[] = [
  {
    index: 0x985,
    name: 'IA32_UINTR_RR',
    home: 'uintrRequests',
    when,
    write: (cpu, lo, hi) => {
      cpu.w[UINTR_REQUESTS] = lo;
      cpu.w[UINTR_REQUESTS + 1] = hi;
      cpu.requestAttention();
      return true;
    },
  },
  { index: 0x986, name: 'IA32_UINTR_HANDLER', home: 'uintrHandler', when, canonical: true },
  { index: 0x987, name: 'IA32_UINTR_STACKADJUST', home: 'uintrStackAdjust', when, canonical: true, mask: [~6, -1] },
  { index: 0x988, name: 'IA32_UINTR_MISC', home: 'uintrMisc', when, mask: [-1, 0xff] },
  { index: 0x989, name: 'IA32_UINTR_PD', home: 'uintrDescriptor', when, canonical: true, mask: [~0x3f, -1] },
  { index: 0x98a, name: 'IA32_UINTR_TT', home: 'uintrTargets', when, canonical: true, mask: [~0xe, -1] },
];
