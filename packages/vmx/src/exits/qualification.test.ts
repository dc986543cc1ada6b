import { sensitiveEvents } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { answers } from '../intercepts/instructions.js';
import { ExitReason } from '../transitions/reasons.js';
import { describeExit, exitReasonName, qualificationLayouts } from './qualification.js';

describe('exits', () => {
  it('have one number each, and VMX answers every sensitive event', () => {
    const reasons = Object.values(ExitReason);
    expect(new Set(reasons).size).toBe(reasons.length);
    expect(Object.keys(answers).sort()).toEqual([...sensitiveEvents].sort());
    expect(exitReasonName(ExitReason.EPT_VIOLATION)).toBe('EPT_VIOLATION');
    expect(exitReasonName(35)).toBe('reason 35');
  });

  it('are told in words', () => {
    expect(describeExit(ExitReason.IO, 0x03f8_0000 | 0x40, 0)).toBe('IO (bytes − 1 0, direction OUT, operand immediate, port 0x3f8)');
    expect(describeExit(ExitReason.CONTROL_REGISTER, 0x0310, 0)).toContain('CR 0, access MOV from CR');
    expect(describeExit(ExitReason.EPT_VIOLATION, 0x181 | 0x10, 0)).toBe(
      'EPT_VIOLATION (read, writable, linear address valid, final access (not a guest page table))',
    );
    expect(describeExit(ExitReason.INVLPG, 0x1000, -1)).toBe('INVLPG (linear address 0xffffffff00001000)');
    expect(describeExit(0x8000_0021, 4, 0)).toBe('VM entry failed, ENTRY_GUEST_STATE (kind VMCS link pointer)');
    expect(describeExit(ExitReason.HLT, 0, 0)).toBe('HLT');
  });

  it('have qualification fields that do not overlap', () => {
    for (const [name, layout] of Object.entries(qualificationLayouts)) {
      let end = 0;
      for (const [field, bit, width] of layout) {
        expect(bit, `${name}: ${field}`).toBeGreaterThanOrEqual(end);
        end = bit + width;
      }
    }
  });
});
