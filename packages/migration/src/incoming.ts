import { PAGE_BYTES } from './clear-pages.js';
import type { ContainerReader } from './container.js';
import { L2ActiveError, MigrationError } from './errors.js';
import { applyBlocks, clearDisks, decodeBlocks } from './held-disks.js';
import { type Control, decodeControl, type Link, noWitness, sayTo, type Witness } from './link.js';
import { applyUnits, checkConfiguration, checkRam, decodeUnit, type LoadedUnit, matchUnits } from './load.js';
import type { MigratableMachine } from './machine-port.js';
import { isActive } from './nested-activity.js';
import { RamWriter } from './ram-writer.js';
import { type Custody, lineOn, REMARK, reasonOf, type SourceLine, TakeOver, type TargetRecovery } from './take-over.js';

/** Options of {@link migrateIn}. */
export interface IncomingOptions {
  /** Called with the bytes of RAM received so far. */
  readonly onProgress?: (receivedBytes: number) => void;
  /** Whether the source's process lives, should the line break in the hand-over. Default: nobody knows. */
  readonly witness?: Witness;
  /** How the source finds this target again when the line breaks in the hand-over. Default: not at all. */
  readonly recovery?: TargetRecovery;
}

/** A machine that is to run here from now on. */
export interface Arrival {
  /** How it came: the source gave it away; or the source's process has died when all of the machine was here; or somebody has decided it (`recovery.decided`). */
  readonly how: Custody;
  /** It stood still at the source, and is to do so here. */
  readonly stopped: boolean;
  /** Tells the source; to be awaited before the machine runs. */
  readonly confirm: () => Promise<void>;
}

/** Receives and loads all of the machine. */
async function receive(machine: MigratableMachine, input: ContainerReader, options: IncomingOptions): Promise<void> {
  const units: LoadedUnit[] = [];
  const seen = new Set<string>();
  let received = 0;
  let memory: RamWriter | undefined;
  for (;;) {
    const section = await input.next();
    const early =
      (section.kind !== 'CONF' && !seen.has('CONF')) ||
      ((section.kind === 'PAGE' || section.kind === 'DISK') && !seen.has('RAMB')) ||
      (section.kind === 'END ' && !seen.has('RAMB'));
    if (early || ((section.kind === 'CONF' || section.kind === 'RAMB') && seen.has(section.kind)))
      throw new MigrationError('corrupt', `the section ${section.kind.trim()} at byte ${section.offset} is out of place`, { offset: section.offset });
    seen.add(section.kind);
    if (section.kind === 'CONF') checkConfiguration(machine, section);
    else if (section.kind === 'RAMB') {
      memory = new RamWriter(machine, checkRam(machine, section));
      clearDisks(machine);
      memory.clear(() => true);
      input.place = memory.place;
    } else if (section.kind === 'UNIT') units.push(decodeUnit(section));
    else if (section.kind === 'DISK') applyBlocks(decodeBlocks(machine, section));
    else if (section.kind === 'PAGE') {
      received += (await memory!.put(section)).pages * PAGE_BYTES;
      options.onProgress?.(received);
    } else if (section.kind === 'CTRL') {
      const { say } = decodeControl(section.payload, section.offset);
      throw new MigrationError(say === 'cancelled' ? 'cancelled' : 'corrupt', `the source said "${say}"; ${REMARK}`);
    } else break;
  }
  applyUnits(matchUnits(machine, units));
  machine.forgetCaches();
  const contexts = machine.nested.inspect();
  if (contexts.some(isActive)) throw new L2ActiveError('take this machine over', contexts);
}

type Hello = Extract<Control, { say: 'hello' }>;

async function hello({ input }: SourceLine): Promise<Hello> {
  await input.begin();
  const { kind, payload, offset } = await input.next();
  const control = kind === 'CTRL' ? decodeControl(payload, offset) : null;
  if (control?.say !== 'hello')
    throw new MigrationError('corrupt', 'the source does not begin with a greeting; it is no Nestvm that migrates', { offset });
  return control;
}

/**
 * Receives a machine into one that was made with the same options and has not run. Resolves when it is to run here: the caller awaits `confirm` and runs it at
 * once. Any failure throws, tells the source why where that is possible, and the machine here must not be run; but with the code `undecided` it is complete, and
 * may be run if somebody makes sure that the source does not.
 */
export async function migrateIn(machine: MigratableMachine, link: Link, options: IncomingOptions = {}): Promise<Arrival> {
  const { witness = noWitness, recovery } = options;
  let line = lineOn(link);
  try {
    let source = await greet(line, witness);
    // A source that asks for what a process before this one may have had.
    while (source.again === true) {
      await sayTo(line.out, { say: 'refused', why: 'the target waits for a machine, and has none yet' });
      if (!recovery) throw new MigrationError('link', `the source asks about an earlier migration; ${REMARK}`);
      line.link.close();
      line = lineOn(await recovery.again());
      source = await greet(line, witness);
    }
    await receive(machine, line.input, options);
    const takeOver = new TakeOver(line, { who: source.who, session: source.session ?? '' }, witness, recovery);
    const how = await takeOver.run();
    return { how, stopped: takeOver.stopped, confirm: () => takeOver.confirm() };
  } catch (error) {
    const undecided = error instanceof MigrationError && error.code === 'undecided';
    if (!undecided) await sayTo(line.out, { say: 'refused', why: reasonOf(error) }).catch(() => {});
    line.link.close();
    recovery?.close?.();
    if (error instanceof MigrationError && error.code !== 'truncated') throw error;
    throw new MigrationError('link', `the source has gone: ${reasonOf(error)}; ${REMARK}`);
  }
}

/** Both sides say who they are. */
async function greet(line: SourceLine, { me }: Witness): Promise<Hello> {
  await line.out.begin();
  await sayTo(line.out, { say: 'hello', who: me });
  return hello(line);
}
