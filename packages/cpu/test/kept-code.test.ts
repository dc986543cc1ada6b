import { opcodeRows } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { Engine } from '../src/engine.js';
import { Interpreter } from '../src/executor.js';
import type { KeptCode } from '../src/ports/kept-code.js';
import { At, Board } from './support/board.js';

const LONG = 1 << 7;
/** mov rax, rcx; add rax, rcx; push rax; pop rdx; hlt */
const CODE = [0x48, 0x89, 0xc8, 0x48, 0x01, 0xc8, 0x50, 0x5a, 0xf4];

/** What is kept, in memory. */
class Shelf implements KeptCode {
  readonly modules = new Map<string, Uint8Array<ArrayBuffer>>();
  kept = 0;
  read(name: string): Uint8Array<ArrayBuffer> | undefined {
    return this.modules.get(name);
  }
  keep(name: string, module: Uint8Array<ArrayBuffer>): void {
    this.kept++;
    this.modules.set(name, module);
  }
  get only(): Uint8Array<ArrayBuffer> {
    const [module, another] = this.modules.values();
    if (module === undefined || another !== undefined) throw new Error('not one module');
    return module;
  }
}

function engineOf(keptCode: KeptCode): { board: Board; engine: Engine } {
  const board = new Board();
  return { board, engine: new Engine(board.arena, board.memory, { recordBytes: 1 << 16, keptCode }) };
}

/** RDX after 64-bit code has run on an engine. */
function run({ board, engine }: ReturnType<typeof engineOf>): bigint {
  const { cpu } = board.long(0);
  board.memory.write(At.CODE, Uint8Array.from(CODE));
  cpu.setGpr(1, 21n);
  new Interpreter(cpu, engine).run(100);
  return cpu.gpr(2);
}

/** Asks for handlers of forms that no 64-bit code has. */
function askForOthers({ engine }: ReturnType<typeof engineOf>, count: number): number[] {
  const rows = opcodeRows.filter((row) => engine.handlers.has(row));
  return Array.from({ length: count }, (_, i) => engine.handlers.slotFor(rows[i % rows.length]!.id, (Math.floor(i / rows.length) * LONG) << 1));
}

describe('handlers kept between runs', () => {
  it('are made once, whatever was asked for before them', () => {
    const [first, second] = [new Shelf(), new Shelf()];
    const [one, other] = [engineOf(first), engineOf(second)];
    askForOthers(other, 20);
    expect([run(one), run(other)]).toEqual([42n, 42n]);
    expect(first.only).toEqual(second.only);
    const later = engineOf(first);
    expect(run(later)).toBe(42n);
    expect(first.kept).toBe(1);
    expect(later.engine.handlers.modules).toBe(one.engine.handlers.modules);
  });

  it('are made anew when they are damaged', () => {
    const shelf = new Shelf();
    run(engineOf(shelf));
    const whole = shelf.only.slice();
    for (const damaged of [whole.slice(0, whole.length / 2), new Uint8Array(16), new Uint8Array()]) {
      shelf.modules.set([...shelf.modules.keys()][0]!, damaged);
      expect(run(engineOf(shelf))).toBe(42n);
      expect(shelf.only).toEqual(whole);
    }
  });

  it('leave room for any number of others', () => {
    const machine = engineOf(new Shelf());
    const { handlers } = machine.engine;
    const slots = askForOthers(machine, 700);
    handlers.flush();
    slots.push(handlers.slotFor(opcodeRows.find(({ mnemonic }) => mnemonic === 'MOV')!.id, LONG | 4));
    expect(new Set(slots).size).toBe(701);
    expect(slots.map((slot) => handlers.keyOf(slot)).every((key) => key !== undefined)).toBe(true);
    expect(run(machine)).toBe(42n);
  });
});
