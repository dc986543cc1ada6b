import { Cr4, Rflags, Segment, Vector } from '@nestvm/isa';
import { enterShadow, finishShadowEntry } from '../cet/frames.js';
import { awaitEndbranch } from '../cet/state.js';
import { updateMode } from '../mode.js';
import { EventKind } from '../ports/virtualization.js';
import { fetchDescriptor, isNullSelector, markAccessed, SystemType, setNullSegment, setSegment } from '../segments/descriptor.js';
import { innerStack } from '../segments/inner-stack.js';
import { switchTask, TaskSwitch } from '../segments/task-switch.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, CR4, GPR, GUEST_MODE, IDTR_BASE, IDTR_LIMIT, RFLAGS, RIP, SEG_ATTRIBUTES, SEG_SELECTOR } from '../words.js';

const RSP = GPR + 8;

/** What a delivery pushes, gathered so that the steps share it. */
interface Frame {
  readonly vector: number;
  readonly error: number;
  readonly hasError: boolean;
  readonly returnIp: number;
  readonly flags: number;
}

function readGate(cpu: Vcpu, vector: number, kind: EventKind): boolean {
  const w = cpu.w;
  const { gate, tables } = cpu;
  const error = (vector << 3) | 2;
  const offset = vector << 3;
  if (offset + 7 > w[IDTR_LIMIT]! >>> 0) return cpu.fail(Vector.GP, error);
  if (!tables.read64((w[IDTR_BASE]! + offset) | 0, 0, false)) return false;
  gate.lo = tables.lo;
  gate.hi = tables.hi;
  const type = gate.type;
  const known =
    type === SystemType.TASK_GATE ||
    type === SystemType.INTERRUPT_GATE16 ||
    type === SystemType.TRAP_GATE16 ||
    type === SystemType.INTERRUPT_GATE32 ||
    type === SystemType.TRAP_GATE32;
  if (!gate.isSystem || !known) return cpu.fail(Vector.GP, error);
  const software = kind === EventKind.SOFTWARE_INTERRUPT || kind === EventKind.SOFTWARE_EXCEPTION;
  if (software && gate.dpl < w[CPL]!) return cpu.fail(Vector.GP, error);
  if (!gate.present) return cpu.fail(Vector.NP, error);
  return true;
}

function throughTaskGate(cpu: Vcpu, frame: Frame): boolean {
  const { gate } = cpu;
  const selector = gate.gateSelector;
  const guest = cpu.w[GUEST_MODE];
  if (!switchTask(cpu, selector, TaskSwitch.EVENT, frame.returnIp)) return false;
  // A hypervisor may have taken the switch for itself.
  if (!frame.hasError || cpu.w[GUEST_MODE] !== guest) return true;
  // The error code goes onto the new task's stack; the switch is done, so a fault here belongs to the new task.
  const bytes = (cpu.w[SEG_ATTRIBUTES + Segment.TR]! & 8) !== 0 ? 4 : 2;
  cpu.stack.openCurrent();
  if (!cpu.stack.push(bytes, frame.error, 0)) return false;
  cpu.stack.commit();
  return true;
}

function readHandlerSegment(cpu: Vcpu, selector: number): boolean {
  if (isNullSelector(selector)) return cpu.fail(Vector.GP, 0);
  const code = cpu.descriptor;
  if (!fetchDescriptor(cpu, selector, code)) return false;
  if (!code.isCode || code.dpl > cpu.w[CPL]!) return cpu.fail(Vector.GP, selector & 0xfffc);
  if (!code.present) return cpu.fail(Vector.NP, selector & 0xfffc);
  return markAccessed(cpu, code);
}

function pushFrame(cpu: Vcpu, bytes: number, frame: Frame): boolean {
  const { stack } = cpu;
  return (
    stack.push(bytes, frame.flags, 0) &&
    stack.push(bytes, cpu.h[SEG_SELECTOR + Segment.CS]!, 0) &&
    stack.push(bytes, frame.returnIp, 0) &&
    (!frame.hasError || stack.push(bytes, frame.error, 0))
  );
}

function enterHandler(cpu: Vcpu, cpl: number): void {
  const w = cpu.w;
  const { gate } = cpu;
  const cet = (w[CR4]! & Cr4.CET) !== 0;
  if (cet) finishShadowEntry(cpu, cpl);
  setSegment(cpu, Segment.CS, (gate.gateSelector & 0xfffc) | cpl, cpu.descriptor);
  w[CPL] = cpl;
  w[RIP] = (gate.type & 8) !== 0 ? gate.gateOffset : gate.gateOffset & 0xffff;
  w[RIP + 1] = 0;
  let rflags = w[RFLAGS]! & ~(Rflags.TF | Rflags.RF | Rflags.NT | Rflags.VM);
  if ((gate.type & 1) === 0) rflags &= ~Rflags.IF;
  w[RFLAGS] = rflags;
  if (cet) awaitEndbranch(cpu, cpl);
  updateMode(cpu);
}

/** The shadow stack's frame, when there is one. */
const shadowFrame = (cpu: Vcpu, cpl: number, frame: Frame): boolean =>
  (cpu.w[CR4]! & Cr4.CET) === 0 || enterShadow(cpu, { cpl, long: false }, 0, frame.returnIp, 0);

function checkEntry(cpu: Vcpu): boolean {
  const { gate } = cpu;
  const entry = (gate.type & 8) !== 0 ? gate.gateOffset >>> 0 : gate.gateOffset & 0xffff;
  return entry > cpu.descriptor.limit ? cpu.fail(Vector.GP, 0) : true;
}

const V86_SEGMENTS = [Segment.GS, Segment.FS, Segment.DS, Segment.ES] as const;

/** To a handler of an inner privilege level, on the stack that the TSS names for it. */
function toInner(cpu: Vcpu, bytes: number, frame: Frame): boolean {
  const w = cpu.w;
  const { stack, h } = cpu;
  const cpl = cpu.descriptor.dpl;
  const fromVirtual = (w[RFLAGS]! & Rflags.VM) !== 0;
  const selector = innerStack(cpu, cpl);
  if (selector < 0) return false;
  if (fromVirtual) {
    for (const segment of V86_SEGMENTS) if (!stack.push(bytes, h[SEG_SELECTOR + segment]!, 0)) return false;
  }
  if (!stack.push(bytes, h[SEG_SELECTOR + Segment.SS]!, 0) || !stack.push(bytes, w[RSP]!, 0)) return false;
  if (!pushFrame(cpu, bytes, frame) || !checkEntry(cpu) || !shadowFrame(cpu, cpl, frame)) return false;
  setSegment(cpu, Segment.SS, selector, cpu.stackDescriptor);
  w[RSP] = stack.spLo;
  w[RSP + 1] = 0;
  if (fromVirtual) for (const segment of V86_SEGMENTS) setNullSegment(cpu, segment, 0);
  enterHandler(cpu, cpl);
  return true;
}

function toSame(cpu: Vcpu, bytes: number, frame: Frame): boolean {
  cpu.stack.openCurrent();
  if (!pushFrame(cpu, bytes, frame) || !checkEntry(cpu) || !shadowFrame(cpu, cpu.w[CPL]!, frame)) return false;
  cpu.stack.commit();
  enterHandler(cpu, cpu.w[CPL]!);
  return true;
}

/** Delivers one event through the IDT of protected mode (virtual-8086 mode included); false: a fault was recorded. */
export function deliverProtected(
  cpu: Vcpu,
  vector: number,
  kind: EventKind,
  error: number,
  hasError: boolean,
  returnIp: number,
  flags: number,
): boolean {
  const w = cpu.w;
  const { gate } = cpu;
  if (!readGate(cpu, vector, kind)) return false;
  const frame: Frame = { vector, error, hasError, returnIp, flags };
  if (gate.type === SystemType.TASK_GATE) return throughTaskGate(cpu, frame);
  const selector = gate.gateSelector;
  if (!readHandlerSegment(cpu, selector)) return false;
  const code = cpu.descriptor;
  const bytes = (gate.type & 8) !== 0 ? 4 : 2;
  const virtual = (w[RFLAGS]! & Rflags.VM) !== 0;
  if (!code.isConforming && code.dpl < w[CPL]!) {
    // Out of virtual-8086 mode only to level 0.
    if (virtual && code.dpl !== 0) return cpu.fail(Vector.GP, selector & 0xfffc);
    return toInner(cpu, bytes, frame);
  }
  if (virtual) return cpu.fail(Vector.GP, selector & 0xfffc);
  return toSame(cpu, bytes, frame);
}
