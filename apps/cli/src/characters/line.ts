/** A character device of the host: the far end of a serial port, a console or a debug port. */
export interface CharacterLine {
  /** Takes bytes, all of them; they are valid during the call. False: its reader is slow; `onRoom` is called when it has caught up. */
  write(bytes: Uint8Array): boolean;
  /** Is given what comes from outside; returns how many bytes were taken. */
  onInput: ((bytes: Uint8Array) => number) | undefined;
  /** More is welcome after a `write` that returned false. */
  onRoom: (() => void) | undefined;
}

/** Puts the bytes that arrive one by one into a line, with others of the same turn of the event loop. */
export function byteSinkOf(line: CharacterLine): { write(byte: number): void } {
  const pending = new Uint8Array(4096);
  let used = 0;
  const flush = (): void => {
    const length = used;
    used = 0;
    if (length > 0) line.write(pending.subarray(0, length));
  };
  return {
    write(byte) {
      if (used === 0) setImmediate(flush);
      pending[used++] = byte;
      if (used === pending.length) flush();
    },
  };
}
