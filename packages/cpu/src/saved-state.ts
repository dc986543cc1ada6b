import { vcpuState } from '@nestvm/isa';
import { loadStruct, type SavedStruct, type Stateful, saveStruct, stateful } from '@nestvm/state';
import { CpuError } from './errors.js';
import { updateMode } from './mode.js';
import { syncBreakpoints } from './system/debug-registers.js';
import type { Vcpu } from './vcpu.js';

const bad = (what: string): CpuError => new CpuError('bad-state', `saved vCPU: ${what}; the snapshot is damaged or of another version`);

/** What the engine relies on and no instruction checks again. */
const LIMITS: Readonly<Record<string, number>> = {
  cpl: 3,
  activity: 4,
  ftop: 7,
  ftag: 0xff,
  smm: 1,
  monitorArmed: 31,
  uif: 1,
  interruptibility: 0x3f,
};

function check(cpu: Vcpu, saved: SavedStruct): void {
  for (const [name, limit] of Object.entries(LIMITS)) {
    const value = Number(saved[name]);
    if (value > limit) throw bad(`${name} is ${value}, at most ${limit} is possible`);
  }
  if (saved['index'] !== cpu.index) throw bad(`it is vCPU ${Number(saved['index'])}, not ${cpu.index}`);
  if (saved['guestMode'] !== 0) throw bad('it claims to be in guest mode, that is, that an L2 runs; snapshots of an active L2 are refused');
}

/** What versions 2 and 3 added, with what it was before. */
const ADDED: SavedStruct = {
  waitDeadline: 0n,
  pmcCount: new Array<bigint>(9).fill(0n),
  pmcSelect: new Array<bigint>(6).fill(0n),
  pmcFixedControl: 0n,
  pmcGlobalControl: 0n,
  pmcGlobalStatus: 0n,
  uintrHandler: 0n,
  uintrStackAdjust: 0n,
  uintrMisc: 0n,
  uintrDescriptor: 0n,
  uintrRequests: 0n,
  uintrTargets: 0n,
  uif: 0,
  bounds: new Array<bigint>(8).fill(0n),
  bndCfgU: 0n,
  bndStatus: 0n,
  bndCfgS: 0n,
  userMsrControl: 0n,
};

/** Makes the registers of an older version whole. */
function upgrade(saved: unknown): unknown {
  return typeof saved === 'object' && saved !== null ? { ...ADDED, ...saved } : saved;
}

/**
 * The registers of a vCPU as a unit of a snapshot. Loading rebuilds what is derived from them and forgets translations. A vCPU in guest mode is
 * refused both ways (`CpuError`, `bad-state`): saving an active L2 is what the migration rule forbids.
 */
export function registerState(cpu: Vcpu): Stateful {
  const { buffer } = cpu.w;
  return stateful({
    version: vcpuState.version,
    save: () => {
      cpu.counters.sync();
      return saveStruct(vcpuState, buffer, cpu.base);
    },
    load: (saved) => {
      const upgraded = upgrade(saved);
      if (typeof upgraded === 'object' && upgraded !== null) check(cpu, upgraded as SavedStruct);
      loadRegisters(cpu, upgraded);
    },
  });
}

/** Loads the registers, in guest mode too, when the memory is there already: what {@link registerState} does behind its check, and a test of the state of a running L2. */
export function loadRegisters(cpu: Vcpu, saved: unknown): void {
  loadStruct(vcpuState, cpu.w.buffer, cpu.base, saved);
  restored(cpu);
}

function restored(cpu: Vcpu): void {
  cpu.vectoring = 0;
  cpu.timedWait.rearm();
  cpu.counters.configure();
  cpu.virtualization?.restored?.(cpu);
  cpu.mmu.flushAll();
  syncBreakpoints(cpu);
  updateMode(cpu);
  cpu.requestAttention();
}

/** The model-specific registers that have no home in the vCPU state, as a unit of a snapshot: [index, low, high] each. */
export function msrState(cpu: Vcpu): Stateful {
  return stateful({
    version: 1,
    save: () => cpu.msrs.saveOwn().map((entry) => [...entry]),
    load: (saved) => {
      const isEntry = (entry: unknown): entry is [number, number, number] =>
        Array.isArray(entry) && entry.length === 3 && entry.every((part) => Number.isInteger(part) && Math.abs(part as number) < 2 ** 32);
      if (!Array.isArray(saved) || !saved.every(isEntry)) throw bad('its MSRs are no list of [index, low, high]');
      if (!cpu.msrs.loadOwn(saved)) throw bad('it has an MSR, or a value of one, that this CPU model lacks');
    },
  });
}
