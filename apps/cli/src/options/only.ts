import { UsageError } from '../errors.js';

/** A property of QEMU's that has just one outcome here: the values that ask for it, and what to do instead of any other. */
export type OnlyRow = readonly [accepted: RegExp, advice: string];

/** Takes away the properties of `rows`; throws `UsageError` where one asks for what there is not, so that nothing is accepted and then does nothing. */
export function takeOnly(option: string, values: Map<string, string>, rows: Readonly<Record<string, OnlyRow>>): void {
  for (const [key, [accepted, advice]] of Object.entries(rows)) {
    const value = values.get(key);
    if (value !== undefined && !accepted.test(value)) throw new UsageError(`${option}${option.includes(' ') ? ',' : ' '}${key}=${value}: ${advice}`);
    values.delete(key);
  }
}

const off = (what: string): OnlyRow => [/^(off|no|false|auto)$/, `there is no ${what}; leave it out`];
const any: OnlyRow = [/^/, ''];

/** Properties of QEMU's boards. Those that only say how QEMU is to use its host take any value. */
export const boardOnly: Readonly<Record<string, OnlyRow>> = {
  usb: off('USB'),
  vmport: off('VMware port'),
  nvdimm: off('NVDIMM'),
  graphics: any,
  smm: [/^(on|yes|true|auto)$/, 'SMM belongs to every CPU; leave it out'],
  'dump-guest-core': any,
  'mem-merge': any,
  'kernel-irqchip': any,
  kernel_irqchip: any,
  sata: off('disk controller on the board'),
  smbus: off('SMBus'),
  'x-option-roms': off('option ROM'),
  'auto-kernel-cmdline': [/^(off|no|false)$/, 'ACPI names the devices; leave it out'],
  'isa-serial': [/^(on|yes|true)$/, 'leave the serial port out with -serial none'],
};

/** Properties of QEMU's TCG. */
export const acceleratorOnly: Readonly<Record<string, OnlyRow>> = {
  thread: [/^(single|multi)$/, 'write single or multi; all CPUs run on one thread here'],
  'split-wx': [/^(on|off|yes|no|true|false)$/, 'leave it out'],
  'one-insn-per-tb': [/^(off|no|false)$/, 'write jit=off'],
};

/** Properties of QEMU's virtio devices. */
export const virtioOnly: Readonly<Record<string, OnlyRow>> = {
  bus: [/^(pci|pcie)(\.0)?$/, 'all are on the one bus of the board: pci.0, of q35 pcie.0'],
  romfile: [/^$/, 'there are no option ROMs; write romfile= or leave it out'],
  rombar: [/^(0|1|on|off)$/, 'there are no option ROMs; leave it out'],
  ioeventfd: any,
  iothread: any,
  scsi: off('SCSI command in virtio-blk'),
  'share-rw': [/^(off|no|false)$/, 'a drive has one device; leave it out'],
  multifunction: off('second function in a slot'),
  failover: off('failover'),
  ats: off('ATS'),
  'page-per-vq': off('page for each queue'),
};

/** Properties of QEMU's user network. */
export const userOnly: Readonly<Record<string, OnlyRow>> = {
  ipv4: [/^(on|yes|true)$/, 'there is IPv4 only; leave it out'],
  ipv6: [/^(off|no|false)$/, 'there is IPv4 only; leave it out'],
};
