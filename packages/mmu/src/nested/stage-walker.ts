import { Paging } from '../context.js';
import { aboveWidth, reserved4mBits } from '../guest/walker.js';
import { walkEpt } from './ept.js';
import type { GuestSpace } from './guest-space.js';
import { Stage } from './guest-space.js';
import { walkNpt } from './npt.js';
import type { StageTables } from './stage-tables.js';
import { StageWalk } from './stage-walk.js';

/** Page number of an address below 2^52. */
export const pageOf = (address: number): number => (address < 0x1_0000_0000 ? address >>> 12 : Math.floor(address / 4096));

/** Walks the second stage of a space, EPT or NPT, changing nothing. */
export class StageWalker {
  readonly walk = new StageWalk();
  /** Address bits of an entry's high half above the physical-address width. */
  readonly reservedHigh: number;
  private readonly format: { modes: number; readonly reservedHigh: number; readonly reserved4m: number };

  constructor(
    private readonly tables: StageTables,
    maxPhysicalAddress: number,
  ) {
    this.reservedHigh = aboveWidth(maxPhysicalAddress);
    this.format = { modes: 0, reservedHigh: this.reservedHigh, reserved4m: reserved4mBits(maxPhysicalAddress) };
  }

  /** Walks for a guest-physical address; a `StageWalked` value, the rest is in `walk`. */
  run(space: Pick<GuestSpace, 'stage' | 'paging' | 'root' | 'modes'>, address: number): number {
    const { tables, walk, format } = this;
    const lo = address | 0;
    const hi = address < 0x1_0000_0000 ? 0 : Math.floor(address / 0x1_0000_0000);
    if (space.stage === Stage.EPT) {
      return walkEpt(tables, walk, lo, hi, space.paging === Paging.LEVEL5 ? 5 : 4, pageOf(space.root), space.modes, this.reservedHigh);
    }
    format.modes = space.modes;
    return walkNpt(tables, walk, lo, hi, space.paging, space.root, format);
  }
}
