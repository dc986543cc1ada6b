import { MsrTable, msrSlot } from '@nestvm/isa';
import type { Vcpu } from '../vcpu.js';
import { word } from '../words.js';
import type { MsrDefinition } from './definition.js';

/** Byte offset in the vCPU state of a register that is kept there, 0 for others. */
const homeOf = ({ home, element = 0 }: MsrDefinition): number => (home === undefined ? 0 : 4 * word(home) + 8 * element);

const isPlainRead = (msr: MsrDefinition): boolean => msr.read === undefined && msr.constant === undefined;

/** A write that stores the value and does nothing else; its checks are the mask's and that of addresses. */
const isPlainWrite = (msr: MsrDefinition): boolean =>
  msr.constant === undefined && msr.write === undefined && msr.allow === undefined && msr.changed === undefined && msr.ignore !== true;

/** Writes the table by which generated code carries out RDMSR and WRMSR; see `MsrTable`. The first register that wants a slot has it. */
export function writeMsrTable(view: DataView, cpu: Vcpu): void {
  // Unlike other addresses, those in registers are canonical by what the processor has, not by what is in force.
  const top = cpu.features.has('la57') ? 56 : 47;
  const bitOf = (index: number, write: boolean): number => cpu.virtualization?.msrBit?.(index, write) ?? -1;
  for (const msr of cpu.msrs.list()) {
    const home = homeOf(msr);
    const at = msrSlot(msr.index) * MsrTable.SLOT_BYTES;
    if (home === 0 || view.getUint16(at + MsrTable.READ, true) !== 0 || !isPlainRead(msr)) continue;
    view.setUint32(at + MsrTable.INDEX, msr.index, true);
    view.setUint16(at + MsrTable.READ, home, true);
    view.setUint16(at + MsrTable.WRITE, isPlainWrite(msr) ? home : 0, true);
    view.setUint32(at + MsrTable.TOP, msr.canonical === true ? top : 63, true);
    const [lo, hi] = msr.mask ?? [-1, -1];
    view.setInt32(at + MsrTable.MASK, lo, true);
    view.setInt32(at + MsrTable.MASK + 4, hi, true);
    view.setInt32(at + MsrTable.READ_BIT, bitOf(msr.index, false), true);
    view.setInt32(at + MsrTable.WRITE_BIT, bitOf(msr.index, true), true);
  }
}
