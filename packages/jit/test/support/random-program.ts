import { At } from './board.js';

/** A small repeatable generator (xorshift32). */
export function random(seed: number): (below: number) => number {
  let state = (seed * 2654435761) | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

type Next = (below: number) => number;

/** Registers that programs compute with: neither the stack pointer nor the base of the data (RBP), nor the counters of loops (R13 to R15). */
const REGISTERS = [0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 12];
const pick = <T>(next: Next, list: readonly T[]): T => list[next(list.length)] as T;

/** REX, opcode bytes and ModRM for a register or a place in the data. */
function operands(next: Next, opcode: readonly number[], reg: number, options: { size?: number; memory?: boolean } = {}): number[] {
  const size = options.size ?? pick(next, [1, 2, 4, 4, 8, 8]);
  const memory = options.memory ?? next(3) === 0;
  const rm = pick(next, REGISTERS);
  const bytes: number[] = size === 2 ? [0x66] : [];
  const rex = 0x40 | (size === 8 ? 8 : 0) | (reg & 8 ? 4 : 0) | (!memory && rm & 8 ? 1 : 0);
  // Without REX byte registers 4 to 7 are AH, CH, DH, BH: both are wanted.
  if (rex !== 0x40 || next(2) === 0) bytes.push(rex);
  bytes.push(...opcode.slice(0, -1), opcode[opcode.length - 1]! | (size === 1 ? 0 : 1));
  if (!memory) return [...bytes, 0xc0 | ((reg & 7) << 3) | (rm & 7)];
  // [rbp + disp32], near the end of a page now and then.
  const displacement = next(8) === 0 ? 0xff8 + next(16) : next(At.DATA_BYTES - 16);
  return [...bytes, 0x85 | ((reg & 7) << 3), displacement & 255, displacement >>> 8, 0, 0];
}

type Maker = (next: Next) => number[];
const wide = (next: Next): number => pick(next, [4, 8]);
/** Instructions by the bytes that they begin with; sizes above a byte set the lowest bit of the opcode. */
const MAKERS: readonly Maker[] = [
  // ADD OR ADC SBB AND SUB XOR CMP, both directions
  (n) => operands(n, [pick(n, [0x00, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38]) | (n(2) << 1)], pick(n, REGISTERS)),
  (n) => operands(n, [pick(n, [0x38, 0x84, 0x28, 0x00])], pick(n, REGISTERS)),
  // with an immediate
  (n) => {
    const size = pick(n, [4, 8]);
    return [...operands(n, [0x82], n(8), { size }), n(256)];
  },
  (n) => operands(n, [0x88 | (n(2) << 1)], pick(n, REGISTERS)),
  // INC DEC NOT NEG
  (n) => operands(n, [0xfe], n(2)),
  (n) => operands(n, [0xf6], 2 + n(2)),
  // shifts and rotations by an immediate, by one, by CL
  (n) => [...operands(n, [0xc0], n(8)), n(70)],
  (n) => operands(n, [0xd0], n(8)),
  (n) => operands(n, [0xd2], n(8)),
  // IMUL, MUL
  (n) => operands(n, [0x0f, 0xaf], pick(n, REGISTERS), { size: wide(n) }),
  (n) => operands(n, [0xf6], 4 + n(2)),
  // MOVZX, MOVSX of a byte; SETcc; CMOVcc
  (n) => operands(n, [0x0f, 0xb6], pick(n, REGISTERS), { size: 1 }),
  (n) => operands(n, [0x0f, 0xbe], pick(n, REGISTERS), { size: 1 }),
  (n) => operands(n, [0x0f, 0x90 | n(16)], 0, { size: 1 }),
  (n) => operands(n, [0x0f, 0x40 | (n(8) << 1)], pick(n, REGISTERS), { size: wide(n) }),
  // BT BTS BTR with a register; SHLD by CL; XADD; CMPXCHG; XCHG
  (n) => operands(n, [0x0f, pick(n, [0xa2, 0xaa, 0xb2])], pick(n, REGISTERS), { size: wide(n), memory: false }),
  (n) => operands(n, [0x0f, 0xa4], pick(n, REGISTERS), { size: wide(n) }),
  (n) => operands(n, [0x0f, pick(n, [0xc0, 0xb0])], pick(n, REGISTERS)),
  (n) => operands(n, [0x86], pick(n, REGISTERS)),
  // CMC CLC STC; LAHF; CDQ; CBW; PUSHF, POP
  (n) => [pick(n, [0xf5, 0xf8, 0xf9, 0x9f, 0x99, 0x98])],
  () => [0x9c, 0x59],
  // PUSH, POP
  (n) => [0x50 | pick(n, [0, 1, 2, 3, 6, 7]), 0x58 | pick(n, [0, 1, 2, 3, 6, 7])],
  // PADDD, PXOR, PAND, MOVDQU
  (n) => [0x66, 0x0f, pick(n, [0xfe, 0xef, 0xdb, 0xd4]), 0xc0 | n(64)],
  (n) => [0xf3, 0x0f, pick(n, [0x6f, 0x7f]), 0x85 | (n(8) << 3), n(256), n(60), 0, 0],
  // ADD MUL SUB DIV SQRT MIN MAX and conversions between formats, of scalars and (without conversions) of vectors; UCOMISx
  (n) => [pick(n, [0xf2, 0xf3]), 0x0f, pick(n, [0x58, 0x59, 0x5c, 0x5e, 0x51, 0x5d, 0x5f, 0x5a]), 0xc0 | n(64)],
  (n) => [0x66, 0x0f, pick(n, [0x58, 0x59, 0x5c, 0x5e, 0x51, 0x5d, 0x5f, 0x2e]), 0xc0 | n(64)],
  // CVTSI2SD, CVTTSD2SI and the like of 64 bits; MOVSD from and to the data
  (n) => [pick(n, [0xf2, 0xf3]), 0x48, 0x0f, 0x2a, 0xc0 | (n(8) << 3) | pick(n, [0, 1, 2, 3, 6, 7])],
  (n) => [pick(n, [0xf2, 0xf3]), 0x48, 0x0f, pick(n, [0x2c, 0x2d]), 0xc0 | (pick(n, [0, 1, 2, 3, 6, 7]) << 3) | n(8)],
  (n) => [0xf2, 0x0f, pick(n, [0x10, 0x11]), 0x85 | (n(8) << 3), n(256), n(60), 0, 0],
  // FLD1, FLDZ, FXCH, FADD, FMUL, FSUB, FDIV, FCOMI; FLD, FST, FSTP of 32 and 64 bits; FILD, FISTP; FNSTSW AX; FSQRT
  (n) =>
    pick(n, [
      [0xd9, 0xe8],
      [0xd9, 0xee],
      [0xd9, 0xc8 | n(8)],
      [0xd8, 0xc0 | n(4) | (n(8) << 3)],
      [0xdb, 0xf0 | n(8)],
      [0xdf, 0xe0],
      [0xd9, 0xfa],
    ]),
  (n) => [pick(n, [0xd9, 0xdd]), 0x85 | (pick(n, [0, 2, 3]) << 3), n(256), n(60), 0, 0],
  (n) => [pick(n, [0xdb, 0xdf]), 0x85 | (pick(n, [0, 3]) << 3), n(256), n(60), 0, 0],
  // MOV ECX, n; LEA RSI, [data]; LEA RDI, [data]; REP MOVS or STOS of bytes or quadwords
  (n) => [0xb9, n(100), 0, 0, 0, ...addressInData(n, 6), ...addressInData(n, 7), 0xf3, ...pick(n, [[0xa4], [0xaa], [0x48, 0xa5], [0x48, 0xab]])],
  // LEA
  (n) => [0x48, 0x8d, 0x44 | (pick(n, [0, 1, 2, 3, 6, 7]) << 3), pick(n, [0x08, 0x4a, 0x93]), n(256)],
];

/** LEA of an address in the data into a register. */
const addressInData = (n: Next, register: number): number[] => [0x48, 0x8d, 0x85 | (register << 3), n(256), n(56), 0, 0];

/** `mov r32, n`, and `dec r64`, of the counter of a loop by how deep it is inside of others. */
const COUNTERS = [
  { set: [0x41, 0xbe], decrement: [0x49, 0xff, 0xce] },
  { set: [0x41, 0xbd], decrement: [0x49, 0xff, 0xcd] },
] as const;
const word = (value: number): number[] => [value & 255, (value >> 8) & 255, (value >> 16) & 255, (value >> 24) & 255];

const SLOT_BYTES = 64;
/** One of four ways by R15: lea rax, [rip + slots]; mov ecx, r15d; and ecx, 3; shl ecx, 6; add rax, rcx; jmp rax. */
function chosenWay(next: Next, loops: number): number[] {
  const bytes = [0x48, 0x8d, 0x05, 14, 0, 0, 0, 0x44, 0x89, 0xf9, 0x83, 0xe1, 3, 0xc1, 0xe1, 6, 0x48, 0x01, 0xc8, 0xff, 0xe0];
  for (let way = 3; way >= 0; way--) {
    let inner = stretch(next, 0, loops);
    if (inner.length > SLOT_BYTES - 5) inner = [];
    const rest = SLOT_BYTES - 5 - inner.length;
    bytes.push(...inner, 0xe9, ...word(rest + way * SLOT_BYTES), ...new Array<number>(rest).fill(0x90));
  }
  return bytes;
}

/** A few instructions, then, often, a jump on a condition over some of them, a loop, or a jump to one of several. */
function stretch(next: Next, depth: number, loops = 0): number[] {
  const bytes: number[] = [];
  for (let i = next(5); i >= 0; i--) bytes.push(...pick(next, MAKERS)(next));
  if (depth > 0 && next(3) > 0) {
    const inner = stretch(next, depth - 1, loops);
    if (inner.length < 120) bytes.push(0x70 | next(16), inner.length, ...inner);
  }
  const counter = COUNTERS[loops];
  if (depth > 0 && next(3) === 0 && counter !== undefined) {
    const inner = [...stretch(next, depth - 1, loops + 1), ...counter.decrement];
    bytes.push(...counter.set, ...word(1 + next(6)), ...inner, 0x0f, 0x85, ...word(-inner.length - 6));
  }
  if (depth > 0 && next(4) === 0) bytes.push(...chosenWay(next, loops));
  return bytes;
}

/** Where to, and how: a direct call, or one of two functions by R15: lea rax, [rip + a]; lea rcx, [rip + b]; test r15b, 1; cmovz rax, rcx; call rax. */
function callOf(next: Next, functions: readonly number[], here: number): number[] {
  if (next(2) === 0) return [0xe8, ...word(pick(next, functions) - (here + 5))];
  const [a, b] = [pick(next, functions), pick(next, functions)];
  return [
    0x48,
    0x8d,
    0x05,
    ...word(a - (here + 7)),
    0x48,
    0x8d,
    0x0d,
    ...word(b - (here + 14)),
    0x41,
    0xf6,
    0xc7,
    1,
    0x48,
    0x0f,
    0x44,
    0xc1,
    0xff,
    0xd0,
  ];
}

/** A program: turns of a loop over random instructions, inner loops and jumps, and functions that are called; then HLT. */
export function randomProgram(next: Next, turns: number, data: number = At.DATA): number[] {
  // mov rbp, data; mov r15d, turns; jmp over the functions
  const bytes = [0x48, 0xc7, 0xc5, ...word(data), 0x41, 0xbf, ...word(turns)];
  const bodies = [stretch(next, 1, 1), stretch(next, 2, 1)].map((body) => [...body, 0xc3]);
  bytes.push(0xe9, ...word(bodies[0]!.length + bodies[1]!.length));
  const functions = bodies.map((body) => bytes.push(...body) - body.length);
  const loop = bytes.length;
  for (let i = 2 + next(4); i > 0; i--) {
    bytes.push(...stretch(next, 3));
    if (next(2) === 0) bytes.push(...callOf(next, functions, bytes.length));
  }
  bytes.push(...callOf(next, functions, bytes.length), 0x49, 0xff, 0xcf, 0x0f, 0x85);
  return [...bytes, ...word(loop - (bytes.length + 4)), 0xf4];
}
