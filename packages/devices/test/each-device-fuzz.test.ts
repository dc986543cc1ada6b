import { expect, it } from 'vitest';
import { random } from './board.js';
import { Board, step } from './hostile-board.js';

/** Operations on each device of the chip sets; a million each in the nightly tier. */
const OPERATIONS = Number(globalThis.process?.env['NESTVM_CHIPSET_FUZZ'] ?? 20_000);
/** After so many operations a guest gets a new machine, of the other chip set: it may have moved all registers of a device away. */
const LIFE = 5000;
const CHIPSETS = ['i440fx', 'q35'] as const;
/** The devices that have several regions; other regions are devices of their own. */
const DEVICES = /^(pic|i8042|pc-testdev|fw-cfg|acpi|pci|card)(?=[- ])/;

/** The devices of both boards, each with the names of its regions. */
function owners(): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  for (const board of CHIPSETS.map((chipset) => new Board(chipset))) {
    for (const { name } of [...board.ports.list(), ...board.mmio.list()]) {
      const owner = DEVICES.exec(name)?.[0] ?? name;
      found.set(owner, (found.get(owner) ?? new Set()).add(name));
    }
  }
  return found;
}

it.each([...owners()])(
  `%s stands ${OPERATIONS} operations of a guest that touches little else`,
  (owner, names) => {
    const next = random(0x9e3779b9 ^ (owner.length * 7919 + owner.charCodeAt(0)));
    let board = new Board('i440fx');
    let answers = 0;
    for (let i = 0; i < OPERATIONS; i++) {
      if (i % LIFE === 0) board = new Board(CHIPSETS[(i / LIFE) % 2]!);
      else if (next(512) === 0) board.devices[next(board.devices.length)]!.reset();
      else if (next(2048) === 0) board.loadAll(board.saveAll(), next(2) === 0);
      // One access of sixteen goes anywhere, so that devices meet each other in odd states.
      if (step(board, next, next(16) === 0 ? undefined : names) !== 0) answers++;
      if (i % 1000 === 0) board.clock.advanceTo(board.clock.nowNs() + 1_000_000_000);
      board.messages.length = 0;
    }
    console.log(`fuzz of ${owner}: ${OPERATIONS} operations, ${answers} answers, regions ${[...names].join(' ')}`);
    expect(answers).toBeGreaterThan(OPERATIONS / 200);
  },
  60_000 + OPERATIONS,
);
