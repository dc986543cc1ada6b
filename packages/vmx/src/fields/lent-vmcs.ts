import { word } from '@nestvm/cpu/extension';
import { VmcsTable, vmcsSlot } from '@nestvm/isa';
import { PageFlag, type PhysicalMemory, WRITE_TRAP } from '@nestvm/memory';
import { Misc, type VmxCapabilities } from '../capabilities/capabilities.js';
import { sectionsOfField } from '../checks/table.js';
import { FieldArea, FieldWidth, fields } from './layout.js';

const READ = word('vmcsRead');
const WRITE = word('vmcsWrite');
const READ_BITMAP = word('vmcsReadBitmap');
const WRITE_BITMAP = word('vmcsWriteBitmap');
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
 * Lends a VMCS to generated code, so that a hypervisor's VMREAD and VMWRITE need no call: the current one in root operation, the shadow VMCS in non-root
 * operation. Writing is lent as a TLB lends a page: until somebody wants to know of writes to it.
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

  /** Lends the VMCS whose first word is `region` (-1: none); for writing too, unless somebody is to be told of the next write. */
  lend(region: number): void {
    const { w } = this;
    w[READ] = region < 0 ? 0 : 4 * region;
    w[WRITE] = 0;
    w[READ_BITMAP] = 0;
    w[WRITE_BITMAP] = 0;
    w[FIELDS] = this.table;
    this.lendWrites(region);
  }

  /** … under bitmaps of the fields that are not lent (arena offsets). */
  lendShadow(region: number, readBitmap: number, writeBitmap: number): void {
    this.lend(region);
    this.w[READ_BITMAP] = readBitmap;
    this.w[WRITE_BITMAP] = writeBitmap;
  }

  /** Lends a VMCS for writing if it is lent for reading and nobody is to be told of writes to it any more. */
  lendWrites(region: number): void {
    const { w } = this;
    if (region < 0 || w[READ] !== 4 * region) return;
    const page = (4 * region) >>> 12;
    const { pageFlags } = this.memory;
    if ((pageFlags[page]! & WRITE_TRAP) !== 0) return;
    pageFlags[page]! |= PageFlag.WRITE_CACHED;
    w[WRITE] = w[READ]!;
  }

  /** Takes write access to an arena page back; -1: to all. */
  revoke(arenaPage: number): void {
    if (arenaPage < 0 || arenaPage === this.w[WRITE]! >>> 12) this.w[WRITE] = 0;
  }
}
