import { Context } from './context.js';
import { Rights, Walked } from './guest/walk.js';
import { GuestWalker } from './guest/walker.js';
import { Stage } from './nested/guest-space.js';
import { StageRight } from './nested/stage-walk.js';
import type { GuestTables, Shadow, ShadowEntry, ShadowRights, ShadowRoots } from './shadow.js';
import { ShadowRecorder } from './shadow-recorder.js';

const DROPS = {
  guest: ['INVLPG', 'INVPCID', 'MOV to CR3', 'MOV to CR4 or CR0 that flushes', 'a page fault at the address'],
  vmx: ['INVVPID'],
  svm: ['INVLPGA', 'TLB_CONTROL of the ASID'],
  ept: ['INVEPT of the root', 'an EPT violation at the address'],
  npt: ['TLB_CONTROL of the ASID'],
};

function guestContext({ paging, noExecute = false, largePages = false }: GuestTables): number {
  return paging | (noExecute ? Context.NXE : 0) | (largePages ? Context.PSE : 0);
}

/**
 * Walks a linear address (int32 halves) through the guest's tables and the second stage, and merges what they say into one translation (the *shadow* of
 * hypervisors that keep such tables in memory; here the TLB holds them). Nothing is changed: no flag is set, nothing is cached.
 */
export function combine(roots: ShadowRoots, lo: number, hi: number): Shadow {
  const recorder = new ShadowRecorder(roots);
  const registers = new Int32Array(10);
  const { cr3, pdptes = [] } = roots.guest;
  registers[0] = cr3 | 0;
  registers[1] = Math.floor(cr3 / 0x1_0000_0000);
  registers.set(pdptes.slice(0, 8), 2);
  const { memory, maxPhysicalAddress = 40, pages1g = true } = roots;
  const walker = new GuestWalker({ memory, tables: recorder, registers, cr3: 0, pdptes: 2, maxPhysicalAddress, pages1g });
  walker.pdptesInMemory = roots.nested?.stage === Stage.NPT;
  const walked = walker.run(lo, hi, guestContext(roots.guest));
  const outcome = walked === Walked.MAPPED ? 'mapped' : walked === Walked.RESERVED ? 'guest-reserved' : 'guest-not-present';
  if (walked === Walked.MAPPED) recorder.addGuestDuties(walker.walk.depth);
  const guestPhysical = walker.walk.page * 4096 + (lo & 0xfff);
  const physical = outcome !== 'mapped' || roots.nested === undefined ? guestPhysical : recorder.access(guestPhysical);
  const failed = recorder.refusal ?? (outcome === 'mapped' ? undefined : outcome);
  const { steps, duties } = recorder;
  const droppedBy = drops(roots.nested?.stage);
  if (failed !== undefined) return { outcome: failed, steps, entry: undefined, duties: [], droppedBy };
  return { outcome: 'mapped', steps, entry: merge(walker, recorder, physical, guestPhysical, roots.nested !== undefined), duties, droppedBy };
}

function merge(walker: GuestWalker, recorder: ShadowRecorder, physical: number, guestPhysical: number, nested: boolean): ShadowEntry {
  const { rights, sizeShift } = walker.walk;
  const stage = recorder.stages.walk;
  const granted = nested ? stage.rights : StageRight.READ | StageRight.WRITE | StageRight.EXECUTE | StageRight.USER_EXECUTE;
  const userPage = (rights & Rights.USER) !== 0;
  const execute = (granted & (userPage ? StageRight.USER_EXECUTE : StageRight.EXECUTE)) !== 0;
  const supervisor = {
    read: (granted & StageRight.READ) !== 0,
    write: (granted & StageRight.WRITE) !== 0 && (rights & Rights.WRITE) !== 0,
    execute: execute && (rights & Rights.NO_EXECUTE) === 0,
  };
  const user = userPage ? supervisor : { read: false, write: false, execute: false };
  const smaller = nested ? Math.min(sizeShift, stage.sizeShift) : sizeShift;
  return { physical, guestPhysical, sizeShift: smaller, guestSizeShift: sizeShift, user, supervisor };
}

function drops(stage: number | undefined): Shadow['droppedBy'] {
  if (stage === undefined || stage === Stage.NONE) return { guest: DROPS.guest, nested: [] };
  const ept = stage === Stage.EPT;
  return { guest: [...DROPS.guest, ...(ept ? DROPS.vmx : DROPS.svm)], nested: ept ? DROPS.ept : DROPS.npt };
}

const hex = (value: number | bigint): string => value.toString(16);

/** A shadow as lines of text: each entry read, and what comes out. */
export function formatShadow(shadow: Shadow): string[] {
  const lines = shadow.steps.map(({ stage, level, address, entry, guestPhysical }) => {
    const indent = stage === 'nested' ? '    ' : '';
    return `${indent}${stage} level ${level}: entry ${hex(entry)} at ${hex(address)}, guest-physical ${hex(guestPhysical)}`;
  });
  const { entry } = shadow;
  if (entry === undefined) return [...lines, shadow.outcome];
  const rights = (name: string, { read, write, execute }: ShadowRights): string =>
    `${name} ${read ? 'r' : '-'}${write ? 'w' : '-'}${execute ? 'x' : '-'}`;
  lines.push(
    `physical ${hex(entry.physical)}, ${hex(2 ** entry.sizeShift)} bytes, ${rights('user', entry.user)}, ${rights('supervisor', entry.supervisor)}`,
  );
  for (const { step, flag, when } of shadow.duties) lines.push(`${flag} to be set in ${hex(step.address)}${when === 'write' ? ' by a write' : ''}`);
  return lines;
}
