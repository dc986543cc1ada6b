import { UsageError } from '../errors.js';
import type { PtySpec } from '../options/character.js';
import type { RunOptions } from '../options/config.js';
import { labelCharacters } from './describe.js';
import { PtyLine } from './pty-line.js';

/** The pseudo-terminals of a run, each for one device or monitor. */
export class Ptys {
  private readonly lines = new Map<PtySpec, PtyLine>();
  private readonly taken = new Set<PtySpec>();

  /** Makes them all and says with `print` where they are; throws `UsageError`. */
  constructor(options: RunOptions, print: (line: string) => void) {
    try {
      for (const [label, spec] of labelCharacters(options)) {
        if (spec.kind !== 'pty') continue;
        const line = new PtyLine(spec.option);
        this.lines.set(spec, line);
        print(`char device redirected to ${line.path} (label ${label})\n`);
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  pathOf(spec: PtySpec): string {
    return this.lines.get(spec)!.path;
  }

  /** The line for its one user; throws `UsageError` for another. */
  take(option: string, spec: PtySpec): PtyLine {
    if (this.taken.has(spec)) throw new UsageError(`${option}: another device has this pseudo-terminal; give each a -chardev of its own`);
    this.taken.add(spec);
    return this.lines.get(spec)!;
  }

  /** One more; its path. Throws `UsageError`. */
  add(spec: PtySpec): string {
    const line = new PtyLine(spec.option);
    this.lines.set(spec, line);
    return line.path;
  }

  isTaken(spec: PtySpec): boolean {
    return this.taken.has(spec);
  }

  /** Its user has gone: another may have it. */
  giveBack(spec: PtySpec): void {
    this.taken.delete(spec);
  }

  remove(spec: PtySpec): void {
    this.lines.get(spec)?.close();
    this.lines.delete(spec);
  }

  close(): void {
    for (const line of this.lines.values()) line.close();
  }
}
