import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { attachJit } from '../src/index.js';
import { At, createBoard } from './support/board.js';
import { random, randomProgram } from './support/random-program.js';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Weak references to the modules that are compiled while `run` runs. */
function modulesOf(run: () => void): WeakRef<WebAssembly.Module>[] {
  const { Module } = WebAssembly;
  const made: WeakRef<WebAssembly.Module>[] = [];
  WebAssembly.Module = new Proxy(Module, {
    construct: (target, args: [BufferSource]) => {
      const module = new target(...args);
      made.push(new WeakRef(module));
      return module;
    },
  });
  try {
    run();
  } finally {
    WebAssembly.Module = Module;
  }
  return made;
}

it('modules whose code was dropped are freed', { timeout: 300_000 }, async () => {
  const board = createBoard([]);
  const jit = attachJit(board.engine, { threshold: 2, codeBytes: 60_000 });
  const next = random(5);
  const made = modulesOf(() => {
    for (let i = 0; i < 20; i++) {
      board.restart();
      board.memory.write(At.CODE, Uint8Array.from(randomProgram(next, 200)));
      board.executor.run(20_000);
    }
    board.engine.cache.flush();
  });
  // Handlers are modules too, and stay; regions are most of them.
  const kept = made.length - jit.counters.modules;
  expect(jit.counters.modules).toBeGreaterThan(20);
  const alive = (): number => made.filter((reference) => reference.deref() !== undefined).length;
  // A reference that was followed holds its module for the rest of the turn, and the engine's own threads may hold one for some turns more.
  for (const endMs = performance.now() + 60_000; alive() > kept + 2 && performance.now() < endMs; collect()) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(alive()).toBeLessThanOrEqual(kept + 2);
});
