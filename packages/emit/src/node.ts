import type { MemoryInstruction, NumericInstruction, Signature, ValueType } from '@nestvm/wasm';

/** What a node of the program is. */
export const Kind = {
  /** A parameter of the function: `index` says which. */
  PARAM: 0,
  /** A constant: `value` (number for i32, bigint for i64, number for floats, 16 bytes for v128). */
  CONST: 1,
  /** A computation without effects: `instruction`, `args`, for lane instructions `index`. */
  OP: 2,
  /** A load: `memory`, one argument (the address), `index` is the static offset. */
  LOAD: 3,
  /** The value of a variable at this point: `index` is the variable's number. */
  GET: 4,
  /** The result of a call statement. */
  RESULT: 5,
  /** A choice between two values by a condition: args [a, b, condition]. */
  SELECT: 6,
  /** i8x16.shuffle with 16 lane numbers in `value`. */
  SHUFFLE: 7,
} as const;

/** One value of the program. Nodes are made once, in source order, and may be used any number of times. */
export interface Node {
  readonly kind: number;
  readonly type: ValueType;
  readonly args: readonly Node[];
  readonly instruction: NumericInstruction | null;
  readonly memory: MemoryInstruction | null;
  readonly index: number;
  readonly value: number | bigint | Uint8Array | null;
  /** Set by the placement of values: when the node was made, on the clock of effects. */
  born: number;
  /** Times that other nodes and statements use it. */
  uses: number;
  /** Set by the placement of values: uses by what is computed, and those of them outside of code that hardly ever runs. */
  wanted: number;
  common: number;
  /** Set by the code generator: the node must be computed where it was made, into a local. */
  pinned: boolean;
  /** Local that holds it, or -1. */
  local: number;
  /** Uses not yet emitted. */
  left: number;
  /** Loop depth at which its local was filled. */
  depth: number;
}

/** A function that calls can name before it exists. */
export interface FunctionRef {
  readonly name: string;
  readonly signature: Signature;
  /** True when it only computes on its arguments and reads memory that nobody writes meanwhile. */
  readonly pure?: boolean;
}

/** A table of tagged entries, as a TLB is one: see `Code.lookUp`. */
export interface LookUpForm {
  /** An entry's offset is ((key + bias) >>> shift) & mask; both this and `span` may change until the code is encoded. */
  readonly bias: number;
  readonly shift: number;
  readonly mask: number;
  /** The entry's tag, an i64 at its start, is (key + bias + span) & tagMask when it has the key. */
  readonly span: number;
  readonly tagMask: number;
  /** Offset in the entry of the i32 that is added to the key. */
  readonly addend: number;
}

/** One step of a function body, in order. */
export type Statement =
  | { readonly kind: 'define'; readonly node: Node }
  | {
      readonly kind: 'store';
      readonly memory: MemoryInstruction;
      readonly address: Node;
      readonly offset: number;
      readonly value: Node;
    }
  | { readonly kind: 'set'; readonly variable: number; readonly value: Node }
  | { readonly kind: 'call'; readonly target: FunctionRef; readonly args: readonly Node[]; readonly result: Node | null }
  | {
      readonly kind: 'if';
      readonly condition: Node;
      readonly then: readonly Statement[];
      readonly otherwise: readonly Statement[];
      /** The code inside hardly ever runs. */
      readonly rare?: boolean;
    }
  | { readonly kind: 'block'; readonly label: number; readonly body: readonly Statement[] }
  | { readonly kind: 'loop'; readonly label: number; readonly body: readonly Statement[] }
  | { readonly kind: 'branch'; readonly label: number; readonly condition: Node | null }
  | {
      readonly kind: 'look-up';
      readonly key: Node;
      /** The variable that holds the table's address. */
      readonly table: number;
      readonly form: LookUpForm;
      readonly miss: readonly Statement[];
      readonly result: Node;
    }
  | { readonly kind: 'branch-table'; readonly labels: readonly number[]; readonly otherwise: number; readonly index: Node }
  | { readonly kind: 'return'; readonly values: readonly Node[] }
  | {
      readonly kind: 'tail-call-indirect';
      readonly signature: Signature;
      readonly args: readonly Node[];
      readonly target: Node;
    }
  | { readonly kind: 'tail-call'; readonly target: FunctionRef; readonly args: readonly Node[] }
  | { readonly kind: 'call-indirect'; readonly signature: Signature; readonly args: readonly Node[]; readonly target: Node }
  | { readonly kind: 'memory-copy' | 'memory-fill'; readonly target: Node; readonly source: Node; readonly length: Node }
  | { readonly kind: 'unreachable' };
