import { createHash } from 'node:crypto';
import { vcpuState } from '@nestvm/isa';
import type { Interpreter } from '../../src/executor.js';
import { At, type Board } from './board.js';

/** Fields of the state that are caches, or that the way that was gone leaves behind: generated code and TypeScript may differ in them. */
export const LOOSE: readonly string[] =
  'mode tlbRead tlbWrite tlbExec bank walk budget exitReason exitRecord faultVector faultError faultHasError slowAddress scratch blockRip interruptHeld'.split(
    ' ',
  );

/** Everything that a program could see afterwards: registers without `loose` fields, and the pages of stacks, tables and code. */
export function seenBy({ cpu, arena, ram }: Board, loose: readonly string[] = LOOSE): Record<string, unknown> {
  const bytes = new Uint8Array(arena.memory.buffer);
  const state: Record<string, unknown> = { flags: cpu.readRflags() };
  const fields = Object.entries(vcpuState.offset).sort((a, b) => a[1] - b[1]);
  fields.forEach(([name, offset], i) => {
    const end = fields[i + 1]?.[1] ?? vcpuState.size;
    if (!loose.includes(name)) state[name] = Buffer.from(bytes.subarray(cpu.base + offset, cpu.base + end)).toString('hex');
  });
  state['ram'] = createHash('sha256')
    .update(bytes.subarray(ram, ram + At.HANDLER))
    .digest('hex');
  return state;
}

/** Counts the system instructions that TypeScript carries out from now on. */
export function countCalls(executor: Interpreter): () => number {
  let calls = 0;
  const carryOut = executor.systemHere.bind(executor);
  executor.systemHere = (record) => {
    calls++;
    return carryOut(record);
  };
  return () => calls;
}

/** A number of 32 bits as it stands in code. */
export const bytes32 = (value: number): number[] => [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24];
