/** Why `Executor.run` returned. */
export type Stop =
  /** The budget is used up. */
  | 'budget'
  /** The CPU waits: HLT, MWAIT or wait-for-SIPI, with nothing pending. */
  | 'idle'
  /** The CPU shut down (triple fault). */
  | 'shutdown'
  /** Somebody asked for attention: a device ended the run, or a debugger. */
  | 'requested';

/** Runs guest code on one vCPU: the interpreter, or the JIT in front of it. */
export interface Executor {
  /** Runs at most about `budget` instructions; `retired` of the state says how many were. */
  run(budget: number): Stop;
}
