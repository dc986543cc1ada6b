import type { PhysicalMemory } from '@nestvm/memory';
import { Paging } from './context.js';
import { Tables } from './guest/tables.js';
import { Entry } from './guest/walk.js';
import { EptEntry } from './nested/ept.js';
import { SpaceMode, Stage } from './nested/guest-space.js';
import { StageTables } from './nested/stage-tables.js';
import { StageWalked } from './nested/stage-walk.js';
import { StageWalker } from './nested/stage-walker.js';
import type { SecondStage } from './second-stage.js';
import type { ShadowDuty, ShadowRoots, ShadowStep } from './shadow.js';

/** Level of the first entry that a walk reads. */
function topLevel(paging: number, stage: number | undefined): number {
  if (paging === Paging.LEVEL5) return 5;
  if (paging === Paging.LEVEL4) return 4;
  return paging === Paging.PAE && stage === Stage.NPT ? 3 : 2;
}

/** Second-stage tables that tell of each entry read. */
class NotedStageTables extends StageTables {
  constructor(
    memory: PhysicalMemory,
    private readonly note: (address: number, low: number, high: number) => void,
  ) {
    super(memory);
  }

  override load(address: number): void {
    super.load(address);
    this.note(address, this.low, this.high);
  }

  override load32(address: number): void {
    super.load32(address);
    this.note(address, this.low, this.high);
  }
}

/** Reads the tables of both stages, changes nothing, and notes every entry. */
export class ShadowRecorder extends Tables implements SecondStage {
  readonly steps: ShadowStep[] = [];
  readonly duties: ShadowDuty[] = [];
  readonly rights = 0;
  /** Why the second stage does not map an address. */
  refusal: 'nested-not-present' | 'nested-misconfigured' | undefined;
  readonly stages: StageWalker;
  private guestLevel: number;
  private nestedLevel = 0;
  /** The guest-physical address that the second stage is working on, and where its last answer is. */
  private translating = 0;
  private answer = 0;

  constructor(private readonly roots: ShadowRoots) {
    super(roots.memory);
    const tables = new NotedStageTables(roots.memory, (address, low, high) =>
      this.note('nested', this.nestedLevel--, address, low, high, this.translating),
    );
    this.stages = new StageWalker(tables, roots.maxPhysicalAddress ?? 40);
    if (roots.nested !== undefined) this.secondStage = this;
    this.guestLevel = topLevel(roots.guest.paging, roots.nested?.stage);
  }

  begin(): void {
    this.refusal = undefined;
  }

  table(address: number): number {
    return this.nested(address, true);
  }

  access(address: number): number {
    return this.nested(address, false);
  }

  peek(address: number): number {
    return this.nested(address, false);
  }

  override load(address: number): boolean {
    if (!super.load(address)) return false;
    this.noteGuest(address);
    return true;
  }

  override load32(address: number): boolean {
    if (!super.load32(address)) return false;
    this.noteGuest(address);
    return true;
  }

  /** Adds the flags that are missing in the last `depth` entries of the guest's own walk. */
  addGuestDuties(depth: number): void {
    const used = this.steps.filter(({ stage }) => stage === 'guest');
    this.addDuties(used.slice(used.length - depth), Entry.A, Entry.D, 'write');
  }

  private noteGuest(address: number): void {
    this.note('guest', this.guestLevel--, this.secondStage === null ? address : this.answer, this.low, this.high, address);
  }

  private note(stage: 'guest' | 'nested', level: number, address: number, low: number, high: number, guestPhysical: number): void {
    this.steps.push({ stage, level, address, entry: (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0), guestPhysical });
  }

  private nested(address: number, table: boolean): number {
    const space = this.roots.nested!;
    const first = this.steps.length;
    this.translating = address;
    this.nestedLevel = topLevel(space.paging, Stage.NPT);
    const walked = this.stages.run(space, address);
    if (walked !== StageWalked.MAPPED) {
      this.refusal = walked === StageWalked.NOT_PRESENT ? 'nested-not-present' : 'nested-misconfigured';
      return -1;
    }
    const ept = space.stage === Stage.EPT;
    // The PDPTEs of PAE tables have no flags.
    const used = this.steps.slice(!ept && space.paging === Paging.PAE ? first + 1 : first);
    if (ept && (space.modes & SpaceMode.ACCESSED_DIRTY) !== 0) this.addDuties(used, EptEntry.ACCESSED, EptEntry.DIRTY, table ? 'always' : 'write');
    if (!ept) this.addDuties(used, Entry.A, Entry.D, table ? 'always' : 'write');
    this.answer = this.stages.walk.page * 4096 + (address & 0xfff);
    return this.answer;
  }

  private addDuties(used: readonly ShadowStep[], accessed: number, dirty: number, dirtyWhen: 'always' | 'write'): void {
    used.forEach((step, i) => {
      if ((step.entry & BigInt(accessed)) === 0n) this.addDuty({ step, flag: 'accessed', when: 'always' });
      if (i === used.length - 1 && (step.entry & BigInt(dirty)) === 0n) this.addDuty({ step, flag: 'dirty', when: dirtyWhen });
    });
  }

  /** An entry that several parts of the walk use is flagged once. */
  private addDuty(duty: ShadowDuty): void {
    const known = this.duties.findIndex(({ step, flag }) => step.address === duty.step.address && flag === duty.flag);
    if (known < 0) this.duties.push(duty);
    else if (duty.when === 'always') this.duties[known] = duty;
  }
}
