import type { Instruction } from '@nestvm/decoder';
import { ControlProtection, Cr4, Mode, Vector } from '@nestvm/isa';
import { sendPhysicalIpi } from '../events/own-apic.js';
import { isCanonical } from '../mode.js';
import { Outcome } from '../outcome.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, CR4, GPR, GUEST_MODE, MODE, RIP, UIF, UINTR_MISC, UINTR_TARGETS, word } from '../words.js';
import { finishReturn } from './iret.js';

const RSP = GPR + 8;
const MONITOR_ARMED = word('monitorArmed');
/** CF PF AF ZF SF TF DF OF NT RF AC ID: what UIRET loads of RFLAGS. */
const RETURNED_FLAGS = 0x25_4dd5;
const FLEXIBLE = 'uiret-uif';
/** Bits of the flags image that a flexible UIRET takes UIF from. */
const FLAG_UIF = 2;
const VALID = 1;
/** IA32_UINTR_TT: SENDUIPI is enabled. */
const ENABLED = 1;
/** Reserved bits of an entry of the target table: 7:1, 15:14, 31:16; of a descriptor: 15:2, 31:24. */
const ENTRY_RESERVED = 0xffff_c0fe | 0;
const DESCRIPTOR_RESERVED = 0xff00_fffc | 0;
const OUTSTANDING = 1;
const SUPPRESSED = 2;

const isOn = (cpu: Vcpu): boolean => (cpu.w[CR4]! & Cr4.UINTR) !== 0;

function setFlag(cpu: Vcpu, value: 0 | 1): Outcome {
  if (!isOn(cpu)) return cpu.raise(Vector.UD);
  cpu.w[UIF] = value;
  if (value === 1) cpu.requestAttention();
  return Outcome.NEXT;
}

/** Blocks user interrupts. */
export const CLUI = (cpu: Vcpu): Outcome => setFlag(cpu, 0);
/** Unblocks user interrupts. */
export const STUI = (cpu: Vcpu): Outcome => setFlag(cpu, 1);

/** UIF to CF; the other arithmetic flags are cleared. */
export function TESTUI(cpu: Vcpu): Outcome {
  if (!isOn(cpu)) return cpu.raise(Vector.UD);
  cpu.writeArithmeticFlags(cpu.w[UIF]!);
  return Outcome.NEXT;
}

/** Return from the handler of a user interrupt, which has taken the vector off the stack. */
export function UIRET(cpu: Vcpu): Outcome {
  if (!isOn(cpu)) return cpu.raise(Vector.UD);
  const { w, stack } = cpu;
  stack.openCurrent();
  if (!stack.pop(8)) return Outcome.FAULT;
  const { lo, hi } = cpu;
  if (!stack.pop(8)) return Outcome.FAULT;
  const flags = cpu.lo;
  if (!stack.pop(8)) return Outcome.FAULT;
  if (!isCanonical(cpu, hi)) return cpu.raise(Vector.GP, 0);
  const spLo = cpu.lo;
  const spHi = cpu.hi;
  if ((w[MODE]! & Mode.SHADOW_STACK) !== 0) {
    cpu.shadowStack.open(w[CPL]!);
    if (!cpu.shadowStack.pop(8)) return Outcome.FAULT;
    if (cpu.lo !== lo || cpu.hi !== hi) return cpu.raise(Vector.CP, ControlProtection.FAR_RET);
    cpu.shadowStack.commit();
  }
  w[RSP] = spLo;
  w[RSP + 1] = spHi;
  w[RIP] = lo;
  w[RIP + 1] = hi;
  cpu.writeRflags((cpu.readRflags() & ~RETURNED_FLAGS) | (flags & RETURNED_FLAGS));
  w[UIF] = !cpu.features.has(FLEXIBLE) || (flags & FLAG_UIF) !== 0 ? 1 : 0;
  w[MONITOR_ARMED] = 0;
  return finishReturn(cpu);
}

/** Posts a vector in the descriptor at a linear address; gives the notification to send as [vector, destination], null for none, or false when a fault was recorded. */
function post(cpu: Vcpu, lo: number, hi: number, vector: number): readonly [number, number] | null | false {
  const { tables } = cpu;
  if (!tables.read64(lo + 8, hi, false)) return false;
  const requests = [tables.lo, tables.hi] as const;
  if (!tables.read64(lo, hi, false)) return false;
  const control = tables.lo;
  const destination = tables.hi;
  if ((control & DESCRIPTOR_RESERVED) !== 0) return cpu.fail(Vector.GP, 0);
  const notify = (control & (OUTSTANDING | SUPPRESSED)) === 0;
  if (!tables.write64(lo, hi, notify ? control | OUTSTANDING : control, destination, false)) return false;
  const bit = 1 << (vector & 31);
  if (!tables.write64(lo + 8, hi, vector < 32 ? requests[0] | bit : requests[0], vector < 32 ? requests[1] : requests[1] | bit, false)) return false;
  return notify ? [(control >>> 16) & 0xff, destination] : null;
}

/** Sends the user interrupt that an entry of the target table describes; all accesses are the supervisor's. */
export function SENDUIPI(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const { w, tables } = cpu;
  if (!isOn(cpu) || (w[UINTR_TARGETS]! & ENABLED) === 0) return cpu.raise(Vector.UD);
  const index = w[GPR + 2 * insn.rm]!;
  if (w[GPR + 2 * insn.rm + 1] !== 0 || index >>> 0 > w[UINTR_MISC]! >>> 0) return cpu.raise(Vector.GP, 0);
  const offset = (index >>> 0) * 16 + ((w[UINTR_TARGETS]! & ~15) >>> 0);
  const lo = offset | 0;
  const hi = (w[UINTR_TARGETS + 1]! + Math.floor(offset / 4294967296)) | 0;
  if (!isCanonical(cpu, hi)) return cpu.raise(Vector.GP, 0);
  if (!tables.read64(lo, hi, false)) return Outcome.FAULT;
  const entry = tables.lo;
  const reserved = (entry & ENTRY_RESERVED) | tables.hi;
  if (!tables.read64(lo + 8, hi, false)) return Outcome.FAULT;
  const { lo: descriptor, hi: descriptorHi } = tables;
  if ((entry & VALID) === 0 || reserved !== 0 || (descriptor & 0x3f) !== 0 || !isCanonical(cpu, descriptorHi)) return cpu.raise(Vector.GP, 0);
  const notification = post(cpu, descriptor, descriptorHi, (entry >>> 8) & 0x3f);
  if (notification === false) return Outcome.FAULT;
  if (notification === null) return Outcome.NEXT;
  if (w[GUEST_MODE] !== 0 && cpu.virtualization?.sendIpi?.(cpu, insn.length, ...notification) === true) return Outcome.JUMPED;
  sendPhysicalIpi(cpu, ...notification);
  return Outcome.NEXT;
}
