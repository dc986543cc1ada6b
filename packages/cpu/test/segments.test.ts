import { Segment } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { updateMode } from '../src/mode.js';
import { Outcome } from '../src/outcome.js';
import { INTERRUPTIBILITY, SEG_ATTRIBUTES } from '../src/words.js';
import { At, Board, Sel } from './support/board.js';

/** What loading a segment register must answer, from the manual's rules alone: a fault, or `ok`. */
function expected(segment: number, selector: number, cpl: number, long: boolean, type: number, dpl: number, present: boolean): string {
  const rpl = selector & 3;
  const error = (selector & 0xfffc).toString(16);
  const code = (type & 8) !== 0;
  const conforming = (type & 12) === 12;
  if (segment === Segment.SS) {
    if ((selector & 0xfffc) === 0) return long && cpl !== 3 && rpl === cpl ? 'ok' : '13:0';
    if (rpl !== cpl || code || (type & 2) === 0 || dpl !== cpl) return `13:${error}`;
    return present ? 'ok' : `12:${error}`;
  }
  if ((selector & 0xfffc) === 0) return 'ok';
  if (code && (type & 2) === 0) return `13:${error}`;
  if (!conforming && (rpl > dpl || cpl > dpl)) return `13:${error}`;
  return present ? 'ok' : `11:${error}`;
}

describe('loading segment registers', () => {
  it('follows the manual for every type, level and register', () => {
    let cases = 0;
    const boards = [new Board().long(0), new Board().long(3), new Board().protect(0), new Board().protect(3)];
    boards.forEach((board, index) => {
      const cpl = index % 2 === 0 ? 0 : 3;
      const ready = board.cpu.b.slice();
      for (let type = 0; type < 16; type++) {
        for (let dpl = 0; dpl < 4; dpl++) {
          for (const present of [true, false]) {
            for (let rpl = 0; rpl < 4; rpl++) {
              for (const segment of [Segment.ES, Segment.SS, Segment.DS, Segment.GS]) {
                for (const index of [0, Sel.FREE]) {
                  board.cpu.b.set(ready);
                  board.descriptor(Sel.FREE, { type, dpl, present, limit: 0xffff, base: 0x12340000 });
                  const selector = index | rpl;
                  board.cpu.setGpr(0, BigInt(selector));
                  const outcome = board.execute(0x8e, 0xc0 | (segment << 3));
                  const got = outcome === Outcome.FAULT ? board.fault : 'ok';
                  const wanted = expected(segment, selector, cpl, index < 2 && board === boards[cpl === 0 ? 0 : 1], type, dpl, present);
                  if (got !== wanted)
                    throw new Error(
                      `type ${type} dpl ${dpl} P ${present} selector ${selector.toString(16)} segment ${segment} cpl ${cpl}: ${got}, not ${wanted}`,
                    );
                  if (got === 'ok' && index !== 0 && (board.view.getUint8(At.GDT + Sel.FREE + 5) & 1) === 0) throw new Error('not marked accessed');
                  cases++;
                }
              }
            }
          }
        }
      }
    });
    console.log(`segment loads: ${cases} cases`);
    expect(cases).toBe(4 * 16 * 4 * 2 * 4 * 4 * 2);
  });

  it('POP SS moves the stack only when the load succeeds, and begins a shadow; LSS begins none', () => {
    const board = new Board().protect(0);
    board.view.setUint32(At.STACK0, Sel.CODE0, true);
    expect(board.faults(0x17)).toBe('13:8');
    board.view.setUint32(At.STACK0, Sel.DATA0, true);
    expect(board.execute(0x17)).toBe(Outcome.NEXT);
    expect([board.cpu.gpr(4), board.cpu.w[INTERRUPTIBILITY]]).toEqual([BigInt(At.STACK0 + 4), 2]);
    const lss = new Board().protect(0);
    lss.view.setUint32(At.DATA, 0x1000, true);
    lss.view.setUint16(At.DATA + 4, Sel.DATA0, true);
    lss.cpu.setGpr(0, BigInt(At.DATA));
    expect(lss.execute(0x0f, 0xb2, 0x20)).toBe(Outcome.NEXT);
    expect([lss.cpu.gpr(4), lss.cpu.w[INTERRUPTIBILITY]]).toEqual([0x1000n, 0]);
  });

  it('a null selector makes a segment unusable', () => {
    const board = new Board().protect(0);
    board.cpu.setGpr(0, 0n);
    board.execute(0x8e, 0xd8);
    expect(board.cpu.w[SEG_ATTRIBUTES + Segment.DS]! & 0x10000).toBe(0x10000);
    expect(board.faults(0x0f, 0x01, 0x10), 'LGDT [EAX] through it').toBe('13:0');
  });

  it('expand-down segments have their room above the limit', () => {
    const board = new Board().protect(0);
    board.descriptor(Sel.FREE, { type: 7, limit: 0xfff, big: true });
    board.loadSegment(Segment.DS, Sel.FREE);
    board.cpu.setGpr(0, 0xffcn);
    expect(board.faults(0x0f, 0x01, 0x10)).toBe('13:0');
    board.cpu.setGpr(0, 0x1000n);
    expect(board.execute(0x0f, 0x01, 0x10)).toBe(Outcome.NEXT);
  });
});

describe('alignment checks at level 3', () => {
  const checked = (): Board => {
    const board = new Board().protect(3);
    const { cpu } = board;
    cpu.set64('cr0', cpu.get64('cr0') | 0x40000n);
    cpu.writeRflags(0x43202);
    updateMode(cpu);
    return board;
  };
  const address = (board: Board, at: number): void => board.cpu.setGpr(0, BigInt(at));

  it.each<[string, number, readonly number[]]>([
    ['LES of 16:32', 4, [0xc4, 0x08]],
    ['LFS of 16:16', 2, [0x66, 0x0f, 0xb4, 0x08]],
    ['far CALL of 16:32', 4, [0xff, 0x18]],
    ['far JMP of 16:16', 2, [0x66, 0xff, 0x28]],
    ['SGDT', 4, [0x0f, 0x01, 0x00]],
    ['SLDT', 2, [0x0f, 0x00, 0x00]],
    ['VERR', 2, [0x0f, 0x00, 0x20]],
    ['FXSAVE', 16, [0x0f, 0xae, 0x00]],
    ['LDMXCSR', 4, [0x0f, 0xae, 0x10]],
  ])('%s wants %d bytes', (name, alignment, bytes) => {
    const board = checked();
    board.cpu.set64('cr4', 0x200n);
    address(board, At.DATA + alignment / 2);
    // FXSAVE has its own rule, whatever the alignment checks say.
    expect(board.faults(...bytes)).toBe(name === 'FXSAVE' ? '13:0' : '17:0');
    address(board, At.DATA + alignment);
    expect(board.faults(...bytes)).not.toBe('17:0');
  });

  it('INSW and OUTSD want theirs, and leave the port alone', () => {
    const board = checked();
    board.inputs.set(0x10, () => {
      throw new Error('the port was read');
    });
    board.cpu.setGpr(2, 0x10n);
    board.cpu.setGpr(7, BigInt(At.DATA + 1));
    board.cpu.setGpr(6, BigInt(At.DATA + 2));
    expect(board.faults(0x66, 0x6d)).toBe('17:0');
    expect(board.faults(0x6f)).toBe('17:0');
    expect(board.outputs).toEqual([]);
  });
});

describe('questions about selectors', () => {
  const zf = (board: Board): boolean => (board.cpu.readRflags() & 0x40) !== 0;

  it('LAR, LSL, VERR and VERW answer by ZF and fault for no selector', () => {
    const board = new Board().protect(3);
    const { cpu } = board;
    const ask = (bytes: number[], selector: number): boolean => {
      cpu.setGpr(0, BigInt(selector));
      cpu.setGpr(3, 0x55n);
      expect(board.execute(...bytes)).toBe(Outcome.NEXT);
      return zf(board);
    };
    const LAR = [0x0f, 0x02, 0xd8];
    const LSL = [0x0f, 0x03, 0xd8];
    const VERR = [0x0f, 0x00, 0xe0];
    const VERW = [0x0f, 0x00, 0xe8];
    // A descriptor at index 0 must never be seen.
    board.descriptor(0, { type: 3, dpl: 3, limit: 0xfff });
    for (const bytes of [LAR, LSL, VERR, VERW]) {
      expect(ask(bytes, 0), 'null').toBe(false);
      expect(ask(bytes, 0x4000), 'beyond').toBe(false);
      expect(ask(bytes, Sel.DATA0), 'inner level').toBe(false);
      expect(cpu.gpr(3)).toBe(0x55n);
    }
    expect(ask(LAR, Sel.DATA3)).toBe(true);
    expect(cpu.gpr(3) & 0xf0ff00n).toBe(0xc0f300n);
    expect(ask(LSL, Sel.DATA3)).toBe(true);
    expect(cpu.gpr(3)).toBe(0xffffffffn);
    expect(ask(VERW, Sel.DATA3)).toBe(true);
    expect(ask(VERW, Sel.CODE3)).toBe(false);
    expect(ask(VERR, Sel.CODE3)).toBe(true);
    expect(ask(VERR, Sel.CONFORMING)).toBe(true);
    board.descriptor(Sel.FREE, { type: 9, system: true, dpl: 3, limit: 0x67 });
    expect(ask(LAR, Sel.FREE | 3)).toBe(true);
    expect(ask(LSL, Sel.FREE | 3)).toBe(true);
    expect(ask(VERR, Sel.FREE | 3)).toBe(false);
    board.descriptor(Sel.FREE, { type: 14, system: true, dpl: 3 });
    expect(ask(LAR, Sel.FREE | 3), 'an interrupt gate').toBe(false);
  });

  it('are #UD in real mode', () => {
    for (const bytes of [
      [0x0f, 0x02, 0xd8],
      [0x0f, 0x03, 0xd8],
      [0x0f, 0x00, 0xe0],
      [0x0f, 0x00, 0xc0],
    ])
      expect(new Board().real().faults(...bytes)).toBe('6');
  });

  it('ARPL raises RPL', () => {
    const board = new Board().protect(0);
    board.cpu.setGpr(0, 0x1230n);
    board.cpu.setGpr(3, 2n);
    expect(board.execute(0x63, 0xd8)).toBe(Outcome.NEXT);
    expect([board.cpu.gpr(0), zf(board)]).toEqual([0x1232n, true]);
    board.execute(0x63, 0xd8);
    expect([board.cpu.gpr(0), zf(board)]).toEqual([0x1232n, false]);
  });
});
