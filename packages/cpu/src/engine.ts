import { MsrTable, opcodeRows } from '@nestvm/isa';
import type { Arena, PhysicalMemory } from '@nestvm/memory';
import { type Meanings, meanings } from '@nestvm/semantics';
import { BlockBuilder } from './blocks/block-builder.js';
import { CodeCache } from './blocks/code-cache.js';
import { Handlers } from './interpreter/handlers.js';
import { Record, Slot } from './interpreter/record.js';
import { SlowAccess } from './interpreter/slow-access.js';
import { writeMsrTable } from './msr/table.js';
import type { HotCode } from './ports/hot-code.js';
import type { KeptCode } from './ports/kept-code.js';
import type { Vcpu } from './vcpu.js';

/** What generated code asks of whoever runs its vCPU. */
interface EngineUser {
  readonly cpu: Vcpu;
  /** Instructions retired since the start. */
  readonly retired: number;
  /** Carries a system instruction out. 1: the code may go on at RIP; 0: it must come back, for the reason that is set. */
  systemHere(record: number): number;
  /** The block at RIP, which the engine does not know; 0: the code must come back. */
  missHere(): number;
  /** Links the direct jump that was noted: the block that it leads to; 0: the code must come back. */
  linkHere(): number;
  /** The time-stamp counter at the instruction of a record, into `scratch`. */
  timeHere(record: number): void;
}

/** What all vCPUs of a machine share to run code: decoded blocks, handlers, slow accesses. */
export class Engine {
  readonly cache: CodeCache;
  readonly handlers: Handlers;
  readonly builder: BlockBuilder;
  readonly slow: SlowAccess;
  hotCode: HotCode | null = null;
  private readonly users: EngineUser[] = [];
  private last: EngineUser | null = null;

  constructor(
    readonly arena: Arena,
    readonly memory: PhysicalMemory,
    options: { readonly meanings?: Meanings; readonly recordBytes?: number; readonly keptCode?: KeptCode | undefined } = {},
  ) {
    this.cache = new CodeCache({ arena, memory, ...(options.recordBytes === undefined ? {} : { recordBytes: options.recordBytes }) });
    this.slow = new SlowAccess(arena.memory.buffer, (offset, length) => memory.beforeWrite(offset, length));
    const { slow } = this;
    this.handlers = new Handlers({
      memory: arena.memory,
      shared: arena.shared,
      rows: opcodeRows,
      meanings: options.meanings ?? meanings,
      blockCache: this.cache.blockCache,
      codePlaces: { writtenPages: this.cache.written.offset, pageFlags: memory.pageFlagsOffset },
      // It is that of the meanings that all have.
      keptCode: options.meanings === undefined ? options.keptCode : undefined,
      host: {
        hostRead: (r, c, b) => slow.hostRead(r, c, b),
        hostWrite: (r, c, b) => slow.hostWrite(r, c, b),
        hostModify: (r, c, b) => slow.hostModify(r, c, b),
        hostCommit: (r, c) => slow.hostCommit(r, c),
        hostProbe: (r, c, b) => slow.hostProbe(r, c, b),
        hostCodeWrite: (o, b) => void memory.beforeWrite(o >>> 0, b),
        hostSystem: (r, c) => this.user(c).systemHere(r),
        hostMiss: (c) => this.user(c).missHere(),
        hostLink: (c) => this.user(c).linkHere(),
        hostTime: (r, c) => this.user(c).timeHere(r),
      },
    });
    this.builder = new BlockBuilder(arena, this.cache, this.handlers);
  }

  /** Introduces what runs a vCPU. */
  add(user: EngineUser): void {
    this.users.push(user);
    this.slow.add(user.cpu);
  }

  private user(base: number): EngineUser {
    if (this.last?.cpu.base !== base) this.last = this.users.find(({ cpu }) => cpu.base === base)!;
    return this.last;
  }

  /** Instructions retired by all vCPUs since the start. */
  get retired(): number {
    return this.users.reduce((sum, { retired }) => sum + retired, 0);
  }

  /** Bytes of the instruction at the start of a block. */
  lengthAt(record: number): number {
    const { i32, u8 } = this.arena;
    let at = record;
    // Heads that check the segment's limit and the second page come first.
    while (i32[at >>> 2] === Slot.LIMIT || i32[at >>> 2] === Slot.CROSSING) at += Record.BYTES;
    return u8[at + Record.LENGTH]!;
  }

  /** Makes the table of registers that generated code reads and writes by itself, for one vCPU. */
  createMsrTable(cpu: Vcpu): number {
    const bytes = MsrTable.SLOTS * MsrTable.SLOT_BYTES;
    const table = this.arena.allocate(`msr table ${cpu.index}`, bytes, 64);
    writeMsrTable(new DataView(this.arena.memory.buffer, table, bytes), cpu);
    return table;
  }

  /** Reports hot blocks from now on; what is decoded already is dropped. */
  attach(hotCode: HotCode): void {
    this.hotCode = hotCode;
    this.builder.turns = (arenaPage) => hotCode.turns(arenaPage);
    this.builder.countedModes = hotCode.modes;
    this.cache.flush();
    this.cache.onDropped = (page) => hotCode.dropped(page);
  }
}
