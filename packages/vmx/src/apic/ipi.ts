import type { Vcpu } from '@nestvm/cpu';
import { sendPhysicalIpi } from '@nestvm/cpu/extension';
import type { PhysicalMemory } from '@nestvm/memory';
import { F } from '../fields/layout.js';
import { addressAt } from '../state.js';

const f = { table: F.PID_POINTER_TABLE, last: F.LAST_PID_POINTER_INDEX } as const;

/** Bits 5:0 of an entry of the PID-pointer table: valid, and nothing reserved set. */
const ENTRY_FLAGS = 0x3f;
const ENTRY_VALID = 1;
/** Bits of byte 32 of a posted-interrupt descriptor: outstanding notification, suppressed notification. */
const OUTSTANDING = 1;
const SUPPRESSED = 2;
/** Bytes of it that name the notification: vector and destination. */
const NOTIFICATION_VECTOR = 34;
const NOTIFICATION_DESTINATION = 36;

/** What IPI virtualization works on: VMX of one vCPU has this shape. */
interface IpiHost {
  readonly cpu: Vcpu;
  readonly memory: PhysicalMemory;
  readonly capabilities: { readonly reservedPhysicalHi: number };
  readonly i32: Int32Array;
  readonly region: number;
}

/** A fixed, edge-triggered IPI to one physical destination, without reserved bits: what IPI virtualization can send. */
export const isUnicast = (command: number): boolean => (command & ~0x40ff) === 0;

/**
 * Posts an interrupt to the virtual processor with the APIC id `target` through the PID-pointer table (SDM Vol. 3, "IPI Virtualization"); false: the table does
 * not lead to it, and the write becomes an APIC-write VM exit.
 */
export function postIpi(host: IpiHost, vector: number, target: number): boolean {
  const { memory, i32, region } = host;
  if (vector < 16 || target >>> 0 > (i32[region + f.last]! & 0xffff)) return false;
  const entry = addressAt(i32, region + f.table) + 8 * target;
  const lo = memory.read32(entry) | 0;
  const hi = memory.read32(entry + 4) | 0;
  if ((lo & ENTRY_FLAGS) !== ENTRY_VALID || (hi & host.capabilities.reservedPhysicalHi) !== 0) return false;
  const descriptor = (hi >>> 0) * 4294967296 + ((lo & ~ENTRY_FLAGS) >>> 0);
  const requests = descriptor + 4 * (vector >>> 5);
  memory.write32(requests, (memory.read32(requests) | (1 << (vector & 31))) >>> 0);
  const control = memory.read8(descriptor + 32);
  if ((control & (OUTSTANDING | SUPPRESSED)) !== 0) return true;
  memory.write8(descriptor + 32, control | OUTSTANDING);
  sendPhysicalIpi(host.cpu, memory.read8(descriptor + NOTIFICATION_VECTOR), memory.read32(descriptor + NOTIFICATION_DESTINATION));
  return true;
}
