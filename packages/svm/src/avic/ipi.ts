import { GUEST_MODE } from '@nestvm/cpu/extension';
import { ApicRegister } from '@nestvm/isa';
import { ExitCode } from '../exits/codes.js';
import { Vmcb } from '../vmcb/layout.js';
import type { AvicHost } from './host.js';

/** Why an IPI is left to the hypervisor: high half of EXITINFO2 (APM Vol. 2, "AVIC IPI Delivery Not Completed"). */
const IpiFailure = { NONE: -1, TYPE: 0, NOT_RUNNING: 1, TARGET: 2, BACKING_PAGE: 3, VECTOR: 4 } as const;

const Shorthand = { DESTINATION: 0, SELF: 1, ALL: 2, OTHERS: 3 } as const;
const LOGICAL = 1 << 11;
const LEVEL = 1 << 15;
const FIXED = 0;
/** High half of an entry of the physical table. */
const VALID = 1 << 31;
const RUNNING = 1 << 30;
const FLAT = 15;

/** Targets of an IPI one after the other; the worst failure stays. */
class Delivery {
  private svm!: AvicHost;
  private vector = 0;
  private table = 0;
  last = 0;
  failure: number = IpiFailure.NONE;
  index = 0;

  begin(svm: AvicHost, vector: number): void {
    const { i32, vmcb } = svm;
    this.svm = svm;
    this.vector = vector;
    this.table = (i32[vmcb + Vmcb.AVIC_PHYSICAL_TABLE + 1]! & 0xfffff) * 4294967296 + ((i32[vmcb + Vmcb.AVIC_PHYSICAL_TABLE]! & ~0xfff) >>> 0);
    this.last = i32[vmcb + Vmcb.AVIC_PHYSICAL_TABLE]! & (svm.avic.x2 ? 0x1ff : 0xff);
    this.failure = IpiFailure.NONE;
    this.index = 0;
  }

  /** A target that does not run comes first, since its interrupt is already in its page and only the hypervisor can wake it. */
  fail(failure: number, index: number): void {
    if (this.failure === IpiFailure.NOT_RUNNING || (this.failure !== IpiFailure.NONE && failure !== IpiFailure.NOT_RUNNING)) return;
    this.failure = failure;
    this.index = index;
  }

  /** Sends to the virtual CPU with this physical id; `optional`: one of a broadcast, which may be missing. */
  to(index: number, optional = false): void {
    const { svm, vector } = this;
    const { memory, avic } = svm;
    const entry = this.table + 8 * index;
    const high = index <= this.last ? memory.read32(entry + 4) | 0 : 0;
    if ((high & VALID) === 0) {
      if (!optional) this.fail(IpiFailure.TARGET, index);
      return;
    }
    const low = memory.read32(entry) | 0;
    const page = (high & 0xfffff) * 4294967296 + ((low & ~0xfff) >>> 0);
    if (memory.arenaOffsetOf(page) < 0) return this.fail(IpiFailure.BACKING_PAGE, index);
    avic.mark(page, ApicRegister.IRR, vector, true);
    avic.mark(page, ApicRegister.TMR, vector, false);
    if ((high & RUNNING) !== 0) ringDoorbell(svm, low & 0xfff);
    else this.fail(IpiFailure.NOT_RUNNING, index);
  }
}

/** One is enough: IPIs are sent to their end one by one. */
const delivery = new Delivery();

/** Tells the processor with this APIC id to look at its guest's backing page (APM Vol. 2, "Doorbell Mechanism"). */
export function ringDoorbell(svm: AvicHost, apicId: number): void {
  for (const cpu of svm.vcpus()) {
    if (cpu.apicId === apicId && cpu.w[GUEST_MODE] !== 0) cpu.requestAttention();
  }
}

function broadcast(own: number): void {
  for (let index = 0; index <= delivery.last; index++) if (index !== own) delivery.to(index, true);
}

/** Flat and cluster model: each bit of the destination is an entry of the logical table. */
function sendLogical(svm: AvicHost, destination: number): void {
  const { i32, vmcb, memory, avic } = svm;
  const table = (i32[vmcb + Vmcb.AVIC_LOGICAL_TABLE + 1]! & 0xfffff) * 4294967296 + ((i32[vmcb + Vmcb.AVIC_LOGICAL_TABLE]! & ~0xfff) >>> 0);
  const flat = avic.read(ApicRegister.DFR) >>> 28 === FLAT;
  const first = flat ? 0 : 4 * (destination >>> 4);
  const bits = flat ? destination : destination & 15;
  for (let i = 0; i < 8; i++) {
    if (((bits >>> i) & 1) === 0) continue;
    const entry = memory.read32(table + 4 * (first + i)) | 0;
    if ((entry & VALID) === 0) delivery.fail(IpiFailure.TARGET, first + i);
    else delivery.to(entry & 0xff);
  }
}

/** x2APIC ids are their own clusters: no table is needed. */
function sendLogicalX2(destination: number): void {
  for (let i = 0; i < 16; i++) if (((destination >>> i) & 1) !== 0) delivery.to(((destination >>> 16) << 4) + i);
}

function sendToDestination(svm: AvicHost, low: number, high: number): void {
  const { x2 } = svm.avic;
  const destination = x2 ? high >>> 0 : high >>> 24;
  if (destination === (x2 ? 0xffffffff : 0xff)) broadcast(-1);
  else if ((low & LOGICAL) === 0) delivery.to(destination);
  else if (x2) sendLogicalX2(destination);
  else sendLogical(svm, destination);
}

/** Emulates a write of the interrupt command register; true: the hypervisor has to finish it, by the exit in `avic.demand`. */
export function sendIpi(svm: AvicHost, low: number, high: number): boolean {
  const { avic } = svm;
  const vector = low & 0xff;
  const shorthand = (low >>> 18) & 3;
  delivery.begin(svm, vector);
  if (((low >>> 8) & 7) !== FIXED || (low & LEVEL) !== 0) delivery.fail(IpiFailure.TYPE, 0);
  else if (vector < 16) delivery.fail(IpiFailure.VECTOR, 0);
  else if (shorthand === Shorthand.SELF) avic.request(vector);
  else if (shorthand === Shorthand.DESTINATION) sendToDestination(svm, low, high);
  else broadcast(shorthand === Shorthand.OTHERS ? (avic.x2 ? avic.read(ApicRegister.ID) : avic.read(ApicRegister.ID) >>> 24) : -1);
  if (delivery.failure === IpiFailure.NONE) return false;
  return avic.ask(ExitCode.AVIC_INCOMPLETE_IPI, low, high, delivery.index, delivery.failure);
}
