import { Paging, SpaceMode, Stage } from '@nestvm/mmu';
import { EptVpid } from '../capabilities/capabilities.js';
import { Proc2, Proc3 } from '../controls/controls.js';
import { F } from '../fields/layout.js';
import { addressAt, pageOf } from '../state.js';
import type { Vmx } from '../vmx.js';

const f = {
  vpid: F.VPID,
  eptp: F.EPT_POINTER,
  apicAccess: F.APIC_ACCESS_ADDRESS,
  sppTable: F.SPP_TABLE_POINTER,
  pmlAddress: F.PML_ADDRESS,
  pmlIndex: F.PML_INDEX,
  hlat: F.HLAT_POINTER,
  hlatPrefix: F.HLAT_PREFIX_SIZE,
} as const;

const EPTP_ACCESSED_DIRTY = 1 << 6;
const EPTP_SHADOW_STACK = 1 << 7;

/** `SpaceMode` bits that capabilities alone decide. */
function capabilityModes(vmx: Vmx): number {
  const { eptVpidLo } = vmx.capabilities;
  let modes = 0;
  if ((eptVpidLo & EptVpid.EXECUTE_ONLY) !== 0) modes |= SpaceMode.EXECUTE_ONLY;
  if ((eptVpidLo & EptVpid.PAGES_2M) !== 0) modes |= SpaceMode.PAGES_2M;
  if ((eptVpidLo & EptVpid.PAGES_1G) !== 0) modes |= SpaceMode.PAGES_1G;
  if ((eptVpidLo & EptVpid.ADVANCED_EXIT_INFORMATION) !== 0) modes |= SpaceMode.ADVANCED_INFORMATION;
  return modes;
}

function controlModes(vmx: Vmx): number {
  const { controls } = vmx;
  let modes = 0;
  if (controls.hasProc2(Proc2.MODE_BASED_EXECUTE_CONTROL)) modes |= SpaceMode.MODE_BASED_EXECUTE;
  if (controls.hasProc2(Proc2.SUB_PAGE_WRITE_PERMISSIONS)) modes |= SpaceMode.SUB_PAGE_WRITE;
  if (controls.hasProc2(Proc2.ENABLE_PML)) modes |= SpaceMode.PAGE_LOG;
  if (controls.hasProc3(Proc3.EPT_PAGING_WRITE_CONTROL)) modes |= SpaceMode.PAGING_WRITE;
  if (controls.hasProc3(Proc3.GUEST_PAGING_VERIFICATION)) modes |= SpaceMode.PAGING_VERIFY;
  if (controls.hasProc3(Proc3.ENABLE_HLAT)) modes |= SpaceMode.HLAT;
  return modes;
}

/** `SpaceMode` bits of an EPTP. */
function pointerModes(lo: number): number {
  const modes = (lo & EPTP_ACCESSED_DIRTY) !== 0 ? SpaceMode.ACCESSED_DIRTY : 0;
  return (lo & EPTP_SHADOW_STACK) !== 0 ? modes | SpaceMode.SUPERVISOR_SHADOW_STACK : modes;
}

/** Points the second stage at an EPTP (its halves): at VM entry, and by EPTP switching. */
export function setEptPointer(vmx: Vmx, lo: number, hi: number): void {
  const { space } = vmx;
  space.stage = Stage.EPT;
  space.root = (hi & 0xfffff) * 4294967296 + ((lo & ~0xfff) >>> 0);
  space.paging = ((lo >>> 3) & 7) === 4 ? Paging.LEVEL5 : Paging.LEVEL4;
  space.modes = capabilityModes(vmx) | controlModes(vmx) | pointerModes(lo);
}

/** Describes the guest's address space to the MMU, from the VMCS. */
export function describeSpace(vmx: Vmx): void {
  const { i32, region, controls, space } = vmx;
  space.tag = controls.hasProc2(Proc2.ENABLE_VPID) ? i32[region + f.vpid]! & 0xffff : 0;
  if (controls.usesEpt) setEptPointer(vmx, i32[region + f.eptp]!, i32[region + f.eptp + 1]!);
  else {
    space.stage = Stage.NONE;
    space.root = 0;
    space.paging = Paging.NONE;
    space.modes = 0;
  }
  space.apicAccessPage = controls.hasProc2(Proc2.VIRTUALIZE_APIC_ACCESSES) ? Math.floor(addressAt(i32, region + f.apicAccess) / 4096) : -1;
  if (controls.hasProc2(Proc2.SUB_PAGE_WRITE_PERMISSIONS)) space.sppTable = addressAt(i32, region + f.sppTable);
  if (controls.hasProc2(Proc2.ENABLE_PML)) {
    space.pmlAddress = addressAt(i32, region + f.pmlAddress);
    space.pmlIndex = i32[region + f.pmlIndex]! & 0xffff;
  }
  if (!controls.hasProc3(Proc3.ENABLE_HLAT)) return;
  space.hlatRoot = pageOf(addressAt(i32, region + f.hlat));
  space.hlatPrefix = i32[region + f.hlatPrefix]! & 0xffff;
}
