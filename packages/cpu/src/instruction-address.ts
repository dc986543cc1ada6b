import { vcpuState } from '@nestvm/isa';
import { Record } from './interpreter/record.js';

const BLOCK_RIP = vcpuState.offset.blockRip / 4;
const EXIT_RECORD = vcpuState.offset.exitRecord / 4;

/**
 * RIP of the instruction whose slow path is running on the vCPU at arena offset `base`: while a block runs, RIP itself is not up to date. Between instructions
 * it is that of the last one that left generated code.
 */
export function instructionAddress(buffer: ArrayBufferLike, base: number): bigint {
  const words = new Uint32Array(buffer, base, vcpuState.size / 4);
  const offset = new DataView(buffer).getUint16(words[EXIT_RECORD]! + Record.BLOCK_OFFSET, true);
  return BigInt.asUintN(64, (BigInt(words[BLOCK_RIP + 1]!) << 32n) + BigInt(words[BLOCK_RIP]!) + BigInt(offset));
}
