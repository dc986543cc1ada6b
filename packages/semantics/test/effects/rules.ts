import type { FunctionRef, Node } from '@nestvm/emit';
import type { CallEffect, EffectRules } from '@nestvm/emit/backends';
import { vcpuState } from '@nestvm/isa';
import { At } from '../../src/x87/fpu.js';
import { LENT } from '../support/marked-engine.js';
import type { Form } from './forms.js';

const { offset } = vcpuState;

/** What the calls of the marked engine do. */
const CALLS: Readonly<Record<string, CallEffect>> = {
  'guest.read': 'check',
  'guest.write': 'write',
  'guest.modify': 'check',
  'guest.commit': 'commit',
  'guest.probe': 'probe',
  'guest.segment': 'check',
  'guest.fault': 'check',
  'flow.jump': 'pure',
  'flow.fallThrough': 'pure',
  'flow.repeat': 'pure',
  'flow.system': 'check',
};

void At;
/** The parts of the state that no program can see. */
const isScratch = (at: number): boolean => (at >= offset.scratch && at < offset.scratch + 64) || (at >= LENT && at < LENT + 512);

const MXCSR = `state[${offset.mxcsr}]`;

/** #XM leaves its cause in MXCSR (SDM Vol. 1, "SIMD Floating-Point Exceptions"). */
const allows = (write: string, target: FunctionRef, args: readonly Node[]): boolean =>
  write === MXCSR && target.name === 'guest.fault' && args[0]!.value === 19;

/** Rules under which the effects of a form are recorded. */
export const effectsRules = (form: Form): EffectRules => ({
  call: (target) => CALLS[target.name],
  range: { address: 0, bytes: 1 },
  state: 0,
  isScratch,
  restarts: form.facts.rep !== 0,
  allows,
});
