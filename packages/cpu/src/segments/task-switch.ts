import type { Instruction } from '@nestvm/decoder';
import { Cr0, Cr4, Dr6, Rflags, Segment, Vector } from '@nestvm/isa';
import { enterByCall, enterByReturn, leaveByCall, leaveByReturn, type TaskShadow, virtualTaskIsPlain } from '../cet/task.js';
import { updateMode } from '../mode.js';
import { Outcome } from '../outcome.js';
import { Access } from '../ports/translation.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, CR0, CR4, DR, GPR, GUEST_MODE, RFLAGS, RIP, SEG_ATTRIBUTES, SEG_BASE, SEG_LIMIT, SEG_SELECTOR } from '../words.js';
import {
  Descriptor,
  fetchDescriptor,
  isNullSelector,
  markAccessed,
  SystemType,
  setNullSegment,
  setSegment,
  setVirtualSegment,
  writeAccessByte,
} from './descriptor.js';

/** Smallest limit of a TSS that holds a shadow-stack pointer. */
const SSP_LIMIT = 0x6b;

/** What started a task switch. */
export const TaskSwitch = { CALL: 0, IRET: 1, JUMP: 2, EVENT: 3 } as const;
/** One of the values of {@link TaskSwitch}; they are the codes of VMX's exit qualification. */
export type TaskSwitch = (typeof TaskSwitch)[keyof typeof TaskSwitch];

const SELECTOR_ORDER = [Segment.ES, Segment.CS, Segment.SS, Segment.DS, Segment.FS, Segment.GS] as const;

/** Where things are in the two kinds of TSS (SDM Vol. 3, "Task-State Segment"). */
interface Layout {
  readonly wide: boolean;
  /** Smallest limit. */
  readonly limit: number;
  readonly ip: number;
  readonly flags: number;
  readonly registers: number;
  readonly selectors: number;
  readonly segmentCount: number;
  readonly ldt: number;
  /** First and last byte that a switch away writes. */
  readonly saveStart: number;
  readonly saveLength: number;
}
const TSS32: Layout = {
  wide: true,
  limit: 0x67,
  ip: 0x20,
  flags: 0x24,
  registers: 0x28,
  selectors: 0x48,
  segmentCount: 6,
  ldt: 0x60,
  saveStart: 0x20,
  saveLength: 0x40,
};
const TSS16: Layout = {
  wide: false,
  limit: 0x2b,
  ip: 0x0e,
  flags: 0x10,
  registers: 0x12,
  selectors: 0x22,
  segmentCount: 4,
  ldt: 0x2a,
  saveStart: 0x0e,
  saveLength: 0x1c,
};

/** The new task's state as read from its TSS. */
interface Image {
  readonly ip: number;
  readonly flags: number;
  readonly registers: readonly number[];
  readonly selectors: readonly number[];
  readonly ldt: number;
  readonly cr3: number;
  readonly trap: boolean;
  /** Shadow-stack pointer; 0 where none is read. */
  readonly ssp: number;
}

const is32 = (type: number): boolean => (type & 8) !== 0;
const isTss = (descriptor: Descriptor, busy: boolean): boolean => {
  const type = descriptor.type;
  const wanted = busy ? [SystemType.TSS16_BUSY, SystemType.TSS32_BUSY] : [SystemType.TSS16, SystemType.TSS32];
  return descriptor.isSystem && (type === wanted[0] || type === wanted[1]);
};

/** The checks on the new TSS descriptor, which it leaves in `cpu.descriptor`. */
function readTaskDescriptor(cpu: Vcpu, selector: number, reason: TaskSwitch): boolean {
  const vector = reason === TaskSwitch.IRET ? Vector.TS : Vector.GP;
  const error = selector & 0xfffc;
  const descriptor = cpu.descriptor;
  if ((selector & 4) !== 0 || isNullSelector(selector)) return cpu.fail(vector, error);
  if (!fetchDescriptor(cpu, selector, descriptor, vector)) return false;
  if (!isTss(descriptor, reason === TaskSwitch.IRET)) return cpu.fail(vector, error);
  if (!descriptor.present) return cpu.fail(Vector.NP, error);
  if (descriptor.limit < (is32(descriptor.type) ? TSS32 : TSS16).limit) return cpu.fail(Vector.TS, error);
  return true;
}

function readImage(cpu: Vcpu, base: number, layout: Layout, withSsp: boolean): Image | null {
  const { tables } = cpu;
  const size = layout.wide ? 4 : 2;
  let failed = false;
  const read = (offset: number, bytes: number): number => {
    const value = failed ? -1 : bytes === 4 ? tables.read32((base + offset) | 0, 0, false) : tables.read16((base + offset) | 0, 0, false);
    if (value < 0) failed = true;
    return value | 0;
  };
  const image: Image = {
    cr3: layout.wide ? read(0x1c, 4) : 0,
    ip: read(layout.ip, size),
    flags: read(layout.flags, size),
    registers: Array.from({ length: 8 }, (_, i) => read(layout.registers + size * i, size)),
    selectors: Array.from({ length: layout.segmentCount }, (_, i) => read(layout.selectors + size * i, 2)),
    ldt: read(layout.ldt, 2),
    trap: layout.wide && (read(0x64, 2) & 1) !== 0,
    ssp: layout.wide && withSsp ? read(0x68, 4) : 0,
  };
  return failed ? null : image;
}

/** Writes the outgoing task's state; its pages have been checked for writing. */
function saveTask(cpu: Vcpu, base: number, layout: Layout, ip: number, flags: number): void {
  const { tables, w, h } = cpu;
  const size = layout.wide ? 4 : 2;
  const write = (offset: number, value: number): void => {
    const at = (base + offset) | 0;
    if (size === 4) tables.write32(at, 0, value, false);
    else tables.write16(at, 0, value, false);
  };
  write(layout.ip, ip);
  write(layout.flags, flags);
  for (let i = 0; i < 8; i++) write(layout.registers + size * i, w[GPR + 2 * i]!);
  for (let i = 0; i < layout.segmentCount; i++)
    tables.write16((base + layout.selectors + size * i) | 0, 0, h[SEG_SELECTOR + SELECTOR_ORDER[i]!]!, false);
}

function loadLdt(cpu: Vcpu, selector: number): boolean {
  if (isNullSelector(selector)) {
    setNullSegment(cpu, Segment.LDTR, selector);
    return true;
  }
  const error = selector & 0xfffc;
  const descriptor = cpu.descriptor;
  if ((selector & 4) !== 0) return cpu.fail(Vector.TS, error);
  if (!fetchDescriptor(cpu, selector, descriptor, Vector.TS)) return false;
  if (!descriptor.isSystem || descriptor.type !== SystemType.LDT || !descriptor.present) return cpu.fail(Vector.TS, error);
  setSegment(cpu, Segment.LDTR, selector, descriptor);
  return true;
}

function loadTaskCode(cpu: Vcpu, selector: number): boolean {
  const error = selector & 0xfffc;
  if (isNullSelector(selector)) return cpu.fail(Vector.TS, error);
  const code = cpu.descriptor;
  if (!fetchDescriptor(cpu, selector, code, Vector.TS)) return false;
  const rpl = selector & 3;
  if (!code.isCode || (code.isConforming ? code.dpl > rpl : code.dpl !== rpl)) return cpu.fail(Vector.TS, error);
  if (!code.present) return cpu.fail(Vector.NP, error);
  if (!markAccessed(cpu, code)) return false;
  setSegment(cpu, Segment.CS, selector, code);
  return true;
}

function loadTaskStack(cpu: Vcpu, selector: number, cpl: number): boolean {
  const error = selector & 0xfffc;
  if (isNullSelector(selector)) return cpu.fail(Vector.TS, error);
  const stack = cpu.descriptor;
  if (!fetchDescriptor(cpu, selector, stack, Vector.TS)) return false;
  if (!stack.isWritableData || stack.dpl !== cpl || (selector & 3) !== cpl) return cpu.fail(Vector.TS, error);
  if (!stack.present) return cpu.fail(Vector.SS, error);
  if (!markAccessed(cpu, stack)) return false;
  setSegment(cpu, Segment.SS, selector, stack);
  return true;
}

function loadTaskData(cpu: Vcpu, segment: number, selector: number): boolean {
  const error = selector & 0xfffc;
  if (isNullSelector(selector)) {
    setNullSegment(cpu, segment, selector);
    return true;
  }
  const data = cpu.descriptor;
  if (!fetchDescriptor(cpu, selector, data, Vector.TS)) return false;
  const outside = Math.max(selector & 3, cpu.w[CPL]!) > data.dpl;
  if (!data.isReadable || (!data.isConforming && outside)) return cpu.fail(Vector.TS, error);
  if (!data.present) return cpu.fail(Vector.NP, error);
  if (!markAccessed(cpu, data)) return false;
  setSegment(cpu, segment, selector, data);
  return true;
}

/** Loads the new task's descriptors; a fault here is the new task's own. */
function loadDescriptors(cpu: Vcpu, image: Image): boolean {
  const [es, cs, ss, ds, fs = 0, gs = 0] = image.selectors as [number, number, number, number, number?, number?];
  if (!loadLdt(cpu, image.ldt)) return false;
  if ((image.flags & Rflags.VM) !== 0) return true;
  if (!loadTaskCode(cpu, cs) || !loadTaskStack(cpu, ss, cs & 3)) return false;
  updateMode(cpu);
  const data: readonly (readonly [number, number])[] = [
    [Segment.DS, ds],
    [Segment.ES, es],
    [Segment.FS, fs],
    [Segment.GS, gs],
  ];
  for (const [segment, selector] of data) if (!loadTaskData(cpu, segment, selector)) return false;
  return image.ip >>> 0 > cpu.w[SEG_LIMIT + Segment.CS]! >>> 0 ? cpu.fail(Vector.GP, 0) : true;
}

/** Registers and visible selectors of the new task; the hidden parts are unusable until their descriptors are checked. */
function loadRegisters(cpu: Vcpu, image: Image, layout: Layout): void {
  const w = cpu.w;
  for (let i = 0; i < 8; i++) {
    w[GPR + 2 * i] = layout.wide ? image.registers[i]! : (w[GPR + 2 * i]! & ~0xffff) | image.registers[i]!;
    w[GPR + 2 * i + 1] = 0;
  }
  w[RIP] = image.ip;
  w[RIP + 1] = 0;
  cpu.writeRflags(image.flags & 0x3f7fd7);
  const virtual = (image.flags & Rflags.VM) !== 0;
  for (let i = 0; i < 6; i++) {
    const selector = image.selectors[i] ?? 0;
    if (virtual) setVirtualSegment(cpu, SELECTOR_ORDER[i]!, selector);
    else setNullSegment(cpu, SELECTOR_ORDER[i]!, selector);
  }
  setNullSegment(cpu, Segment.LDTR, image.ldt);
  w[CPL] = virtual ? 3 : image.selectors[1]! & 3;
}

function loadCr3(cpu: Vcpu, cr3: number): void {
  const w = cpu.w;
  if ((w[CR0]! & Cr0.PG) === 0) return;
  // PDPTEs with reserved bits leave the old CR3; the new task then runs into whatever its own tables would have mapped.
  cpu.mmu.writeCr3(cr3, 0);
}

/** Marks the tasks busy and idle and links them; the order of writes is the manual's. */
function linkTasks(cpu: Vcpu, reason: TaskSwitch, selector: number, old: Descriptor, next: Descriptor, nextBase: number): boolean {
  if (reason === TaskSwitch.JUMP || reason === TaskSwitch.IRET) {
    const rights = (old.hi >>> 8) & 0xff;
    if (!writeAccessByte(cpu, old, rights & ~2)) return false;
  }
  if (reason === TaskSwitch.CALL || reason === TaskSwitch.EVENT) {
    if (!cpu.tables.write16(nextBase, 0, cpu.h[SEG_SELECTOR + Segment.TR]!, false)) return false;
  }
  if (reason !== TaskSwitch.IRET && !writeAccessByte(cpu, next, ((next.hi >>> 8) & 0xff) | 2)) return false;
  setSegment(cpu, Segment.TR, selector, next);
  return true;
}

/**
 * Switches to the task of a TSS selector (SDM Vol. 3, "Task Switching"): the outgoing task resumes at `ip`. False: a fault was recorded, either
 * before anything changed or, from the load of the new task's segments on, in the new task.
 */
export function switchTask(cpu: Vcpu, selector: number, reason: TaskSwitch, ip: number): boolean {
  const w = cpu.w;
  if (!readTaskDescriptor(cpu, selector, reason)) return false;
  const next = new Descriptor();
  Object.assign(next, cpu.descriptor);
  const layout = is32(next.type) ? TSS32 : TSS16;
  const oldLayout = is32(w[SEG_ATTRIBUTES + Segment.TR]!) ? TSS32 : TSS16;
  const oldBase = w[SEG_BASE + 2 * Segment.TR]!;
  const old = new Descriptor();
  if (!fetchDescriptor(cpu, cpu.h[SEG_SELECTOR + Segment.TR]!, old, Vector.TS)) return false;
  if (w[GUEST_MODE] !== 0 && cpu.virtualization?.interceptEvent(cpu, 'TASK_SWITCH', (selector | (reason << 30)) >>> 0) === true) return true;
  const takesSsp = (w[CR4]! & Cr4.CET) !== 0 && reason !== TaskSwitch.IRET && next.limit >= SSP_LIMIT;
  const image = readImage(cpu, next.base, layout, takesSsp);
  if (image === null) return false;
  if (!cpu.tables.probeRange((oldBase + oldLayout.saveStart) | 0, 0, oldLayout.saveLength, Access.WRITE, false)) return false;
  const links = reason === TaskSwitch.CALL || reason === TaskSwitch.EVENT;
  if (links && !cpu.tables.probeRange(next.base, 0, 2, Access.WRITE, false)) return false;
  let flags = cpu.readRflags();
  if (reason === TaskSwitch.IRET) flags &= ~Rflags.NT;
  const shadow = leaveShadow(cpu, reason, ip, levelOf(image));
  if (shadow === undefined) return false;
  saveTask(cpu, oldBase, oldLayout, ip, flags);
  if (!linkTasks(cpu, reason, selector, old, next, next.base)) return false;
  if (!enterTask(cpu, image, layout, links)) return false;
  return enterShadow(cpu, reason, image, shadow);
}

/** Privilege level of a new task. */
const levelOf = (image: Image): number => ((image.flags & Rflags.VM) !== 0 ? 3 : image.selectors[1]! & 3);

/** The outgoing task's shadow stack: what it leaves for the new one, or undefined when a fault was recorded. */
function leaveShadow(cpu: Vcpu, reason: TaskSwitch, ip: number, newCpl: number): TaskShadow | null | undefined {
  if ((cpu.w[CR4]! & Cr4.CET) === 0 || reason === TaskSwitch.JUMP) return null;
  return reason === TaskSwitch.IRET ? leaveByReturn(cpu, newCpl) : leaveByCall(cpu, ip, newCpl);
}

/** The new task's shadow stack and tracker; a fault here is the new task's own. */
function enterShadow(cpu: Vcpu, reason: TaskSwitch, image: Image, left: TaskShadow | null): boolean {
  if ((cpu.w[CR4]! & Cr4.CET) === 0) return true;
  const error = cpu.h[SEG_SELECTOR + Segment.TR]! & 0xfffc;
  const done = virtualTaskIsPlain(cpu, error) && (reason === TaskSwitch.IRET ? enterByReturn(cpu, left) : enterByCall(cpu, image.ssp, left, error));
  updateMode(cpu);
  return done;
}

/** From here on everything belongs to the new task. */
function enterTask(cpu: Vcpu, image: Image, layout: Layout, nested: boolean): boolean {
  const w = cpu.w;
  w[CR0] = w[CR0]! | Cr0.TS;
  if (layout.wide) loadCr3(cpu, image.cr3);
  // Local breakpoints belong to the old task.
  w[DR + 14] = w[DR + 14]! & ~0x155;
  loadRegisters(cpu, image, layout);
  if (nested) w[RFLAGS] = w[RFLAGS]! | Rflags.NT;
  updateMode(cpu);
  const loaded = loadDescriptors(cpu, image);
  updateMode(cpu);
  if (loaded && image.trap) cpu.addPendingDebug(Dr6.BT);
  cpu.attention = 1;
  cpu.trapFlag = 0;
  return loaded;
}

/** IRET with NT set: back to the task that the current TSS links to. */
export function returnFromTask(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const w = cpu.w;
  const link = cpu.tables.read16(w[SEG_BASE + 2 * Segment.TR]!, 0, false);
  if (link < 0) return Outcome.FAULT;
  return switchTask(cpu, link, TaskSwitch.IRET, (w[RIP]! + insn.length) | 0) ? Outcome.JUMPED : Outcome.FAULT;
}
