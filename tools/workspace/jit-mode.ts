/**
 * A setup file of vitest: with `NESTVM_JIT=force` every engine that a test makes compiles all code at its first turn, with `mixed` what turns 24 times, and drops decoded code, compiled code and
 * translations at random between two runs. `off` is how tests run by themselves. Those that attach a JIT of their own keep it.
 */
import { type Engine, Interpreter, type Stop, type Vcpu } from '../../packages/cpu/src/index.js';
import { attachJit, type Jit } from '../../packages/jit/src/index.js';

const mode = process.env['NESTVM_JIT'] ?? 'off';
const MODES = ['off', 'force', 'mixed'];
if (!MODES.includes(mode)) throw new Error(`NESTVM_JIT=${mode}: ${MODES.join(', ')}`);

/** Turns until code is compiled: the first number at which links pass heads over. */
const MIXED_TURNS = 24;
/** One of so many runs begins with caches dropped. */
const DROPS = 6;

/** xorshift32: the same runs each time. */
let random = 0x2545f491;
function next(): number {
  random ^= random << 13;
  random ^= random >>> 17;
  random ^= random << 5;
  return random >>> 0;
}

/** What an interpreter keeps to itself. */
interface Parts {
  readonly engine: Engine;
  readonly cpu: Vcpu;
}

function drop({ engine, cpu }: Parts, jit: Jit): void {
  if (next() % DROPS !== 0) return;
  const kind = next() % 4;
  if (kind === 0) engine.cache.flush();
  else if (kind === 1) jit.flush();
  else cpu.mmu.flushAll();
}

const jits = new WeakMap<Engine, Jit>();

if (mode !== 'off') {
  const run = Reflect.get(Interpreter.prototype, 'run') as (this: Interpreter, budget: number) => Stop;
  Interpreter.prototype.run = function (this: Interpreter, budget: number): Stop {
    const parts = this as unknown as Parts;
    if (parts.engine.hotCode === null) jits.set(parts.engine, attachJit(parts.engine, { threshold: mode === 'force' ? 1 : MIXED_TURNS }));
    const jit = jits.get(parts.engine);
    if (mode === 'mixed' && jit !== undefined) drop(parts, jit);
    return run.call(this, budget);
  };
}
