import { createAssembler } from '@nestvm/assembler';
import { BoundConfig, Cr4, Mode, Xstate } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { updateMode } from '../src/mode.js';
import { initialize } from '../src/reset.js';
import { registerState } from '../src/saved-state.js';
import { MODE } from '../src/words.js';
import { At, Board } from './support/board.js';
import { run, taken } from './support/cet.js';

const CPU = 'Skylake-Server,mpx=on';
const DIRECTORY = 0x100000;
const TABLE = 0x180000;
const BR = '5';
const UD = '6';

/** Turns MPX on for both privileges, the directory of bounds at `DIRECTORY`. */
function turnOn(board: Board, preserve = false): Board {
  const { cpu } = board;
  cpu.set64('cr4', cpu.get64('cr4') | BigInt(Cr4.OSXSAVE));
  cpu.set64('xcr0', BigInt(Xstate.X87 | Xstate.SSE | Xstate.BNDREGS | Xstate.BNDCSR));
  const config = BigInt(DIRECTORY | BoundConfig.EN | (preserve ? BoundConfig.PRESERVE : 0));
  cpu.set64('bndCfgU', config);
  cpu.set64('bndCfgS', config);
  updateMode(cpu);
  return board;
}

const code = (text: string, mode: 16 | 32 | 64 = 64): number[] => {
  const a = createAssembler({ mode, origin: At.CODE });
  a.text(text);
  return [...a.assemble().bytes];
};
const bounds = ({ cpu }: Board, register: number): [bigint, bigint] => [cpu.get64('bounds', 2 * register), cpu.get64('bounds', 2 * register + 1)];
const setBounds = ({ cpu }: Board, register: number, lower: bigint, upper: bigint): void => {
  cpu.set64('bounds', lower, 2 * register);
  cpu.set64('bounds', BigInt.asUintN(64, ~upper), 2 * register + 1);
  updateMode(cpu);
};
const on = (text: string, arrange: (board: Board) => void = () => {}, preserve = false): Board => {
  const board = turnOn(new Board(CPU).long(0), preserve);
  arrange(board);
  return run(board, code(text));
};
const halted = (board: Board, text: string): boolean => board.cpu.rip === BigInt(At.CODE + code(text).length);

describe('the bounds of MPX', () => {
  it('BNDMK makes them of base and effective address, with the complement of the upper one', () => {
    const board = on('mov rax, 0x1000\nmov rcx, 4\nbndmk bnd1, [rax+rcx*2+7]\nbndmk bnd2, [rcx*8]\nhlt');
    expect(bounds(board, 1)).toEqual([0x1000n, BigInt.asUintN(64, ~0x100fn)]);
    expect(bounds(board, 2)).toEqual([0n, BigInt.asUintN(64, ~32n)]);
  });

  it('BNDCL, BNDCU and BNDCN let the edges through and raise #BR beyond, with the reason in BNDSTATUS', () => {
    const within = (board: Board): void => setBounds(board, 0, 0x1000n, 0x2000n);
    const good = 'mov rax, 0x1000\nmov rdx, 0x2000\nbndcl bnd0, rax\nbndcu bnd0, rdx\nbndcl bnd0, [rax]\nbndcu bnd0, [rdx]\nhlt';
    expect(halted(on(good, within), good)).toBe(true);
    for (const bad of ['bndcl bnd0, [rax-1]', 'bndcu bnd0, [rdx+1]', 'bndcl bnd3, [rax-1]\nbndcu bnd0, [rdx+1]']) {
      const board = on(`mov rax, 0x1000\nmov rdx, 0x2000\n${bad}\nhlt`, within);
      expect([taken(board), board.cpu.get64('bndStatus')]).toEqual([BR, 1n]);
    }
    // BNDCN takes the upper bound as it is.
    const plain = (board: Board): void => setBounds(board, 0, 0n, BigInt.asUintN(64, ~0x2000n));
    const fits = 'mov rdx, 0x2000\nbndcn bnd0, rdx\nhlt';
    expect(halted(on(fits, plain), fits)).toBe(true);
    expect(taken(on('mov rdx, 0x2001\nbndcn bnd0, rdx\nhlt', plain))).toBe(BR);
  });

  it('registers as they are at first hold everything inside', () => {
    const text = 'xor eax, eax\nbndcl bnd2, rax\ndec rax\nbndcu bnd2, rax\nhlt';
    expect(halted(on(text), text)).toBe(true);
  });

  it('BNDMOV moves between registers and through 16 bytes of memory', () => {
    const board = on(`bndmov bnd2, bnd1\nbndmov [${At.DATA}], bnd2\nbndmov bnd3, [${At.DATA}]\nhlt`, (b) => setBounds(b, 1, 5n, 0x1_0000_0009n));
    expect(bounds(board, 3)).toEqual([5n, BigInt.asUintN(64, ~0x1_0000_0009n)]);
    expect(board.quads(At.DATA, 2)).toEqual(bounds(board, 2));
  });

  it('a BNDMOV that faults writes nothing', () => {
    const board = on(`bndmov [${At.DATA + 0xff8}], bnd1\nhlt`, (b) => {
      setBounds(b, 1, 5n, 9n);
      b.unmap(At.DATA + 0x1000);
    });
    expect(taken(board)).toBe('14:2');
    expect(board.quads(At.DATA + 0xff8, 1)).toEqual([0n]);
  });

  it('are 32 bits wide outside of 64-bit mode', () => {
    const board = turnOn(new Board(CPU).long(0, true));
    run(board, code(`mov eax, 0x1000\nbndmk bnd0, [eax+0xf]\nbndmov [${At.DATA}], bnd0\nbndcu bnd0, [eax+0xf]\nbndcl bnd0, [eax-1]\nhlt`, 32));
    expect(bounds(board, 0)).toEqual([0x1000n, 0xffff_eff0n]);
    expect(board.quads(At.DATA, 1)).toEqual([0xffff_eff0_0000_1000n]);
    expect(taken(board)).toBe(BR);
  });

  it('encodings that MPX refuses are #UD while it is on, and NOPs while it is off', () => {
    const refused = [
      [0xf3, 0x0f, 0x1b, 0x20], // bndmk bnd4, [rax]
      [0xf3, 0x44, 0x0f, 0x1b, 0x00], // bndmk bnd8, [rax]
      [0xf3, 0x0f, 0x1b, 0x05, 0, 0, 0, 0], // bndmk bnd0, [rip]
      [0x66, 0x0f, 0x1a, 0xc4], // bndmov bnd0, bnd4
      [0x0f, 0x1a, 0x05, 0, 0, 0, 0], // bndldx bnd0, [rip]
    ];
    for (const bytes of refused) {
      expect(taken(run(turnOn(new Board(CPU).long(0)), [...bytes, 0xf4]))).toBe(UD);
      const off = run(new Board(CPU).long(0), [...bytes, 0xf4]);
      expect(off.cpu.rip).toBe(BigInt(At.CODE + bytes.length + 1));
    }
    // 16-bit addresses: memory operands only; the register forms of BNDMK and BNDLDX stay NOPs.
    const narrow = turnOn(new Board(CPU).long(0, true));
    expect(taken(run(narrow, [0x67, 0xf3, 0x0f, 0x1a, 0x00, 0xf4]))).toBe(UD);
    for (const nop of [
      [0xf3, 0x0f, 0x1b, 0xc0],
      [0x0f, 0x1a, 0xe0],
      [0x67, 0xf3, 0x0f, 0x1a, 0xc0],
    ])
      expect(run(turnOn(new Board(CPU).long(0, true)), [...nop, 0xf4]).cpu.rip).toBe(BigInt(At.CODE + nop.length + 1));
  });

  it('67 does nothing in 64-bit mode', () => {
    const board = turnOn(new Board(CPU).long(0));
    board.cpu.setGpr(0, 0x1_0000_0000n);
    run(board, [0x67, 0xf3, 0x0f, 0x1b, 0x00, 0xf4]);
    expect(bounds(board, 0)[0]).toBe(0x1_0000_0000n);
  });

  it('BOUND clears BNDSTATUS when it raises #BR', () => {
    const board = turnOn(new Board(CPU).long(0, true));
    board.cpu.set64('bndStatus', 1n);
    board.view.setInt32(At.DATA, -5, true);
    board.view.setInt32(At.DATA + 4, 5, true);
    run(board, code(`mov eax, 5\nbound eax, [${At.DATA}]\nmov eax, 6\nbound eax, [${At.DATA}]\nhlt`, 32));
    expect([taken(board), board.cpu.get64('bndStatus')]).toEqual([BR, 0n]);
  });
});

describe('the bound directory', () => {
  const PLACE = At.DATA + 0x128;
  /** Entry of the directory for the first MiB. */
  const directory = (board: Board, entry: bigint): void => board.view.setBigUint64(DIRECTORY, entry, true);
  const slot = TABLE + ((PLACE >>> 3) << 5) - 0x100000;
  const arrange = (board: Board): void => {
    directory(board, BigInt(TABLE - 0x100000) | 1n);
    setBounds(board, 1, 0x5000n, 0x5fffn);
  };

  it('BNDSTX and BNDLDX keep the bounds of a pointer by its place', () => {
    const board = on(
      `mov rbx, ${PLACE - 8}\nmov rcx, 0x5123\nbndstx [rbx+rcx+8], bnd1\nbndldx bnd2, [rbx+rcx+8]\ninc rcx\nbndldx bnd1, [rbx+rcx+8]\nhlt`,
      arrange,
    );
    expect(board.quads(slot, 3)).toEqual([0x5000n, BigInt.asUintN(64, ~0x5fffn), 0x5123n]);
    expect(bounds(board, 2)).toEqual([0x5000n, BigInt.asUintN(64, ~0x5fffn)]);
    // Another pointer than the table knows: no bounds.
    expect(bounds(board, 1)).toEqual([0n, 0n]);
  });

  it('an entry that is not valid is #BR with its address in BNDSTATUS', () => {
    for (const text of [`mov rbx, ${PLACE}\nbndldx bnd0, [rbx]\nhlt`, `mov rbx, ${PLACE}\nbndstx [rbx], bnd0\nhlt`]) {
      const board = on(text, (b) => directory(b, BigInt(TABLE)));
      expect([taken(board), board.cpu.get64('bndStatus')]).toEqual([BR, BigInt(DIRECTORY | 2)]);
    }
  });

  it('has entries of 4 bytes outside of 64-bit mode', () => {
    const board = turnOn(new Board(CPU).long(0, true));
    board.view.setUint32(DIRECTORY + ((PLACE >>> 12) << 2), TABLE | 1, true);
    setBounds(board, 1, 0x5000n, 0xffff_ffff_0000_5fffn);
    run(board, code(`mov ebx, ${PLACE}\nmov ecx, 0x5123\nbndstx [ebx+ecx], bnd1\nbndldx bnd2, [ebx+ecx]\nhlt`, 32));
    expect([0, 4, 8].map((at) => board.view.getUint32(TABLE + (((PLACE >>> 2) & 0x3ff) << 4) + at, true))).toEqual([0x5000, ~0x5fff >>> 0, 0x5123]);
    expect(bounds(board, 2)).toEqual([0x5000n, 0xffff_a000n]);
  });

  it('faults as an access of the program', () => {
    const board = on(`mov rbx, ${PLACE}\nbndldx bnd0, [rbx]\nhlt`, (b) => b.unmap(DIRECTORY));
    expect([taken(board), board.cpu.get64('cr2')]).toEqual(['14:0', BigInt(DIRECTORY)]);
  });
});

const CONDITIONS = ['o', 'no', 'b', 'ae', 'e', 'ne', 'be', 'a', 's', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'];

describe('near branches', () => {
  const keep = (b: Board): void => setBounds(b, 3, 1n, 2n);
  const isKept = (board: Board): boolean => bounds(board, 3)[0] !== 0n;
  const BND = 0xf2;
  const CALL = [0xe8, 1, 0, 0, 0, 0xf4, 0xf4];
  const branches: Record<string, readonly number[]> = {
    call: CALL,
    'jmp near': [0xe9, 0, 0, 0, 0, 0xf4],
    'jmp rcx': [0xff, 0xe1],
    'call rcx': [0xff, 0xd1],
    ret: [0xc3],
    'ret 8': [0xc2, 8, 0],
    'jz short, not taken': [0x74, 0, 0xf4],
    'jnz short, taken': [0x75, 0, 0xf4],
    'jnz near': [0x0f, 0x85, 0, 0, 0, 0, 0xf4],
  };
  const branch = (bytes: readonly number[], preserve = false): Board => {
    const board = turnOn(new Board(CPU).long(0), preserve);
    keep(board);
    const target = At.CODE + 0x100;
    board.memory.write(target, Uint8Array.of(0xf4));
    board.cpu.setGpr(1, BigInt(target));
    board.view.setBigUint64(At.STACK0 - 16, BigInt(target), true);
    board.cpu.setGpr(4, BigInt(At.STACK0 - 16));
    return run(board, bytes);
  };

  it.each(Object.entries(branches))('%s forgets the bounds; not with BND, nor with BNDPRESERVE', (_name, bytes) => {
    const plain = branch(bytes);
    const prefixed = branch([BND, ...bytes]);
    const preserved = branch(bytes, true);
    expect([plain, prefixed, preserved].map(isKept)).toEqual([false, true, true]);
    // It leads to the same place, and pushes the same, in all three.
    expect(plain.cpu.gpr(4)).toBe(preserved.cpu.gpr(4));
    expect(plain.cpu.rip).toBe(preserved.cpu.rip);
    expect(plain.quads(At.STACK0 - 24, 1)).toEqual(preserved.quads(At.STACK0 - 24, 1));
    expect((plain.cpu.w[MODE]! & Mode.BOUNDS) === 0 && (preserved.cpu.w[MODE]! & Mode.MPX) !== 0).toBe(true);
  });

  it.each([
    ['jmp short', [0xeb, 0, 0xf4]],
    ['jrcxz', [0xe3, 0, 0xf4]],
    ['loop', [0xe2, 0, 0xf4]],
    ['iretq', [0x6a, 0, 0x6a, 0, 0xf4]],
  ])('%s does not', (_name, bytes) => {
    expect(isKept(branch(bytes))).toBe(true);
  });

  it('all conditions are those of the plain jumps', () => {
    const cases = [0, 1, 4, 0x40, 0x80, 0x800, 0x880, 0x8c5].flatMap((flags) => CONDITIONS.map((condition) => ({ flags, condition })));
    const text = cases.map(
      ({ flags, condition }, i) =>
        `mov eax, ${flags | 2}\npush rax\npopfq\nbndmk bnd0, [rsp]\nj${condition} l${i}\nmov byte ptr [${At.DATA + i}], 1\nl${i}:`,
    );
    const results = [false, true].map((preserve) => on(`${text.join('\n')}\nhlt`, () => {}, preserve).quads(At.DATA, cases.length / 8));
    expect(results[0]).toEqual(results[1]);
    expect(new Set(results[0]).size).toBeGreaterThan(8);
  });

  it('a branch that faults keeps them', () => {
    const board = turnOn(new Board(CPU).long(0));
    keep(board);
    board.cpu.setGpr(4, BigInt(At.DATA + 0x1000));
    board.unmap(At.DATA);
    board.longGate(14, { ist: 1 });
    run(board, CALL);
    expect(isKept(board)).toBe(true);
  });
});

describe('the state of MPX', () => {
  it('XCR0 has both components or neither; CPUID tells their places', () => {
    const result = (value: number): bigint => {
      const board = on(`xor ecx, ecx\nxor edx, edx\nmov eax, ${value}\nxsetbv\nhlt`);
      return board.cpu.get64('xcr0');
    };
    expect([0x1f, 7].map(result)).toEqual([0x1fn, 7n]);
    expect([0xf, 0x17].map((value) => taken(on(`xor ecx, ecx\nxor edx, edx\nmov eax, ${value}\nxsetbv\nhlt`)))).toEqual(['13:0', '13:0']);
    const { model } = new Board(CPU).cpu;
    const dynamic = { apicId: 0, apicEnabled: true, cr4: 0, xcr0: 0x1f, xss: 0, limitMaximum: false };
    const leaf = (subleaf: number): number[] => {
      const { eax, ebx, ecx } = model.cpuid(13, subleaf, dynamic);
      return [eax, ebx, ecx];
    };
    expect([leaf(3), leaf(4)]).toEqual([
      [64, 960, 0],
      [64, 1024, 0],
    ]);
    expect(model.cpuid(13, 0, dynamic).ebx).toBe(1088);
    expect(model.cpuid(7, 0, dynamic).ebx & (1 << 14)).not.toBe(0);
    expect(new Board('max').cpu.features.has('mpx')).toBe(false);
  });

  it('XSAVE and XRSTOR carry it; XSAVEC leaves out what is not in use', () => {
    const board = on(`mov eax, 0x18\nxor edx, edx\nxsave [${At.DATA}]\nxsavec [${At.DATA + 0x800}]\nhlt`, (b) => {
      setBounds(b, 1, 0x1234n, 0x5678n);
      b.cpu.set64('bndStatus', 1n);
    });
    expect(board.quads(At.DATA + 512, 1)[0]! & 0x18n).toBe(0x18n);
    expect(board.quads(At.DATA + 960 + 16, 2)).toEqual([0x1234n, BigInt.asUintN(64, ~0x5678n)]);
    expect(board.quads(At.DATA + 1024, 2)).toEqual([BigInt(DIRECTORY | 1), 1n]);
    expect(board.quads(At.DATA + 0x800 + 576 + 16, 1)).toEqual([0x1234n]);
    const again = on(`mov eax, 0x18\nxor edx, edx\nxrstor [${At.DATA}]\nhlt`, (b) => {
      b.memory.write(At.DATA, new Uint8Array(board.arena.memory.buffer, board.ram + At.DATA, 0x800));
    });
    expect(bounds(again, 1)).toEqual(bounds(board, 1));
    const cleared = on(`mov eax, 0x18\nxor edx, edx\nxrstor [${At.DATA}]\nhlt`, (b) => setBounds(b, 1, 3n, 4n));
    expect([bounds(cleared, 1), cleared.cpu.get64('bndCfgU')]).toEqual([[0n, 0n], 0n]);
    const idle = on(`mov eax, 8\nxor edx, edx\nxsavec [${At.DATA}]\nhlt`);
    expect(idle.quads(At.DATA + 512, 1)).toEqual([0n]);
  });

  it('XRSTOR at level 3 turns it on for the very next instruction', () => {
    const board = turnOn(new Board(CPU).long(3));
    board.cpu.set64('bndCfgU', 0n);
    updateMode(board.cpu);
    board.view.setBigUint64(At.DATA + 512, 0x10n, true);
    board.view.setBigUint64(At.DATA + 1024, BigInt(DIRECTORY | 1), true);
    run(board, code(`mov eax, 0x10\nxor edx, edx\nmov rbx, 7\nbndmk bnd0, [rbx]\nxrstor [${At.DATA}]\nbndmk bnd1, [rbx]\nint 0x20\n`));
    expect([bounds(board, 0)[0], bounds(board, 1)[0]]).toEqual([0n, 7n]);
  });

  it('IA32_BNDCFGS takes a canonical page and two bits; processors without MPX lack it', () => {
    const write = (model: string, lo: number, hi: number): boolean => new Board(model).cpu.msrs.write(0xd90, lo, hi);
    expect([write(CPU, 0x7000_0003, 0x7fff), write(CPU, 4, 0), write(CPU, 0x800, 0), write(CPU, 0, 0x8000), write('max', 0, 0)]).toEqual([
      true,
      false,
      false,
      false,
      false,
    ]);
  });

  it('INIT forgets it, a snapshot keeps it', () => {
    const board = on('hlt', (b) => setBounds(b, 2, 8n, 9n));
    const saved = registerState(board.cpu).save();
    const other = new Board(CPU);
    registerState(other.cpu).load(saved);
    expect([bounds(other, 2), other.cpu.get64('bndCfgS')]).toEqual([bounds(board, 2), BigInt(DIRECTORY | 1)]);
    initialize(other.cpu);
    expect([bounds(other, 2), other.cpu.get64('bndCfgS'), other.cpu.get64('bndCfgU')]).toEqual([[0n, 0n], 0n, 0n]);
  });
});
