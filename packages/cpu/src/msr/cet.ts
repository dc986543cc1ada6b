import { CetControl } from '@nestvm/isa';
import { updateModeBits } from '../mode.js';
import type { Vcpu } from '../vcpu.js';
import { quad } from '../words.js';
import type { MsrDefinition } from './definition.js';

const SHADOW_STACKS = CetControl.SH_STK_EN | CetControl.WR_SHSTK_EN;
const TRACKING = 0xfffff000 | CetControl.TRACKER | CetControl.SUPPRESS | 0x3c;

const hasShadowStacks = (cpu: Vcpu): boolean => cpu.features.has('cet-ss');
const hasTracking = (cpu: Vcpu): boolean => cpu.features.has('cet-ibt');

/** Whether IA32_U_CET or IA32_S_CET may hold a value, apart from the form of its address (SDM Vol. 4, "IA32_U_CET"). */
export function isCetControl(cpu: Vcpu, lo: number, hi: number): boolean {
  const known = (hasShadowStacks(cpu) ? SHADOW_STACKS : 0) | (hasTracking(cpu) ? TRACKING : 0);
  if ((lo & ~known) !== 0 || (hi !== 0 && !hasTracking(cpu))) return false;
  const both = CetControl.TRACKER | CetControl.SUPPRESS;
  return (lo & both) !== both;
}

function control(index: number, name: string, home: 'uCet' | 'sCet'): MsrDefinition {
  return {
    index,
    name,
    home,
    canonical: true,
    when: (cpu) => hasShadowStacks(cpu) || hasTracking(cpu),
    allow: isCetControl,
    // Blocks of code are decoded for what is on.
    changed: updateModeBits,
  };
}

/** The registers of control-flow enforcement (SDM Vol. 4). Their homes are in the vCPU state. */
export const cetDefinitions: readonly MsrDefinition[] = [
  control(0x6a0, 'IA32_U_CET', 'uCet'),
  control(0x6a2, 'IA32_S_CET', 'sCet'),
  ...[0, 1, 2, 3].map(
    (level): MsrDefinition => ({
      index: 0x6a4 + level,
      name: `IA32_PL${level}_SSP`,
      home: 'plSsp',
      element: level,
      canonical: true,
      when: hasShadowStacks,
      allow: (_cpu, lo) => (lo & 3) === 0,
    }),
  ),
  { index: 0x6a8, name: 'IA32_INTERRUPT_SSP_TABLE_ADDR', home: 'interruptSspTable', canonical: true, when: hasShadowStacks },
];

/** RESET and INIT: CET is off and its pointers are 0. */
export function resetCet(cpu: Vcpu): void {
  for (const field of ['uCet', 'sCet', 'plSsp', 'interruptSspTable', 'ssp'] as const) {
    const at = quad(field);
    cpu.q.fill(0n, at, at + (field === 'plSsp' ? 4 : 1));
  }
}
