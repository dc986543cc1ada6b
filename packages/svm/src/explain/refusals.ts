import { allFailures, explainFailure } from '@nestvm/cpu';
import { FAULT_VECTOR, type Instruction } from '@nestvm/cpu/extension';
import { Vector } from '@nestvm/isa';
import { instructionRows } from '../checks/instruction-rows.js';
import type { VmrunView } from '../checks/view.js';

/** Which rows each instruction is held to. */
const ROWS: Readonly<Record<string, readonly string[]>> = {
  VMRUN: ['svm.svme', 'svm.cpl', 'svm.rax', 'svm.hsave'],
  VMLOAD: ['svm.svme', 'svm.cpl', 'svm.rax'],
  VMSAVE: ['svm.svme', 'svm.cpl', 'svm.rax'],
};
const COMMON = ['svm.svme', 'svm.cpl'];

/** Why an instruction of SVM was #UD or #GP in the host. */
export function explainRefusal(view: VmrunView, insn: Readonly<Instruction>): readonly string[] {
  const { cpu } = view;
  const { mnemonic } = insn.row;
  const vector = cpu.w[FAULT_VECTOR] === Vector.UD ? '#UD' : cpu.w[FAULT_VECTOR] === Vector.GP ? '#GP(0)' : `vector ${cpu.w[FAULT_VECTOR]}`;
  const rows = instructionRows.filter((row) => (ROWS[mnemonic] ?? COMMON).includes(row.id));
  const head = `svm: ${mnemonic} at ${cpu.rip.toString(16)}h: ${vector}`;
  if (mnemonic === 'VMMCALL') return [head, '  VMMCALL calls a hypervisor from its guest; the host has nobody to call'];
  return [head, ...allFailures(rows, view).flatMap((row) => explainFailure(row, view).map((line) => `  ${line}`))];
}
