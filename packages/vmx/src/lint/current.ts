import { describeEntry } from '../transitions/check-entry.js';
import type { Vmx } from '../vmx.js';
import { lint } from './lint.js';

/** Remarks on the current VMCS of a vCPU in VMX root operation, line by line, at any time: what VMLAUNCH or VMRESUME would say now, and what looks wrong. */
export function lintCurrentVmcs(vmx: Vmx): readonly string[] {
  if (!vmx.on) return ['vmx: the processor is not in VMX operation'];
  if (vmx.region < 0) return ['vmx: there is no current VMCS'];
  describeEntry(vmx);
  const remarks = lint(vmx.entryContext);
  const address = `vmx: the VMCS at 0x${vmx.regionAddress.toString(16)}`;
  if (remarks.length === 0) return [`${address} passes all checks, and nothing looks wrong`];
  const errors = remarks.filter((remark) => remark.severity === 'error').length;
  return [
    `${address}: ${errors} failing check${errors === 1 ? '' : 's'}, ${remarks.length - errors} warning${remarks.length - errors === 1 ? '' : 's'}`,
    ...remarks.flatMap(({ severity, lines }) => lines.map((line, i) => `  ${i === 0 ? `${severity}: ` : ''}${line}`)),
  ];
}
