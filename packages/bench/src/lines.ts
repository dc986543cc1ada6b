/** Cuts text that comes in pieces of any size into lines. */
export class Lines {
  #rest = '';

  /** The lines that are whole with this piece. */
  take(text: string): string[] {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    return lines;
  }
}

/** The level that says hello in this line, or null. */
export function helloOf(line: string): number | null {
  const hello = /^hello from L(\d)\b/.exec(line);
  return hello ? Number(hello[1]) : null;
}
