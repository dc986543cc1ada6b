/** Where code that is the same for all runs of one build of a program is kept, so that only the first of them generates it. */
export interface KeptCode {
  /** The WebAssembly module that was kept under a name; undefined when there is none. */
  read(name: string): Uint8Array<ArrayBuffer> | undefined;
  /** Keeps a module for later runs of this build: another build must never read it. */
  keep(name: string, module: Uint8Array<ArrayBuffer>): void;
}
