import type { ByteSink } from '@nestvm/machine';
import { UsageError } from '../errors.js';
import { OutputFile } from '../files.js';
import type { CharacterSpec } from '../options/character.js';
import type { Terminal } from '../terminal.js';
import { byteSinkOf, type CharacterLine } from './line.js';
import type { Ptys } from './ptys.js';
import { SocketLine } from './socket-line.js';

/** Lines of a run by what they were asked for with; a named one has one object for all who name it. */
export class Characters {
  /** Bytes that were typed at the terminal, for whoever has it. */
  readonly onTerminalInput = (bytes: Uint8Array): void => void this.terminalLine.onInput?.(bytes);
  private readonly terminalLine: CharacterLine;
  private readonly lines = new Map<CharacterSpec, CharacterLine>();
  private readonly files: OutputFile[] = [];
  private readonly sockets: SocketLine[] = [];
  /** Those that a device has; a pseudo-terminal notes that itself. */
  private readonly taken = new Set<CharacterSpec>();

  constructor(
    private readonly terminal: Terminal,
    private readonly ptys: Ptys,
  ) {
    this.terminalLine = {
      write: (bytes) => {
        for (let i = 0; i < bytes.length; i++) terminal.write(bytes[i]!);
        return true;
      },
      onInput: undefined,
      onRoom: undefined,
    };
  }

  /** The line of a serial port or the like, for bytes one by one; null for none. Throws `UsageError`. */
  sink(option: string, spec: CharacterSpec): ByteSink | null {
    if (spec.kind === 'stdio') return { write: (byte) => this.terminal.write(byte) };
    if (spec.kind === 'file') return this.file(option, spec.path, spec.append);
    const line = this.line(option, spec);
    return line && byteSinkOf(line);
  }

  /** The line of a device; null for none. Throws `UsageError`. */
  line(option: string, spec: CharacterSpec): CharacterLine | null {
    const known = spec.kind === 'pty' ? undefined : this.lines.get(spec);
    if (this.taken.has(spec) && spec.kind === 'socket')
      throw new UsageError(`${option}: another device has this socket; give each a -chardev of its own`);
    const line = known ?? this.create(option, spec);
    if (line) this.lines.set(spec, line);
    this.taken.add(spec);
    return line;
  }

  /** A device has gone: another may have its line. */
  giveBack(spec: CharacterSpec): void {
    const line = this.lines.get(spec);
    if (line) line.onInput = line.onRoom = undefined;
    this.taken.delete(spec);
    if (spec.kind === 'pty') this.ptys.giveBack(spec);
  }

  /** Opens one more character device; its name on the host, if it has one. Rejects with `UsageError`. */
  async add(option: string, spec: CharacterSpec): Promise<string | undefined> {
    if (spec.kind === 'stdio') throw new UsageError(`${option}: the terminal is given away when the machine starts; use a socket, a pty or a file`);
    if (spec.kind === 'pty') return this.ptys.add(spec);
    const line = this.create(option, spec);
    if (line instanceof SocketLine) {
      try {
        await line.open();
      } catch (error) {
        this.sockets.splice(this.sockets.indexOf(line), 1);
        throw error;
      }
    }
    if (line) this.lines.set(spec, line);
    return undefined;
  }

  /** Closes a character device that no device has; throws `UsageError`. */
  remove(id: string, spec: CharacterSpec): void {
    if (this.taken.has(spec) || (spec.kind === 'pty' && this.ptys.isTaken(spec)))
      throw new UsageError(`a device or a monitor has the character device '${id}'; it stays as long as that`);
    const line = this.lines.get(spec);
    this.lines.delete(spec);
    if (line instanceof SocketLine) {
      line.close();
      this.sockets.splice(this.sockets.indexOf(line), 1);
    }
    if (spec.kind === 'pty') this.ptys.remove(spec);
  }

  /** Sends what comes from outside to a guest's serial port. */
  connect(spec: CharacterSpec, input: (bytes: Uint8Array) => number): void {
    const line = spec.kind === 'stdio' ? this.terminalLine : this.lines.get(spec);
    if (line) line.onInput = input;
  }

  /** Columns and rows of the terminal, if it is one. */
  get terminalSize(): { readonly columns?: number; readonly rows?: number } {
    return this.terminal.size;
  }

  /** Tells of another size of the terminal. */
  onResize(listener: (columns: number, rows: number) => void): void {
    this.terminal.onResize = listener;
  }

  /** A file for output; throws `UsageError`. */
  file(option: string, path: string, append = false): OutputFile {
    const file = new OutputFile(option, path, append);
    this.files.push(file);
    return file;
  }

  /** Opens the sockets; rejects with `UsageError`. */
  async open(): Promise<void> {
    for (const socket of this.sockets) await socket.open();
  }

  close(): void {
    for (const file of this.files) file.close();
    for (const socket of this.sockets) socket.close();
  }

  private create(option: string, spec: CharacterSpec): CharacterLine | null {
    switch (spec.kind) {
      case 'none':
        return null;
      case 'stdio':
        return this.terminalLine;
      case 'null':
        return { write: () => true, onInput: undefined, onRoom: undefined };
      case 'file': {
        const file = this.file(option, spec.path, spec.append);
        return { write: (bytes) => (file.append(bytes), true), onInput: undefined, onRoom: undefined };
      }
      case 'pty':
        return this.ptys.take(option, spec);
      case 'socket': {
        const socket = new SocketLine(option, spec);
        this.sockets.push(socket);
        return socket;
      }
    }
  }
}
