import { allFailures, explainFailure, type Vcpu } from '@nestvm/cpu';
import { GPR } from '@nestvm/cpu/extension';
import { instructionRows } from '../checks/instruction-rows.js';
import { vmcbRows } from '../checks/rows.js';
import { Svm } from '../svm.js';
import { vmcbWarnings } from './warnings.js';

/** The extension of a vCPU, if it is this one. */
const svmOf = (cpu: Vcpu): Svm | null => (cpu.virtualization instanceof Svm ? cpu.virtualization : null);

/**
 * Why the VMRUN that failed last did so: a processor answers VMEXIT_INVALID and no more; here every failing check, with field, value and rule, a line each.
 * Call it from `onFailedEntry`, while the VMCB is as it was.
 */
export function explainEntry(cpu: Vcpu): readonly string[] {
  const svm = svmOf(cpu);
  if (svm === null) return [];
  const address = `0x${svm.vmcbAddress.toString(16)}`;
  const failures = allFailures(vmcbRows, svm.view).flatMap((row) => explainFailure(row, svm.view));
  return [`VMRUN of the VMCB at ${address} on cpu${cpu.index} fails:`, ...failures];
}

/**
 * Looks at the VMCB at a physical address (rAX when left out) as VMRUN would, at any time: every check that would fail, then warnings about what is legal but
 * rarely meant.
 */
export function lintVmcb(cpu: Vcpu, address?: number): readonly string[] {
  const svm = svmOf(cpu);
  if (svm === null) return [];
  const lo = address === undefined ? cpu.w[GPR]! : (address % 4294967296) | 0;
  const hi = address === undefined ? cpu.w[GPR + 1]! : Math.floor(address / 4294967296);
  const v = svm.context.page(lo, hi);
  const view = { ...svm.view, v: Math.max(v, 0) };
  const rows = address === undefined ? instructionRows : instructionRows.filter((row) => row.id !== 'svm.rax');
  const lines = allFailures(rows, view).flatMap((row) => explainFailure(row, view));
  if (v < 0) return [...lines, 'the VMCB is not an aligned page of memory'];
  return [...lines, ...allFailures(vmcbRows, view).flatMap((row) => explainFailure(row, view)), ...vmcbWarnings(view)];
}
