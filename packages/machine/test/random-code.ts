import { Gpr, Segment, vcpuState } from '@nestvm/isa';
import type { Machine } from '../src/index.js';

/** A small repeatable generator (xorshift32). */
export function random(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** Above what the loader needs: its GDT and page tables are in the first 64 KiB. */
const IDT = 0x20000;
const HANDLERS = 0x30000;
const CODE_BYTES = 0x1000;
/** Code and stack, in 16-bit code by a segment of its own. */
const PLACES = { 16: { segment: 0x1000, code: 0x8000, stack: 0xf000 }, 32: { segment: 0, code: 0x18000, stack: 0x1f000 } } as const;
/** Vectors that push an error code. */
const WITH_ERROR = new Set([8, 10, 11, 12, 13, 14, 17, 21]);

/** A handler that steps over one byte of what faulted: so that random code goes on for a while. */
const HANDLER = {
  // push bp; mov bp, sp; inc word [bp+2]; pop bp; iret
  16: [0x55, 0x89, 0xe5, 0xff, 0x46, 0x02, 0x5d, 0xcf],
  // inc dword [esp]; iret
  32: [0xff, 0x04, 0x24, 0xcf],
  // inc qword [rsp]; iretq
  64: [0x48, 0xff, 0x04, 0x24, 0x48, 0xcf],
} as const;
/** Drops the error code: add esp, 4; add rsp, 8. */
const DROP = { 16: [], 32: [0x83, 0xc4, 0x04], 64: [0x48, 0x83, 0xc4, 0x08] } as const;

function gate(bits: 16 | 32 | 64, selector: number, offset: number): number[] {
  if (bits === 16) return [offset & 15, 0, (offset >> 4) & 0xff, offset >> 12];
  const head = [offset & 0xff, (offset >> 8) & 0xff, selector & 0xff, selector >> 8, 0, 0x8e, (offset >> 16) & 0xff, offset >>> 24];
  return bits === 32 ? head : [...head, 0, 0, 0, 0, 0, 0, 0, 0];
}

/** Handlers for every vector, and the table that leads to them. */
function writeHandlers(machine: Machine, bits: 16 | 32 | 64): void {
  const [cpu] = machine.cpus;
  const selector = cpu!.h[vcpuState.offset.segSelector / 2 + Segment.CS]!;
  const table: number[] = [];
  for (let vector = 0; vector < 256; vector++) {
    const address = HANDLERS + vector * 16;
    table.push(...gate(bits, selector, address));
    machine.memory.write(address, Uint8Array.from([...(WITH_ERROR.has(vector) ? DROP[bits] : []), ...HANDLER[bits]]));
  }
  const base = bits === 16 ? 0 : IDT;
  machine.memory.write(base, Uint8Array.from(table));
  cpu!.set64('idtrBase', BigInt(base));
  cpu!.set32('idtrLimit', table.length - 1);
}

/** Bytes that are instructions more often than chance would have it: prefixes, two- and three-byte opcodes, VEX. */
const LIKELY = [0x0f, 0x66, 0xf2, 0xf3, 0x48, 0x0f, 0xc5, 0xc4, 0x8b, 0x89, 0xff, 0xd8, 0xdf, 0xe4, 0xee, 0xa5, 0xf0, 0x65];

/** Puts random code, registers and handlers into a machine that has just been reset; `bits` is the mode it starts in. */
export function scramble(machine: Machine, bits: 16 | 32 | 64, next: (below: number) => number): void {
  const cpu = machine.cpus[0]!;
  const { segment, code, stack } = PLACES[bits === 16 ? 16 : 32];
  writeHandlers(machine, bits);
  machine.memory.write(
    segment * 16 + code,
    Uint8Array.from({ length: CODE_BYTES }, () => (next(4) === 0 ? LIKELY[next(LIKELY.length)]! : next(256))),
  );
  for (let i = 0; i < 16; i++) cpu.setGpr(i, BigInt(next(3) === 0 ? next(0x10000) : next(2 ** 32)));
  cpu.setGpr(Gpr.RSP, BigInt(stack));
  cpu.rip = BigInt(code);
  if (bits !== 16) return;
  for (const register of [Segment.CS, Segment.SS]) {
    cpu.h[vcpuState.offset.segSelector / 2 + register] = segment;
    cpu.set64('segBase', BigInt(segment * 16), register);
  }
}
