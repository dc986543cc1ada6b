import { Segment } from '@nestvm/isa';
import { RIP, SEG_BASE, SEG_LIMIT } from '../words.js';

export const RIP_WORD = RIP;
export const CODE_CS_LIMIT = SEG_LIMIT + Segment.CS;
export const CODE_CS_BASE = SEG_BASE + 2 * Segment.CS;
