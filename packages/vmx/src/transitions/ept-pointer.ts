import { EptVpid, type VmxCapabilities } from '../capabilities/capabilities.js';

/** Whether VM entry would accept an EPTP (its halves); the same holds for INVEPT and EPTP switching (SDM Vol. 3, "VM-Execution Control Fields"). */
export function isEptPointerValid(c: VmxCapabilities, lo: number, hi: number): boolean {
  const type = lo & 7;
  if (!((type === 6 && (c.eptVpidLo & EptVpid.TYPE_WB) !== 0) || (type === 0 && (c.eptVpidLo & EptVpid.TYPE_UC) !== 0))) return false;
  const length = (lo >>> 3) & 7;
  if (!((length === 3 && (c.eptVpidLo & EptVpid.WALK_4) !== 0) || (length === 4 && (c.eptVpidLo & EptVpid.WALK_5) !== 0))) return false;
  if ((lo & 0x40) !== 0 && (c.eptVpidLo & EptVpid.ACCESSED_DIRTY) === 0) return false;
  if ((lo & 0x80) !== 0 && (c.eptVpidLo & EptVpid.SUPERVISOR_SHADOW_STACK) === 0) return false;
  return (lo & 0xf00) === 0 && (hi & c.reservedPhysicalHi) === 0;
}
