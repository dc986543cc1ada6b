import type { Migratable, SavedValue, Stateful } from '@nestvm/state';
import type { ByteSource } from './channel.js';
import { PAGE_BYTES } from './clear-pages.js';
import { ContainerReader, type Section } from './container.js';
import { L2ActiveError, MigrationError } from './errors.js';
import { applyBlocks, type BlockRun, clearDisks, decodeBlocks } from './held-disks.js';
import type { MigratableMachine, RamBlock } from './machine-port.js';
import { isActive } from './nested-activity.js';
import { expandRun, type PageRun } from './ram-codec.js';
import { RamWriter, runOf } from './ram-writer.js';
import { assertMigratable } from './save.js';
import { decodeValue } from './value-codec.js';

/** A unit as the snapshot holds it. */
export interface LoadedUnit {
  readonly path: string;
  readonly version: number;
  readonly state: SavedValue;
  readonly offset: number;
}

const record = (value: SavedValue): Readonly<Record<string, SavedValue | undefined>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
    ? (value as Record<string, SavedValue | undefined>)
    : {};

/** The unit in a section. */
export function decodeUnit({ payload, offset }: Section): LoadedUnit {
  const { path, version, state } = record(decodeValue(payload, 'a unit', offset));
  if (typeof path !== 'string' || typeof version !== 'number' || state === undefined)
    throw new MigrationError('corrupt', `the unit at byte ${offset} lacks its name, version or state; the snapshot is damaged`, { offset });
  return { path, version, state, offset };
}

/** Throws `other-machine` when the snapshot was made of a machine that this one is not. */
export function checkConfiguration(machine: MigratableMachine, { payload, offset }: Section): void {
  const reasons = machine.mismatches(decodeValue(payload, 'the configuration', offset));
  if (reasons.length > 0)
    throw new MigrationError('other-machine', `the snapshot is of another machine:\n${reasons.map((reason) => `  ${reason}`).join('\n')}`, {
      offset,
    });
}

/**
 * The machine's RAM blocks that a snapshot lists, in its order; throws `other-machine` when this machine lacks one. What the snapshot does not list, since its
 * machine had no memory there yet, is zero.
 */
export function checkRam(machine: MigratableMachine, { payload, offset }: Section): readonly RamBlock[] {
  const listed = decodeValue(payload, 'the list of RAM blocks', offset);
  const blocks = machine.ram();
  const found = (Array.isArray(listed) ? (listed as SavedValue[]) : []).flatMap((item) => {
    const entry = record(item);
    return blocks.find(({ name, bytes }) => entry['name'] === name && entry['bytes'] === bytes.length) ?? [];
  });
  if (!Array.isArray(listed) || found.length !== listed.length || found.length === 0 || new Set(found).size !== found.length)
    throw new MigrationError('other-machine', 'the snapshot has other memory than this machine; give the same -m', { offset });
  return found;
}

function checkVersion(unit: LoadedUnit, target: Stateful): void {
  if (unit.version > target.version)
    throw new MigrationError(
      'newer-version',
      `unit ${unit.path} has version ${unit.version}, this Nestvm knows up to ${target.version}; use a newer Nestvm`,
      {
        unit: unit.path,
        offset: unit.offset,
      },
    );
}

/** A unit that snapshots of earlier versions lack. */
const earlier = (path: string, { version, before }: Stateful): LoadedUnit | undefined =>
  before === undefined ? undefined : { path, version, state: before, offset: 0 };

/** Finds the machine's unit for each of the snapshot; both sides must have the same. */
export function matchUnits(machine: MigratableMachine, loaded: readonly LoadedUnit[]): [LoadedUnit, Stateful][] {
  const units: ReadonlyMap<string, Migratable> = machine.units();
  const byPath = new Map<string, LoadedUnit>();
  for (const unit of loaded) {
    const place = { unit: unit.path, offset: unit.offset };
    if (byPath.has(unit.path)) throw new MigrationError('corrupt', `the snapshot has unit ${unit.path} twice`, place);
    byPath.set(unit.path, unit);
    const target = units.get(unit.path);
    if (target?.kind !== 'stateful') throw new MigrationError('other-units', `the snapshot has a unit ${unit.path}, which this machine lacks`, place);
    checkVersion(unit, target);
  }
  const pairs: [LoadedUnit, Stateful][] = [];
  for (const [path, target] of units) {
    if (target.kind !== 'stateful') continue;
    const unit = byPath.get(path) ?? earlier(path, target);
    if (!unit) throw new MigrationError('other-units', `the snapshot lacks unit ${path}, which this machine has`, { unit: path });
    pairs.push([unit, target]);
  }
  return pairs;
}

/** Loads all units, or none: what was loaded before one refuses is put back. Returns what undoes it all. */
export function applyUnits(pairs: readonly [LoadedUnit, Stateful][]): () => void {
  const done: [Stateful, SavedValue][] = [];
  const undo = (): void => {
    for (const [target, state] of done.reverse()) target.load(state);
  };
  for (const [unit, target] of pairs) {
    // With the one that refuses: it may have taken a part of its state before it found what is wrong.
    done.push([target, target.save()]);
    try {
      target.load(unit.state);
    } catch (error) {
      undo();
      const message = error instanceof Error ? error.message : String(error);
      throw new MigrationError('bad-unit', `unit ${unit.path} refused its state: ${message}`, { unit: unit.path, offset: unit.offset });
    }
  }
  return undo;
}

const ORDER = ['CONF', 'UNIT', 'DISK', 'RAMB', 'PAGE', 'END '];

/** What becomes of the contents of a snapshot. */
interface Contents {
  /** All that comes before the pages has come, and fits. */
  onRam(input: ContainerReader, listed: readonly RamBlock[], units: readonly [LoadedUnit, Stateful][]): void;
  onRun(section: Section, listed: readonly RamBlock[]): Promise<void>;
  onBlocks(run: BlockRun): void;
}

/** Looks at all of it, and changes nothing. */
const checking: Contents = {
  onRam() {},
  async onRun(section, listed) {
    await expandRun(runOf(section, listed));
  },
  onBlocks() {},
};

/** Reads a snapshot to its end. */
async function readSnapshot(machine: MigratableMachine, source: ByteSource, contents: Contents): Promise<[LoadedUnit, Stateful][]> {
  const input = new ContainerReader(source);
  await input.begin();
  const loaded: LoadedUnit[] = [];
  let units: [LoadedUnit, Stateful][] | undefined;
  let ram: readonly RamBlock[] = [];
  let stage = 0;
  let configured = false;
  for (;;) {
    const section = await input.next();
    const next = ORDER.indexOf(section.kind);
    if (
      next < stage ||
      (next !== 0 && !configured) ||
      (section.kind === 'CONF' && configured) ||
      (next > ORDER.indexOf('RAMB') && !units) ||
      (section.kind === 'RAMB' && units)
    )
      throw new MigrationError('corrupt', `the section ${section.kind.trim()} at byte ${section.offset} is out of place; the snapshot is damaged`, {
        offset: section.offset,
      });
    stage = next;
    switch (section.kind) {
      case 'CONF':
        checkConfiguration(machine, section);
        configured = true;
        break;
      case 'UNIT':
        loaded.push(decodeUnit(section));
        break;
      case 'DISK':
        contents.onBlocks(decodeBlocks(machine, section));
        break;
      case 'RAMB':
        ram = checkRam(machine, section);
        units = matchUnits(machine, loaded);
        contents.onRam(input, ram, units);
        break;
      case 'PAGE':
        await contents.onRun(section, ram);
        break;
      default:
        return units!;
    }
  }
}

/** Puts the pages of a snapshot into RAM, and what is held into its disks; what it leaves out is zero, or not held. `onUnits` gets the units before a page is written. */
async function loadContents(
  machine: MigratableMachine,
  source: ByteSource,
  onUnits: (units: readonly [LoadedUnit, Stateful][]) => void,
): Promise<void> {
  clearDisks(machine);
  const present = new Map(machine.ram().map(({ name, bytes }) => [name, new Uint8Array(bytes.length / PAGE_BYTES)]));
  let writer = new RamWriter(machine, []);
  const have = ({ block, firstPage, pages, encoding }: PageRun, listed: readonly RamBlock[]): void => {
    if (encoding !== 'zero') present.get(listed[block]!.name)!.fill(1, firstPage, firstPage + pages);
  };
  await readSnapshot(machine, source, {
    onRam(input, listed, units) {
      onUnits(units);
      writer = new RamWriter(machine, listed);
      input.place = writer.place;
    },
    async onRun(section, listed) {
      have(await writer.put(section), listed);
    },
    onBlocks: applyBlocks,
  });
  writer.clear(({ name }, page) => present.get(name)![page] === 0);
}

/** Gives the units their state; refuses, with the state that was, when that makes an L2 active. */
function takeUnits(machine: MigratableMachine, units: readonly [LoadedUnit, Stateful][]): void {
  const undo = applyUnits(units);
  const contexts = machine.nested.inspect();
  if (!contexts.some(isActive)) return;
  undo();
  throw new L2ActiveError('load this snapshot', contexts);
}

/** Options of {@link loadSnapshot}. */
export interface LoadOptions {
  /**
   * Nobody needs the machine when the load fails: the snapshot is read once only. What does not fit is refused before memory is written, as ever; damage in the
   * pages is found when half of them are there.
   */
  readonly disposable?: boolean;
}

/**
 * Loads a snapshot into a stopped machine. The whole of it is read and checked before anything changes, so `open` is called twice and must give the same
 * bytes each time; a machine that refuses stays as it was. Refuses with {@link L2ActiveError} while an L2 of this machine is active, and when the snapshot
 * claims one.
 */
export async function loadSnapshot(machine: MigratableMachine, open: () => ByteSource, options: LoadOptions = {}): Promise<void> {
  assertMigratable(machine, 'load a snapshot into this machine');
  if (options.disposable) await loadContents(machine, open(), (units) => takeUnits(machine, units));
  else {
    takeUnits(machine, await readSnapshot(machine, open(), checking));
    await loadContents(machine, open(), () => {});
  }
  machine.forgetCaches();
}
