import { CetControl, Cr0, Cr4 } from '@nestvm/isa';
import { beforeEach, describe, expect, it } from 'vitest';
import { ExitCode, Vmcb } from '../src/index.js';
import { At, Board } from './support/board.js';

const board = new Board('EPYC,svm=on,cet-ss=on');
const { cpu, memory } = board;
const HLT = 0xf4;
const SSP = 0x1ff000;
/** call f; hlt; f: ret */
const CALL_AND_RET = [0xe8, 1, 0, 0, 0, HLT, 0xc3];

/** Shadow stacks on in the guest; its 2 MiB are one page, so the shadow stack's is mapped apart, at 1 GiB. */
beforeEach(() => {
  board.prepare();
  const linear = 0x4000_0000;
  memory.write32(At.TABLES + 0x1008, (At.TABLES + 0x3000) | 7);
  // A 2-MiB page over the same memory: dirty, not writable, the supervisor's.
  memory.write32(At.TABLES + 0x3000, 0xe1);
  board.set(Vmcb.CR0, 0x80010011 | 0 | Cr0.WP);
  board.set(Vmcb.CR4, 0x20 | Cr4.CET);
  board.set(Vmcb.S_CET, CetControl.SH_STK_EN, 0);
  board.set(Vmcb.SSP, linear + SSP, 0);
  board.set(Vmcb.INTERRUPT_SSP_TABLE, 0x5000, 0);
});

describe('CET state in the VMCB', () => {
  it('VMRUN loads the guest’s, #VMEXIT saves it and brings the host’s back', () => {
    cpu.set64('sCet', BigInt(CetControl.WR_SHSTK_EN));
    cpu.set64('ssp', 0x1234_5678n);
    cpu.set64('interruptSspTable', 0x7000n);
    expect(board.run(CALL_AND_RET)).toBe(ExitCode.HLT);
    expect([board.get(Vmcb.SSP), board.get(Vmcb.S_CET), board.get(Vmcb.INTERRUPT_SSP_TABLE)]).toEqual([
      0x4000_0000 + SSP,
      CetControl.SH_STK_EN,
      0x5000,
    ]);
    expect(memory.read32(SSP - 8)).toBe(At.GUEST + 5);
    expect([cpu.get64('ssp'), cpu.get64('sCet'), cpu.get64('interruptSspTable')]).toEqual([0x1234_5678n, BigInt(CetControl.WR_SHSTK_EN), 0x7000n]);
  });

  it('#CP can be intercepted, with its error code', () => {
    board.set(Vmcb.EXCEPTION_INTERCEPTS, 1 << 21);
    // call f; f+…: inc qword [rsp]; ret
    expect(board.run([0xe8, 1, 0, 0, 0, HLT, 0x48, 0xff, 0x04, 0x24, 0xc3])).toBe(ExitCode.EXCEPTION + 21);
    expect([board.get(Vmcb.EXIT_INFO1), board.get(Vmcb.SSP)]).toEqual([1, 0x4000_0000 + SSP - 8]);
  });

  it('a nested page that cannot be written says that a shadow stack wanted it', () => {
    // Nested tables: the guest's tables and code stay writable; 4-KiB entries would be needed for one page, so the shadow stack lies in a page of its own at 2 MiB.
    memory.write32(At.TABLES + 0x3000, 0x20_00e1);
    memory.write32(At.NESTED + 0x2008, 0x85);
    expect(board.run(CALL_AND_RET)).toBe(ExitCode.NPF);
    expect([board.get(Vmcb.EXIT_INFO1) & 0x7f, board.get(Vmcb.EXIT_INFO2)]).toEqual([0x47, 0x20_0000 + SSP - 8]);
  });
});
