import { EptVpid } from '../../capabilities/capabilities.js';
import { F } from '../../fields/layout.js';
import type { FieldName } from '../../fields/table.js';
import type { VmxCheck } from '../check.js';
import { check } from '../check.js';
import type { Condition } from '../condition.js';
import { all, off, on } from '../condition.js';
import { aligned, lastWithinWidth, mayBeOne, mustBeOne, requires, withinWidth, zeroBits } from '../rules.js';

/** A page that a control points to: aligned and within the physical-address width. */
const page = (id: string, field: FieldName, when: Condition): VmxCheck[] => [
  aligned('execution', `${id}.align`, field, 12, when),
  withinWidth('execution', `${id}.width`, field, when),
];

const secondary = on('proc1', 'ACTIVATE_SECONDARY_CONTROLS');
const tprShadow = on('proc1', 'USE_TPR_SHADOW');
const noTprShadow = off('proc1', 'USE_TPR_SHADOW');
const noDelivery = off('proc2', 'VIRTUAL_INTERRUPT_DELIVERY');
const posted = on('pin', 'PROCESS_POSTED_INTERRUPTS');
const ept = on('proc2', 'ENABLE_EPT');
const hlat = on('proc3', 'ENABLE_HLAT');
const eptp = F.EPT_POINTER;

const controlWords: readonly VmxCheck[] = [
  mustBeOne('execution', 'pin.must1', 'pin'),
  mayBeOne('execution', 'pin.may1', 'pin'),
  mustBeOne('execution', 'proc1.must1', 'proc1'),
  mayBeOne('execution', 'proc1.may1', 'proc1'),
  mustBeOne('execution', 'proc2.must1', 'proc2', secondary),
  mayBeOne('execution', 'proc2.may1', 'proc2', secondary),
  mayBeOne('execution', 'proc3.may1', 'proc3', on('proc1', 'ACTIVATE_TERTIARY_CONTROLS'), 64),
  check('execution', 'cr3target.count', {
    fields: ['CR3_TARGET_COUNT'],
    rule: 'is at most IA32_VMX_MISC[24:16]',
    ok: (c) => c.lo(F.CR3_TARGET_COUNT) >>> 0 <= c.capabilities.cr3Targets,
    breaks: (c) => c.set(F.CR3_TARGET_COUNT, c.capabilities.cr3Targets + 1),
    say: (c) => `at most ${c.capabilities.cr3Targets}`,
  }),
  ...page('iobitmapA', 'IO_BITMAP_A', on('proc1', 'USE_IO_BITMAPS')),
  ...page('iobitmapB', 'IO_BITMAP_B', on('proc1', 'USE_IO_BITMAPS')),
  ...page('msrbitmap', 'MSR_BITMAP', on('proc1', 'USE_MSR_BITMAPS')),
];

const apic: readonly VmxCheck[] = [
  ...page('vapic', 'VIRTUAL_APIC_ADDRESS', tprShadow),
  zeroBits('execution', 'tprthr.high', 'TPR_THRESHOLD', [~0xf, 0], 'bits 31:4 are 0', all(tprShadow, noDelivery)),
  check('execution', 'tprthr.vtpr', {
    when: all(tprShadow, noDelivery, off('proc2', 'VIRTUALIZE_APIC_ACCESSES')),
    fields: ['TPR_THRESHOLD', 'VIRTUAL_APIC_ADDRESS'],
    subject: 'TPR threshold, VTPR (byte 80h of the virtual-APIC page)',
    rule: 'bits 3:0 are at most bits 7:4 of VTPR',
    volatile: true,
    ok: (c) => (c.lo(F.TPR_THRESHOLD) & 15) <= ((c.physicalWord(c.lo(F.VIRTUAL_APIC_ADDRESS) + 0x80, c.hi(F.VIRTUAL_APIC_ADDRESS)) >>> 4) & 15),
    breaks: (c) => c.set(F.TPR_THRESHOLD, 15),
    say: (c) => `VTPR = 0x${(c.physicalWord(c.lo(F.VIRTUAL_APIC_ADDRESS) + 0x80, c.hi(F.VIRTUAL_APIC_ADDRESS)) & 0xff).toString(16)}`,
  }),
  requires('execution', 'nmi.virt', on('pin', 'VIRTUAL_NMIS'), 'pin', 'NMI_EXITING'),
  requires('execution', 'nmi.window', on('proc1', 'NMI_WINDOW_EXITING'), 'pin', 'VIRTUAL_NMIS'),
  ...page('apicaccess', 'APIC_ACCESS_ADDRESS', on('proc2', 'VIRTUALIZE_APIC_ACCESSES')),
  requires('execution', 'tprshadow.virtualize', noTprShadow, 'proc2', 'VIRTUALIZE_X2APIC_MODE', false),
  requires('execution', 'tprshadow.apic-register', noTprShadow, 'proc2', 'APIC_REGISTER_VIRTUALIZATION', false),
  requires('execution', 'tprshadow.virtual-interrupt', noTprShadow, 'proc2', 'VIRTUAL_INTERRUPT_DELIVERY', false),
  requires('execution', 'tprshadow.ipi', noTprShadow, 'proc3', 'IPI_VIRTUALIZATION', false),
  requires('execution', 'x2apic.apicaccess', on('proc2', 'VIRTUALIZE_X2APIC_MODE'), 'proc2', 'VIRTUALIZE_APIC_ACCESSES', false),
  requires('execution', 'vid.extint', on('proc2', 'VIRTUAL_INTERRUPT_DELIVERY'), 'pin', 'EXTERNAL_INTERRUPT_EXITING'),
  requires('execution', 'pi.vid', posted, 'proc2', 'VIRTUAL_INTERRUPT_DELIVERY'),
  requires('execution', 'pi.ack', posted, 'exit', 'ACKNOWLEDGE_INTERRUPT'),
  zeroBits('execution', 'pi.vector', 'POSTED_INTERRUPT_VECTOR', [0xff00, 0], 'bits 15:8 are 0', posted),
  aligned('execution', 'pi.desc.align', 'POSTED_INTERRUPT_DESCRIPTOR', 6, posted),
  withinWidth('execution', 'pi.desc.width', 'POSTED_INTERRUPT_DESCRIPTOR', posted),
  check('execution', 'vpid.nz', {
    when: on('proc2', 'ENABLE_VPID'),
    fields: ['VPID'],
    rule: 'is not 0',
    ok: (c) => (c.lo(F.VPID) & 0xffff) !== 0,
    breaks: (c) => c.set(F.VPID, 0),
  }),
];

const eptPointer: readonly VmxCheck[] = [
  check('execution', 'eptp.memtype', {
    when: ept,
    fields: ['EPT_POINTER'],
    rule: 'bits 2:0 are 0 (UC) or 6 (WB), as IA32_VMX_EPT_VPID_CAP[8] and [14] allow',
    ok: (c) => {
      const type = c.lo(eptp) & 7;
      return (type === 0 && (c.capabilities.eptVpidLo & EptVpid.TYPE_UC) !== 0) || (type === 6 && (c.capabilities.eptVpidLo & EptVpid.TYPE_WB) !== 0);
    },
    breaks: (c) => c.set(eptp, (c.lo(eptp) & ~7) | 1),
    hint: 'EPTP[2:0] = 6 for ordinary memory',
  }),
  check('execution', 'eptp.walk', {
    when: ept,
    fields: ['EPT_POINTER'],
    rule: 'bits 5:3 are 3 (4 levels) or 4 (5 levels), as IA32_VMX_EPT_VPID_CAP[6] and [7] allow',
    ok: (c) => {
      const length = (c.lo(eptp) >>> 3) & 7;
      return (
        (length === 3 && (c.capabilities.eptVpidLo & EptVpid.WALK_4) !== 0) || (length === 4 && (c.capabilities.eptVpidLo & EptVpid.WALK_5) !== 0)
      );
    },
    breaks: (c) => c.set(eptp, (c.lo(eptp) & ~0x38) | (2 << 3)),
    hint: 'the field is the page-walk length minus 1',
  }),
  check('execution', 'eptp.ad', {
    when: ept,
    fields: ['EPT_POINTER'],
    rule: 'bit 6 is 0 unless IA32_VMX_EPT_VPID_CAP[21] is 1',
    ok: (c) => (c.lo(eptp) & 0x40) === 0 || (c.capabilities.eptVpidLo & EptVpid.ACCESSED_DIRTY) !== 0,
    breaks: (c) => {
      c.capabilities = { ...c.capabilities, eptVpidLo: c.capabilities.eptVpidLo & ~EptVpid.ACCESSED_DIRTY };
      c.set(eptp, c.lo(eptp) | 0x40);
    },
  }),
  check('execution', 'eptp.sss', {
    when: ept,
    fields: ['EPT_POINTER'],
    rule: 'bit 7 is 0 unless IA32_VMX_EPT_VPID_CAP[23] is 1',
    ok: (c) => (c.lo(eptp) & 0x80) === 0 || (c.capabilities.eptVpidLo & EptVpid.SUPERVISOR_SHADOW_STACK) !== 0,
    breaks: (c) => {
      c.capabilities = { ...c.capabilities, eptVpidLo: c.capabilities.eptVpidLo & ~EptVpid.SUPERVISOR_SHADOW_STACK };
      c.set(eptp, c.lo(eptp) | 0x80);
    },
  }),
  zeroBits('execution', 'eptp.rsvd', 'EPT_POINTER', [0xf00, 0], 'bits 11:8 are 0', ept),
  withinWidth('execution', 'eptp.width', 'EPT_POINTER', ept),
  requires('execution', 'pml.ept', on('proc2', 'ENABLE_PML'), 'proc2', 'ENABLE_EPT'),
  ...page('pml.addr', 'PML_ADDRESS', on('proc2', 'ENABLE_PML')),
  requires('execution', 'ug.ept', on('proc2', 'UNRESTRICTED_GUEST'), 'proc2', 'ENABLE_EPT'),
  requires('execution', 'mbec.ept', on('proc2', 'MODE_BASED_EXECUTE_CONTROL'), 'proc2', 'ENABLE_EPT'),
  requires('execution', 'spp.ept', on('proc2', 'SUB_PAGE_WRITE_PERMISSIONS'), 'proc2', 'ENABLE_EPT'),
  ...page('sppt', 'SPP_TABLE_POINTER', on('proc2', 'SUB_PAGE_WRITE_PERMISSIONS')),
];

const eptpSwitching = on('vmfunc', 'EPTP_SWITCHING');
const ptGuestPhysical = on('proc2', 'PT_USES_GUEST_PHYSICAL');

const others: readonly VmxCheck[] = [
  check('execution', 'vmfunc.may1', {
    when: on('proc2', 'ENABLE_VM_FUNCTIONS'),
    fields: ['VM_FUNCTION_CONTROLS'],
    rule: 'no bit is 1 that is 0 in IA32_VMX_VMFUNC',
    ok: (c) => (c.lo(F.VM_FUNCTION_CONTROLS) & ~c.capabilities.controls.vmfunc.may) === 0 && c.hi(F.VM_FUNCTION_CONTROLS) === 0,
    breaks: (c) => c.set(F.VM_FUNCTION_CONTROLS, 2),
  }),
  requires('execution', 'eptpsw.ept', eptpSwitching, 'proc2', 'ENABLE_EPT'),
  ...page('eptplist', 'EPTP_LIST_ADDRESS', eptpSwitching),
  ...page('vmreadbm', 'VMREAD_BITMAP', on('proc2', 'VMCS_SHADOWING')),
  ...page('vmwritebm', 'VMWRITE_BITMAP', on('proc2', 'VMCS_SHADOWING')),
  ...page('ve', 'VE_INFORMATION_ADDRESS', on('proc2', 'EPT_VIOLATION_VE')),
  check('execution', 'tscmul.nz', {
    when: on('proc2', 'USE_TSC_SCALING'),
    fields: ['TSC_MULTIPLIER'],
    rule: 'is not 0',
    ok: (c) => (c.lo(F.TSC_MULTIPLIER) | c.hi(F.TSC_MULTIPLIER)) !== 0,
    breaks: (c) => c.set(F.TSC_MULTIPLIER, 0),
    hint: '2^48 leaves the TSC as it is',
  }),
  requires('execution', 'ptgpa.enableept', ptGuestPhysical, 'proc2', 'ENABLE_EPT', true, { status: 'not offered' }),
  requires('execution', 'ptgpa.loadia32_rtit_ctl', ptGuestPhysical, 'entry', 'LOAD_RTIT_CTL'),
  requires('execution', 'ptgpa.clearia32_rtit_ctl', ptGuestPhysical, 'exit', 'CLEAR_RTIT_CTL'),
  requires('execution', 'hlat.hlat', hlat, 'proc2', 'ENABLE_EPT'),
  requires('execution', 'hlat.control', on('proc3', 'EPT_PAGING_WRITE_CONTROL'), 'proc2', 'ENABLE_EPT'),
  requires('execution', 'hlat.verification', on('proc3', 'GUEST_PAGING_VERIFICATION'), 'proc2', 'ENABLE_EPT'),
  zeroBits('execution', 'hlatp.rsvd', 'HLAT_POINTER', [0xfe7, 0], 'bits 2:0 and 11:5 are 0', hlat),
  withinWidth('execution', 'hlatp.width', 'HLAT_POINTER', hlat),
  requires('execution', 'timer.vid', on('proc3', 'APIC_TIMER_VIRTUALIZATION'), 'proc2', 'VIRTUAL_INTERRUPT_DELIVERY'),
  requires('execution', 'timer.rdtsc', on('proc3', 'APIC_TIMER_VIRTUALIZATION'), 'proc1', 'RDTSC_EXITING', false),
  zeroBits('execution', 'timer.vector', 'VIRTUAL_TIMER_VECTOR', [0xff00, 0], 'bits 15:8 are 0', on('proc3', 'APIC_TIMER_VIRTUALIZATION')),
  aligned('execution', 'pidtab.align', 'PID_POINTER_TABLE', 3, on('proc3', 'IPI_VIRTUALIZATION')),
  withinWidth('execution', 'pidtab.width', 'PID_POINTER_TABLE', on('proc3', 'IPI_VIRTUALIZATION')),
  lastWithinWidth(
    'execution',
    'pidtab.last',
    'PID_POINTER_TABLE',
    {
      field: 'LAST_PID_POINTER_INDEX',
      text: '8 × last PID-pointer index',
      offset: (c) => 8 * (c.lo(F.LAST_PID_POINTER_INDEX) & 0xffff) + 7,
      arrange: (c) => c.set(F.LAST_PID_POINTER_INDEX, 8),
    },
    on('proc3', 'IPI_VIRTUALIZATION'),
  ),
  ...page('pasid.lo', 'LOW_PASID_DIRECTORY', on('proc2', 'PASID_TRANSLATION')),
  ...page('pasid.hi', 'HIGH_PASID_DIRECTORY', on('proc2', 'PASID_TRANSLATION')),
];

/** Checks on the VM-execution control fields. */
export const executionRows: readonly VmxCheck[] = [...controlWords, ...apic, ...eptPointer, ...others];
