import { word } from '@nestvm/cpu/extension';
import { VmcsTable, vmcsSlot } from '@nestvm/isa';
import { PageFlag, type PhysicalMemory, WRITE_TRAP } from '@nestvm/memory';
import { Misc, type VmxCapabilities } from '../capabilities/capabilities.js';
import { sectionsOfField } from '../checks/table.js';
import { FieldArea, FieldWidth, fields } from './layout.js';

const READ = word('vmcsRead');
const WRITE = word('vmcsWrite');
const FIELDS = word('vmcsFields');

/** Writes the table by which generated code carries out VMREAD and VMWRITE; see `VmcsTable`. */
function writeTable(view: DataView, capabilities: VmxCapabilities): void {
  const writesAll = (capabilities.miscLo & Misc.VMWRITE_READ_ONLY) !== 0;
  for (const { encoding, ordinal, word: at, width, area } of fields) {
    if (capabilities.fieldExists[ordinal] !== 1) continue;
    const slot = vmcsSlot(encoding) * VmcsTable.SLOT_BYTES;
    view.setUint16(slot + VmcsTable.READ, 4 * at, true);
    view.setUint16(slot + VmcsTable.WRITE, area === FieldArea.READ_ONLY && !writesAll ? 0 : 4 * at, true);
    view.setInt32(slot + VmcsTable.KEEP, ~sectionsOfField[ordinal]!, true);
    view.setInt32(slot + VmcsTable.MASK, width === FieldWidth.BITS_16 ? 0xffff : -1, true);
    view.setInt32(slot + VmcsTable.MASK + 4, width === FieldWidth.BITS_64 || width === FieldWidth.NATURAL ? -1 : 0, true);
  }
}

/**
 * Lends the current VMCS to generated code, so that a hypervisor's VMREAD and VMWRITE need no call. Writing is lent as a TLB lends a page: until somebody wants to
 * know of writes to it.
 */
export class LentVmcs {
  private readonly table: number;

  constructor(
    private readonly memory: PhysicalMemory,
    private readonly w: Int32Array,
    name: string,
    capabilities: VmxCapabilities,
  ) {
    const { arena } = memory;
    const bytes = VmcsTable.SLOTS * VmcsTable.SLOT_BYTES;
    this.table = arena.allocate(name, bytes, 64);
    writeTable(new DataView(arena.memory.buffer, this.table, bytes), capabilities);
  }

  /** Lends the VMCS whose first word is `region` (-1: none) for reading; nothing is lent for writing until the next write. */
  lend(region: number): void {
    this.w[READ] = region < 0 ? 0 : 4 * region;
    this.w[WRITE] = 0;
    this.w[FIELDS] = this.table;
  }

  /** After a write that has told everybody: further ones need not, unless somebody is told of all. */
  lendWrites(): void {
    const page = this.w[READ]! >>> 12;
    if (page === 0) return;
    const { pageFlags } = this.memory;
    if ((pageFlags[page]! & WRITE_TRAP) !== 0) return;
    pageFlags[page]! |= PageFlag.WRITE_CACHED;
    this.w[WRITE] = this.w[READ]!;
  }

  /** Takes write access to an arena page back; -1: to all. */
  revoke(arenaPage: number): void {
    if (arenaPage < 0 || arenaPage === this.w[WRITE]! >>> 12) this.w[WRITE] = 0;
  }
}
