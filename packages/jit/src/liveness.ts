import type { Facts } from '@nestvm/semantics';
import type { ArenaViews } from './arena-views.js';
import type { Block } from './block.js';
import { linkedHead, type Region } from './region.js';

/** Set all six flags whatever they were, and read none. */
const SETS = new Set(['ADD', 'SUB', 'AND', 'OR', 'XOR', 'CMP', 'TEST', 'NEG']);
/** Have nothing to do with flags. */
const LEAVES = new Set(['MOV', 'MOVZX', 'MOVSX', 'MOVSXD', 'LEA', 'NOP', 'CBW', 'CWD', 'BSWAP', 'NOT', 'XCHG', 'ENDBR64', 'ENDBR32']);
/** How many jumps to look behind. */
const DEPTH = 3;

const cannotLeave = (facts: Facts): boolean => !facts.memory || facts.row.mnemonic === 'LEA' || facts.row.mnemonic === 'NOP';

/** Whether somebody may see the flags that are in force at the start of a block: an instruction, or whoever looks when the region is left. */
export function needsFlags(views: ArenaViews, region: Region, block: Block, depth = DEPTH): boolean {
  for (const { facts } of block.steps) {
    const { mnemonic } = facts.row;
    if (SETS.has(mnemonic) && cannotLeave(facts)) return false;
    if (mnemonic === 'JMP' && block.taken !== null) break;
    if (!LEAVES.has(mnemonic) || !cannotLeave(facts)) return true;
  }
  const edge = block.end === 'fall-through' ? block.next : block.end === 'jump' && block.next === null ? block.taken : null;
  if (edge === null || depth === 0) return true;
  const place = region.places.get(linkedHead(views, block, edge));
  const here = region.places.get(block.head)!;
  // A jump backward checks the budget, and may leave there.
  if (place === undefined || place <= here) return true;
  return needsFlags(views, region, region.blocks[place]!, depth - 1);
}
