import type { EntryCheck } from '@nestvm/cpu';
import { controlRows } from './control-rows.js';
import { exitRows, instructionRows } from './instruction-rows.js';
import { saveRows } from './save-rows.js';
import type { VmrunView } from './view.js';

/** The rows that end VMRUN with VMEXIT_INVALID. */
export const vmcbRows: readonly EntryCheck<VmrunView>[] = [...saveRows, ...controlRows];

/** Every consistency check of VMRUN and #VMEXIT, in the order in which they are made. */
export const vmrunChecks: readonly EntryCheck<VmrunView>[] = [...instructionRows, ...vmcbRows, ...exitRows];
