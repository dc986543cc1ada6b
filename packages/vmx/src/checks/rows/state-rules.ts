import { F } from '../../fields/layout.js';
import type { FieldName } from '../../fields/table.js';
import type { CheckGroup, VmxCheck } from '../check.js';
import { check } from '../check.js';
import type { Condition } from '../condition.js';
import type { EntryContext } from '../context.js';
import { aligned, canonical, isCanonical, zeroBits } from '../rules.js';

const PE_PG = 0x8000_0001 | 0;
const CR4_CET = 1 << 23;
const CR0_WP = 1 << 16;

/** IA32_EFER bits of an Intel CPU: SCE, LME, LMA, NXE. */
const EFER_BITS = 0xd01;
/** Whether each byte of half a PAT is a memory type: 0, 1, 4, 5, 6 or 7. */
const isPatHalf = (half: number): boolean => (half & 0xf8f8_f8f8) === 0 && ((half >>> 1) & ~(half >>> 2) & 0x0101_0101) === 0;

/** CR0 and CR4 against the fixed bits; `prefix` is host or g. */
export function fixedBits(
  group: CheckGroup,
  prefix: string,
  cr0: FieldName,
  cr4: FieldName,
  unrestricted: (c: EntryContext) => boolean,
  reads: readonly FieldName[],
): VmxCheck[] {
  const w0 = F[cr0];
  const w4 = F[cr4];
  const exempt = reads.length === 0 ? '' : ' (PE and PG are exempt with “unrestricted guest” = 1)';
  return [
    check(group, `${prefix}.cr0.must1`, {
      fields: [cr0, ...reads],
      rule: `every bit of IA32_VMX_CR0_FIXED0 is 1${exempt}`,
      ok: (c) => (~c.lo(w0) & c.capabilities.cr0Fixed0 & (unrestricted(c) ? ~PE_PG : -1)) === 0,
      breaks: (c) => c.set(w0, c.lo(w0) & ~0x20),
      hint: 'NE (bit 5) is easily forgotten',
    }),
    check(group, `${prefix}.cr0.may1`, {
      fields: [cr0],
      rule: 'no bit is 1 that is 0 in IA32_VMX_CR0_FIXED1',
      ok: (c) => (c.lo(w0) & ~c.capabilities.cr0Fixed1) === 0 && c.hi(w0) === 0,
      breaks: (c) => c.set(w0, c.lo(w0), 1),
    }),
    check(group, `${prefix}.cr4.must1`, {
      fields: [cr4],
      rule: 'every bit of IA32_VMX_CR4_FIXED0 is 1',
      ok: (c) => (~c.lo(w4) & c.capabilities.cr4Fixed0) === 0,
      breaks: (c) => c.set(w4, c.lo(w4) & ~0x2000),
      hint: 'VMXE (bit 13) must be 1 in the guest too; hide it with the CR4 guest/host mask and read shadow',
    }),
    check(group, `${prefix}.cr4.may1`, {
      fields: [cr4],
      rule: 'no bit is 1 that is 0 in IA32_VMX_CR4_FIXED1',
      ok: (c) => (c.lo(w4) & ~c.capabilities.cr4Fixed1) === 0 && (c.hi(w4) & ~c.capabilities.cr4Fixed1Hi) === 0,
      breaks: (c) => c.set(w4, c.lo(w4), c.hi(w4) | 2),
    }),
  ];
}

/** CR4.CET needs CR0.WP. */
export function cetNeedsWp(group: CheckGroup, id: string, cr0: FieldName, cr4: FieldName): VmxCheck {
  const word = F[cr0];
  return check(group, id, {
    when: bit(`${cr4 === 'HOST_CR4' ? 'host' : 'guest'} CR4.CET = 1`, cr4, CR4_CET),
    fields: [cr0],
    rule: 'WP (bit 16) is 1',
    ok: (c) => (c.lo(word) & CR0_WP) !== 0,
    breaks: (c) => c.set(word, c.lo(word) & ~CR0_WP),
  });
}

/** A bit in the low half of a field is 1. */
function bit(text: string, field: FieldName, mask: number): Condition {
  const word = F[field];
  return {
    text,
    reads: [field],
    needs: 'nothing',
    test: (c) => (c.lo(word) & mask) !== 0,
    arrange: (c) => c.set(word, c.lo(word) | mask, c.hi(word)),
  };
}

/** CR3 is within MAXPHYADDR, but for the bits of linear-address masking. */
export function cr3Width(group: CheckGroup, id: string, field: FieldName): VmxCheck {
  const word = F[field];
  return check(group, id, {
    fields: [field],
    rule: 'no bit is beyond MAXPHYADDR (bits 62:61 aside with LAM)',
    ok: (c) => (c.hi(word) & c.capabilities.reservedPhysicalHi & ~c.capabilities.cr3LamHi) === 0,
    breaks: (c) => c.set(word, c.lo(word), c.hi(word) | (1 << 31)),
    say: (c) => `physical addresses have ${c.capabilities.physicalBits} bits here (CPUID leaf 80000008H)`,
  });
}

/** IA32_PAT has memory types only. */
export function patTypes(group: CheckGroup, id: string, field: FieldName, when: Condition): VmxCheck {
  const word = F[field];
  return check(group, id, {
    when,
    fields: [field],
    rule: 'each byte is 0, 1, 4, 5, 6 or 7',
    ok: (c) => isPatHalf(c.lo(word)) && isPatHalf(c.hi(word)),
    breaks: (c) => c.set(word, 0x0007_0206, c.hi(word)),
  });
}

/** IA32_PERF_GLOBAL_CTRL has bits for counters that exist. */
export const perfGlobal = (group: CheckGroup, id: string, field: FieldName, when: Condition): VmxCheck =>
  zeroBits(group, id, field, [~0xf, ~7], 'bits of counters that are not there are 0', when);

/** IA32_EFER has bits that an Intel CPU has. */
export const eferReserved = (group: CheckGroup, id: string, field: FieldName, when: Condition): VmxCheck =>
  zeroBits(group, id, field, [~EFER_BITS, -1], 'no bit but SCE, LME, LMA and NXE is 1', when);

/** Two bits of IA32_EFER follow the address size of a control. */
export function eferFollows(
  group: CheckGroup,
  id: string,
  field: FieldName,
  mask: number,
  name: string,
  when: Condition,
  follows: { readonly text: string; readonly field: FieldName; readonly control: (c: EntryContext) => boolean },
): VmxCheck {
  const word = F[field];
  return check(group, id, {
    when,
    fields: [field, follows.field],
    rule: `${name} equals “${follows.text}”`,
    ok: (c) => ((c.lo(word) & mask) !== 0) === follows.control(c),
    breaks: (c) => c.set(word, c.lo(word) ^ (field === 'GUEST_IA32_EFER' ? 0x500 : mask), c.hi(word)),
  });
}

/** IA32_S_CET: reserved bits, and SUPPRESS and TRACKER not both. */
export function sCet(group: CheckGroup, prefix: string, field: FieldName, when: Condition, canonicalRule: VmxCheck['ok'], text: string): VmxCheck[] {
  const word = F[field];
  return [
    check(group, `${prefix}.rsvd`, {
      when,
      fields: [field],
      rule: 'bits 9:6 are 0, and bits 10 (SUPPRESS) and 11 (TRACKER) are not both 1',
      ok: (c) => (c.lo(word) & 0x3c0) === 0 && (c.lo(word) & 0xc00) !== 0xc00,
      breaks: (c) => c.set(word, c.lo(word) | 0xc00, c.hi(word)),
    }),
    check(group, `${prefix}.canon`, {
      when,
      fields: [field, ...(text === '' ? [] : (['ENTRY_CONTROLS', 'GUEST_CS_ACCESS_RIGHTS'] as const))],
      rule: `is a canonical address${text}`,
      ok: canonicalRule,
      breaks: (c) => c.set(word, c.lo(word), 0x1234_0000),
    }),
  ];
}

/** IA32_PKRS has 32 bits. */
export const pkrs = (group: CheckGroup, id: string, field: FieldName, when: Condition): VmxCheck =>
  zeroBits(group, id, field, [0, -1], 'bits 63:32 are 0', when);

/** IA32_SPEC_CTRL has bits that the CPU has. */
export function specCtrl(group: CheckGroup, id: string, field: FieldName, when: Condition): VmxCheck {
  const word = F[field];
  return check(group, id, {
    when,
    fields: [field],
    rule: 'no bit is 1 that the CPU does not have',
    ok: (c) => (c.lo(word) & ~c.capabilities.specCtrlBits) === 0 && c.hi(word) === 0,
    breaks: (c) => c.set(word, c.lo(word), 1),
    say: (c) => `bits that may be 1: 0x${c.capabilities.specCtrlBits.toString(16)}`,
  });
}

/** The FRED MSRs; `prefix` is host or g. */
export function fredMsrs(group: CheckGroup, prefix: string, side: 'HOST' | 'GUEST', when: Condition, withCet: Condition): VmxCheck[] {
  const config: FieldName = `${side}_FRED_CONFIG`;
  const rows = [
    zeroBits(group, `${prefix}.fred.cfg`, config, [0x834, 0], 'bits 2, 4, 5 and 11 are 0', when),
    canonical(group, `${prefix}.fred.cfgcanon`, config, when),
  ];
  for (const level of [1, 2, 3] as const) {
    rows.push(
      canonical(group, `${prefix}.fred.rsp${level}.canon`, `${side}_FRED_RSP${level}`, when),
      aligned(group, `${prefix}.fred.rsp${level}.align`, `${side}_FRED_RSP${level}`, 6, when),
    );
    rows.push(
      canonical(group, `${prefix}.fred.ssp${level}.canon`, `${side}_FRED_SSP${level}`, withCet),
      aligned(group, `${prefix}.fred.ssp${level}.align`, `${side}_FRED_SSP${level}`, 3, withCet),
    );
  }
  return rows;
}

/** Whether a field is canonical. */
export function canonicalField(field: FieldName): (c: EntryContext) => boolean {
  const word = F[field];
  return (c) => isCanonical(c, c.hi(word));
}
