import type { Vcpu } from '../vcpu.js';
import { GUEST_MODE } from '../words.js';

/** True in a guest mode where the faults of an instruction's value come before its intercept. */
export const faultsComeFirst = (cpu: Vcpu): boolean => cpu.w[GUEST_MODE] !== 0 && cpu.virtualization?.interceptsLast === true;
