/** What becomes of a region while its module is made. */
interface Part {
  readonly head: number;
  readonly region: { readonly pages: readonly number[] };
}

/** Modules that the engine compiles on threads of its own while guests run on, and what of their regions is still wanted. */
export class ModulesUnderWay<P extends Part> {
  private readonly waiting = new Set<Map<number, P>>();

  /** Compiles a module with these parts; `ready` gets those that are wanted then, by their number. An engine that cannot make the module leaves them to the interpreter. */
  compile(bytes: Uint8Array<ArrayBuffer>, parts: readonly P[], ready: (module: WebAssembly.Module, wanted: Map<number, P>) => void): void {
    const wanted = new Map(parts.entries());
    this.waiting.add(wanted);
    WebAssembly.compile(bytes).then(
      (module) => {
        if (this.waiting.delete(wanted) && wanted.size > 0) ready(module, wanted);
      },
      () => this.waiting.delete(wanted),
    );
  }

  /** Forgets what comes from an arena page, or (-1) all of it; gives the hot blocks that wait no longer. */
  drop(arenaPage: number): number[] {
    const heads: number[] = [];
    for (const wanted of this.waiting) {
      for (const [number, { head, region }] of wanted) {
        if (arenaPage >= 0 && !region.pages.includes(arenaPage)) continue;
        heads.push(head);
        wanted.delete(number);
      }
    }
    return heads;
  }
}
