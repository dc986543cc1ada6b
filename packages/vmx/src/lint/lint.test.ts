import { describe, expect, it } from 'vitest';
import { createWorld, resetWorld } from '../../test/world.js';
import { arrangeControl } from '../checks/arrange.js';
import type { EntryContext } from '../checks/context.js';
import { F } from '../fields/layout.js';
import { lint, warningIds } from './lint.js';

const c = createWorld();

/** A valid VMCS that also looks right: its host is mapped, with a GDT and an IDT. */
function tidy(): void {
  resetWorld(c);
  // Host RIP FFFF8000_00001000H: PML4 entry 256, then entries 0 down to a 2-MByte page.
  c.memory.write32(0x3000 + 8 * 256, 0x1_5003);
  c.memory.write32(0x1_5000, 0x1_6003);
  c.memory.write32(0x1_6000, 0x83);
  c.set(F.HOST_GDTR_BASE, 0x1000, -1);
  c.set(F.HOST_IDTR_BASE, 0x2000, -1);
  c.set(F.CR4_GUEST_HOST_MASK, 0x2000);
}

const ways: Readonly<Record<string, (context: EntryContext) => void>> = {
  'lint.link.zero': (context) => context.set(F.VMCS_LINK_POINTER, 0),
  'lint.host.size': (context) => {
    arrangeControl(context, 'exit', 'HOST_ADDRESS_SPACE_SIZE', false);
    context.longMode = true;
  },
  'lint.host.rip': (context) => context.set(F.HOST_RIP, 0x20_0000, 0xffff_8000 | 0),
  'lint.host.rsp': (context) => context.set(F.HOST_RSP, 0x8001, -1),
  'lint.host.idt': (context) => context.set(F.HOST_IDTR_BASE, 0),
  'lint.host.gdt': (context) => context.set(F.HOST_GDTR_BASE, 0),
  'lint.cr0.shadow': (context) => context.set(F.CR0_GUEST_HOST_MASK, 1),
  'lint.cr4.vmxe': (context) => context.set(F.CR4_GUEST_HOST_MASK, 0),
  'lint.msrbitmap.ram': (context) => {
    arrangeControl(context, 'proc1', 'USE_MSR_BITMAPS', true);
    context.set(F.MSR_BITMAP, 0x8000_0000 | 0);
  },
  'lint.iobitmap.ram': (context) => {
    arrangeControl(context, 'proc1', 'USE_IO_BITMAPS', true);
    context.set(F.IO_BITMAP_B, 0x8000_0000 | 0);
  },
  'lint.vapic.ram': (context) => {
    arrangeControl(context, 'proc1', 'USE_TPR_SHADOW', true);
    context.set(F.VIRTUAL_APIC_ADDRESS, 0x8000_0000 | 0);
  },
  'lint.eptp.empty': (context) => arrangeControl(context, 'proc2', 'ENABLE_EPT', true),
  'lint.eptp.uc': (context) => {
    arrangeControl(context, 'proc2', 'ENABLE_EPT', true);
    context.memory.write32(0x1_0000, 0x1_7007);
    context.set(F.EPT_POINTER, 0x1_0018);
  },
  'lint.ept.code.uc': (context) => {
    arrangeControl(context, 'proc2', 'ENABLE_EPT', true);
    context.memory.write32(0x1_0000, 0x1_7007);
    context.memory.write32(0x1_7000, 0x1_8007);
    context.memory.write32(0x1_8000, 0x87);
  },
  'lint.guest.rip': (context) => context.set(F.GUEST_RIP, 0x1000, 0x7f00),
  'lint.apic.ram': (context) => {
    arrangeControl(context, 'proc2', 'VIRTUALIZE_APIC_ACCESSES', true);
    context.set(F.APIC_ACCESS_ADDRESS, 0x8000_0000 | 0);
  },
  'lint.host.stack': (context) => context.set(F.HOST_RSP, 0),
  'lint.interrupts': (context) => {
    arrangeControl(context, 'pin', 'EXTERNAL_INTERRUPT_EXITING', false);
    arrangeControl(context, 'exit', 'ACKNOWLEDGE_INTERRUPT', true);
  },
};

describe('lint', () => {
  it('has nothing to say about a VMCS that is right and looks right', () => {
    tidy();
    expect(lint(c)).toEqual([]);
  });

  it('warns of each thing that no check forbids', () => {
    expect(Object.keys(ways).sort()).toEqual([...warningIds].sort());
    for (const [id, spoil] of Object.entries(ways)) {
      tidy();
      spoil(c);
      expect(
        lint(c).map((remark) => remark.id),
        id,
      ).toContain(id);
      expect(
        lint(c)
          .filter((remark) => remark.severity === 'warning')
          .map((remark) => remark.id),
      ).toEqual([id]);
    }
  });

  it('lists failing checks as errors, with the bits by name and the capability MSR', () => {
    tidy();
    c.set(F.PIN_CONTROLS, 0);
    const [remark] = lint(c);
    expect(remark).toMatchObject({ id: 'pin.must1', severity: 'error' });
    expect(remark!.lines[0]).toContain('pin-based VM-execution controls [4000h] = 0x00000000');
    expect(remark!.lines[0]).toContain('bit 1 (“reserved bit 1”)');
    expect(remark!.lines[0]).toContain('IA32_VMX_TRUE_PINBASED_CTLS');
  });
});
