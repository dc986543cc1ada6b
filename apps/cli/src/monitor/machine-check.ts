import { CpuError, type MachineCheckOutcome } from '@nestvm/cpu';
import { MachineError } from '@nestvm/machine';
import { UsageError } from '../errors.js';
import { parseInteger } from '../options/text.js';
import type { MonitorTarget } from './target.js';

/** The words behind `mce`, as QEMU has them; `-e` is ours. */
export const MCE_USAGE = 'mce [-b] [-e] CPU BANK STATUS MCGSTATUS ADDR MISC';

const OUTCOMES: Readonly<Record<MachineCheckOutcome, string>> = {
  signalled: '',
  logged: 'a corrected error: it is in its bank, and no #MC follows',
  disabled: 'nothing happens: the guest has switched this bank or all reporting off (IA32_MCi_CTL, IA32_MCG_CTL)',
  shutdown: 'the CPU shuts down: it has a machine check in progress, or no handler (CR4.MCE)',
};

function wide(name: string, text: string): bigint {
  if (/^(0x[0-9a-f]+|\d+)$/i.test(text) && BigInt(text) < 1n << 64n) return BigInt(text);
  throw new UsageError(`mce: ${name} '${text}' is not a number of 64 bits; write ${MCE_USAGE}`);
}

/** Makes a machine check; gives what became of it, in words, where that is not a plain #MC. */
export function machineCheck(target: MonitorTarget, args: readonly string[]): string {
  const [cpu, bank, status, globalStatus, address, misc, ...rest] = args.filter((word) => word !== '-b' && word !== '-e');
  if (misc === undefined || rest.length > 0) throw new UsageError(`write ${MCE_USAGE}; for example mce 0 1 0xbd00000000000134 0x5 0x1000 0x8c`);
  const check = {
    bank: parseInteger('mce BANK', bank!, 0, 255),
    status: wide('STATUS', status!),
    globalStatus: wide('MCGSTATUS', globalStatus!),
    address: wide('ADDR', address!),
    misc: wide('MISC', misc),
    duringEntry: args.includes('-e'),
  };
  try {
    return OUTCOMES[target.machine().machineCheck(parseInteger('mce CPU', cpu!, 0, 254), check, args.includes('-b'))];
  } catch (error) {
    if (error instanceof CpuError || error instanceof MachineError) throw new UsageError(error.message);
    throw error;
  }
}
