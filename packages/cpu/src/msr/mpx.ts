import { updateModeBits } from '../mode.js';
import type { MsrDefinition } from './definition.js';

/** IA32_BNDCFGS (SDM Vol. 4): bits 11:2 are reserved. */
export const mpxDefinitions: readonly MsrDefinition[] = [
  {
    index: 0xd90,
    name: 'IA32_BNDCFGS',
    home: 'bndCfgS',
    canonical: true,
    mask: [~0xffc, -1],
    when: (cpu) => cpu.features.has('mpx'),
    // Blocks of code are decoded for what is on.
    changed: updateModeBits,
  },
];
