import { buildModule, type Code, defineFunction, type FunctionDefinition, type Val } from '@nestvm/emit';
import type { Arena } from '@nestvm/memory';
import { SEG_ATTRIBUTES, SEG_BASE, SEG_LIMIT, SEG_SELECTOR } from './words.js';

/** What happens to 32 bits on their way. */
export type Conversion = (value: Val<32>) => Val<32>;

/** One step of a transfer: so many bits from a byte offset of the source to one of the target, or a constant to the target. */
export interface Move {
  readonly bits: 16 | 32 | 64;
  readonly to: number;
  /** Where from; left out for a constant. */
  readonly from?: number;
  readonly value?: number;
  /** For 32 bits; the source may be 16 bits wide then (`narrow`), extended with zeros. */
  readonly convert?: Conversion;
  readonly narrow?: boolean;
}

/** A transfer of registers: from one place of the arena to another, byte offsets both, multiples of 8. */
export type Transfer = (from: number, to: number) => void;

/** Byte offsets, in the vCPU state, of the parts of a segment register. */
export const selectorOf = (segment: number): number => 2 * (SEG_SELECTOR + segment);
export const attributesOf = (segment: number): number => 4 * (SEG_ATTRIBUTES + segment);
export const limitOf = (segment: number): number => 4 * (SEG_LIMIT + segment);
export const baseOf = (segment: number): number => 4 * (SEG_BASE + 2 * segment);

/** The move of 64 bits from one word to another. */
export const moveQuad = (from: number, to: number): Move => ({ bits: 64, from: 4 * from, to: 4 * to });

const LOADS = { 16: 'i32.load16_u', 32: 'i32.load', 64: 'i64.load' } as const;
const STORES = { 16: 'i32.store16', 32: 'i32.store', 64: 'i64.store' } as const;

function emit(code: Code, { bits, to, from, value = 0, convert, narrow = false }: Move): void {
  const [source, target] = [code.param(0, 32), code.param(1, 32)];
  if (from === undefined) {
    code.store(STORES[bits], target, bits === 64 ? code.constant(64, value) : code.constant(32, value), to);
    return;
  }
  if (bits === 64) {
    code.store(STORES[64], target, code.load(LOADS[64], 64, source, from), to);
    return;
  }
  const loaded = code.load(LOADS[narrow ? 16 : bits], 32, source, from);
  code.store(STORES[bits], target, convert === undefined ? loaded : convert(loaded), to);
}

/**
 * Makes functions of tables of moves, in generated code: world switches of hypervisor extensions copy dozens of registers each time, and a loop over a table takes several times
 * as long. Steps run in order; they may be many, but each is a load and a store.
 */
export function compileTransfers<Name extends string>(
  arena: Arena,
  tables: Readonly<Record<Name, readonly Move[]>>,
): Readonly<Record<Name, Transfer>> {
  const { memory, shared } = arena;
  const pages = memory.buffer.byteLength / 65536;
  const functions: FunctionDefinition[] = Object.entries<readonly Move[]>(tables).map(([name, moves]) =>
    defineFunction(name, { params: ['i32', 'i32'], results: [] }, (code) => {
      for (const move of moves) emit(code, move);
    }),
  );
  const bytes = buildModule({ frame: { memoryPages: pages, memoryMaximum: pages, shared }, functions });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  return exports as unknown as Readonly<Record<Name, Transfer>>;
}
