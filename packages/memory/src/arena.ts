import { MemoryError } from './errors.js';

/** Bytes of a page, of the guest and of the arena alike. */
export const PAGE_BYTES = 4096;
const WASM_PAGE_BYTES = 65536;
const MAX_WASM_PAGES = 65536;

/** A named piece of the arena. */
export interface Allocation {
  readonly name: string;
  /** Arena offset of its first byte. */
  readonly offset: number;
  readonly bytes: number;
}

/**
 * The one `WebAssembly.Memory`, made at its final size and never grown, so that its views stay valid.
 * An address in it is an arena offset; the first page is never handed out, so that 0 can mean "nowhere".
 */
export interface Arena {
  readonly memory: WebAssembly.Memory;
  /** Size in bytes. */
  readonly bytes: number;
  /** True over a SharedArrayBuffer: read-modify-write must use `Atomics`. */
  readonly shared: boolean;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly i64: BigInt64Array;
  readonly f64: Float64Array;
  readonly view: DataView;
  /** Everything that was handed out, by rising offset. */
  readonly allocations: readonly Allocation[];
  /** Bytes that are left. */
  readonly free: number;
  /** Hands out zeroed bytes at a multiple of `alignment` (a power of two, 16 unless given); throws `MemoryError` (`arena-full`, `bad-size`). */
  allocate(name: string, bytes: number, alignment?: number): number;
  /** The same from the arena's other end: guest memory, so that what the engine itself addresses lies below 2 GiB, where WebAssembly's signed addresses are positive. */
  allocateTop(name: string, bytes: number, alignment?: number): number;
}

/** Size in bytes of the arena (rounded up to 64 KiB, at most 4 GiB), and whether several threads share it. */
export interface ArenaOptions {
  readonly bytes: number;
  readonly shared?: boolean;
  /** Is shown the memory before anything of it is used: the time to ask the host for large pages. */
  readonly onReserved?: ((memory: WebAssembly.Memory) => void) | undefined;
}

const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

function createMemory(bytes: number, shared: boolean): WebAssembly.Memory {
  const pages = Math.ceil(bytes / WASM_PAGE_BYTES);
  if (!(pages >= 1 && pages <= MAX_WASM_PAGES)) {
    throw new MemoryError('bad-size', `arena: ${bytes} bytes asked for; give between 1 byte and 4096 MiB (guest memory and engine together)`);
  }
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared });
  } catch (cause) {
    throw new MemoryError('bad-size', `arena: the host refused ${megabytes(bytes)} of linear memory (${String(cause)}); use less guest memory`);
  }
}

/** A class, since V8 gives an object literal with a getter no shape: each `arena.i32` of hot code would be a search in a hash table. */
class LinearArena implements Arena {
  readonly memory: WebAssembly.Memory;
  readonly bytes: number;
  readonly shared: boolean;
  readonly allocations: Allocation[] = [];
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly i64: BigInt64Array;
  readonly f64: Float64Array;
  readonly view: DataView;
  /** What is left lies between. */
  private end = PAGE_BYTES;
  private top: number;

  constructor(memory: WebAssembly.Memory, shared: boolean) {
    const { buffer } = memory;
    this.memory = memory;
    this.bytes = buffer.byteLength;
    this.top = this.bytes;
    this.shared = shared;
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.i64 = new BigInt64Array(buffer);
    this.f64 = new Float64Array(buffer);
    this.view = new DataView(buffer);
  }

  get free(): number {
    return this.top - this.end;
  }

  allocate(name: string, size: number, alignment = 16): number {
    checkSize(name, size, alignment);
    const offset = Math.ceil(this.end / alignment) * alignment;
    this.checkRoom(name, size, this.top - offset);
    this.end = offset + size;
    this.note({ name, offset, bytes: size });
    return offset;
  }

  allocateTop(name: string, size: number, alignment = 16): number {
    checkSize(name, size, alignment);
    const offset = Math.floor((this.top - size) / alignment) * alignment;
    this.checkRoom(name, size, offset + size - this.end);
    this.top = offset;
    this.note({ name, offset, bytes: size });
    return offset;
  }

  private checkRoom(name: string, size: number, room: number): void {
    if (size <= room) return;
    const left = `${megabytes(Math.max(0, room))} of ${megabytes(this.bytes)} are left`;
    throw new MemoryError('arena-full', `arena: '${name}' needs ${megabytes(size)}, ${left}; make the arena larger`);
  }

  private note(allocation: Allocation): void {
    const next = this.allocations.findIndex(({ offset }) => offset > allocation.offset);
    this.allocations.splice(next < 0 ? this.allocations.length : next, 0, allocation);
  }
}

function checkSize(name: string, size: number, alignment: number): void {
  if (!Number.isSafeInteger(size) || size < 0 || !Number.isSafeInteger(alignment) || alignment < 1 || (alignment & (alignment - 1)) !== 0)
    throw new MemoryError('bad-size', `arena: '${name}' asks for ${size} bytes aligned to ${alignment}; give a whole size and a power of two`);
}

/** Makes the arena; throws `MemoryError` (`bad-size`) when the host cannot give it. */
export function createArena(options: ArenaOptions): Arena {
  const shared = options.shared ?? false;
  const memory = createMemory(options.bytes, shared);
  options.onReserved?.(memory);
  return new LinearArena(memory, shared);
}
