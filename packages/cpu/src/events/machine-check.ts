import { Cr4 } from '@nestvm/isa';
import { CpuError } from '../errors.js';
import type { Vcpu } from '../vcpu.js';
import { CR4, PENDING_EVENTS, word } from '../words.js';
import { shutDown } from './deliver.js';
import { PendingEvent } from './pending.js';

/** A machine check to be made: what the reporting bank and IA32_MCG_STATUS will hold (SDM Vol. 3, "Machine-Check Architecture"). */
export interface MachineCheck {
  /** Number of the bank that reports it. */
  readonly bank: number;
  /** IA32_MCi_STATUS; VAL (bit 63) must be set, UC (bit 61) makes it an uncorrected error, which is signalled. */
  readonly status: bigint;
  /** IA32_MCG_STATUS of a signalled one, without MCIP: whether the program can be restarted, and whether the address is its. */
  readonly globalStatus: bigint;
  /** IA32_MCi_ADDR and IA32_MCi_MISC. */
  readonly address: bigint;
  readonly misc: bigint;
  /** It waits for the next VM entry, and happens during that; else at the next instruction boundary. */
  readonly duringEntry?: boolean;
}

/** What became of a machine check: #MC follows, or it is in its bank only, or its bank or all signalling is switched off, or it ends the CPU. */
export type MachineCheckOutcome = 'signalled' | 'logged' | 'disabled' | 'shutdown';

const [CAP, CTL, BANKS] = [0x179, 0x17b, 0x400];
const VAL = 1n << 63n;
const OVER = 1n << 62n;
const UC = 1n << 61n;
const MCIP = 1n << 2n;
const GLOBAL_STATUS = word('mcgStatus');

function msr(cpu: Vcpu, index: number): bigint {
  return cpu.msrs.read(index) ? (BigInt(cpu.hi >>> 0) << 32n) | BigInt(cpu.lo >>> 0) : 0n;
}

const halves = (value: bigint): [number, number] => [Number(value & 0xffff_ffffn) | 0, Number((value >> 32n) & 0xffff_ffffn) | 0];

/** Reports by the bank. An error that is there already is kept if it is the worse one, and OVER tells that one was lost (SDM Vol. 3, "Overwrite Rules for Machine Check Overflow"). */
function log(cpu: Vcpu, { bank, status, address, misc }: MachineCheck): void {
  const base = BANKS + 4 * bank;
  const before = msr(cpu, base + 1);
  const isKept = (before & VAL) !== 0n && (before & UC) !== 0n && (status & UC) === 0n;
  const over = (before & VAL) !== 0n ? OVER : 0n;
  if (isKept) cpu.msrs.loadOwn([[base + 1, ...halves(before | OVER)]]);
  else
    cpu.msrs.loadOwn([
      [base + 1, ...halves(status | over)],
      [base + 2, ...halves(address)],
      [base + 3, ...halves(misc)],
    ]);
}

/**
 * Makes a machine check, as a fault of the hardware would: the bank reports it, and an uncorrected one is signalled by #MC. A CPU that has one in progress
 * (IA32_MCG_STATUS.MCIP) or no handler (CR4.MCE clear) shuts down. Source: SDM Vol. 3, "Machine-Check Architecture" and "Machine-Check Events During VM Entry".
 *
 * @throws CpuError `bad-option` for a CPU without machine checks, a bank that it has not, or a status that is not valid.
 */
export function injectMachineCheck(cpu: Vcpu, check: MachineCheck): MachineCheckOutcome {
  const banks = Number(msr(cpu, CAP) & 0xffn);
  if (banks === 0) throw new CpuError('bad-option', 'machine check: this CPU model has no machine-check architecture (CPUID: mca)');
  if (!Number.isInteger(check.bank) || check.bank < 0 || check.bank >= banks)
    throw new CpuError('bad-option', `machine check: there is no bank ${check.bank}; banks are 0 to ${banks - 1}`);
  if ((check.status & VAL) === 0n)
    throw new CpuError('bad-option', `machine check: status 0x${check.status.toString(16)} is not valid: set bit 63 (VAL)`);
  if ((check.status & UC) === 0n) {
    log(cpu, check);
    return 'logged';
  }
  if (msr(cpu, CTL) === 0n || msr(cpu, BANKS + 4 * check.bank) === 0n) return 'disabled';
  const { w } = cpu;
  const inProgress = (w[GLOBAL_STATUS]! & Number(MCIP)) !== 0;
  log(cpu, check);
  [w[GLOBAL_STATUS], w[GLOBAL_STATUS + 1]] = halves(check.globalStatus | MCIP);
  cpu.requestAttention();
  if (check.duringEntry !== true && (inProgress || (w[CR4]! & Cr4.MCE) === 0)) {
    shutDown(cpu);
    return 'shutdown';
  }
  w[PENDING_EVENTS] = w[PENDING_EVENTS]! | (check.duringEntry === true ? PendingEvent.MACHINE_CHECK_AT_ENTRY : PendingEvent.MACHINE_CHECK);
  return 'signalled';
}

/** For VM entry: whether a machine check happens during it. It is pending no longer. */
export function machineCheckAtEntry(cpu: Vcpu): boolean {
  const { w } = cpu;
  if ((w[PENDING_EVENTS]! & PendingEvent.MACHINE_CHECK_AT_ENTRY) === 0) return false;
  w[PENDING_EVENTS] = w[PENDING_EVENTS]! & ~PendingEvent.MACHINE_CHECK_AT_ENTRY;
  return true;
}
