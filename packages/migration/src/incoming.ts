import { ContainerReader, ContainerWriter, type Section } from './container.js';
import { MigrationError } from './errors.js';
import { decodeControl, type Link, noWitness, sayTo, type Witness } from './link.js';
import { applyUnits, checkConfiguration, checkRam, decodeUnit, type LoadedUnit, matchUnits } from './load.js';
import type { MigratableMachine, RamBlock } from './machine-port.js';
import { decodeRun, expandRun, PAGE_BYTES } from './ram-codec.js';

/** Options of {@link migrateIn}. */
export interface IncomingOptions {
  /** Called with the bytes of RAM received so far. */
  readonly onProgress?: (receivedBytes: number) => void;
  /** Whether the source's process lives, should the line break in the hand-over. Default: nobody knows. */
  readonly witness?: Witness;
}

/** A machine that is to run here from now on. */
export interface Arrival {
  /** How it came: the source gave it away; or the source's process has died when all of the machine was here. */
  readonly how: 'handed over' | 'inherited';
  /** Tells the source; to be awaited before the machine runs. */
  readonly confirm: () => Promise<void>;
}

const REMARK = 'the machine here was not started; the source still has it';

async function receivePages(blocks: readonly RamBlock[], section: Section): Promise<number> {
  const run = decodeRun(section.payload, blocks, section.offset);
  const { bytes } = blocks[run.block]!;
  const start = run.firstPage * PAGE_BYTES;
  if (run.encoding === 'zero') bytes.fill(0, start, start + run.pages * PAGE_BYTES);
  else bytes.set(await expandRun(run), start);
  return run.pages * PAGE_BYTES;
}

/** Receives and loads all of the machine; resolves to what the source says of itself. */
async function receive(machine: MigratableMachine, input: ContainerReader, options: IncomingOptions): Promise<string> {
  await input.begin();
  const source = await hello(input);
  const units: LoadedUnit[] = [];
  const seen = new Set<string>();
  let received = 0;
  let ram: readonly RamBlock[] = [];
  for (;;) {
    const section = await input.next();
    const early =
      (section.kind !== 'CONF' && !seen.has('CONF')) ||
      (section.kind === 'PAGE' && !seen.has('RAMB')) ||
      (section.kind === 'END ' && !seen.has('RAMB'));
    if (early || ((section.kind === 'CONF' || section.kind === 'RAMB') && seen.has(section.kind)))
      throw new MigrationError('corrupt', `the section ${section.kind.trim()} at byte ${section.offset} is out of place`, { offset: section.offset });
    seen.add(section.kind);
    if (section.kind === 'CONF') checkConfiguration(machine, section);
    else if (section.kind === 'RAMB') {
      ram = checkRam(machine, section);
      for (const { bytes } of machine.ram()) bytes.fill(0);
    } else if (section.kind === 'UNIT') units.push(decodeUnit(section));
    else if (section.kind === 'PAGE') {
      received += await receivePages(ram, section);
      options.onProgress?.(received);
    } else if (section.kind === 'CTRL') {
      const { say } = decodeControl(section.payload, section.offset);
      throw new MigrationError(say === 'cancelled' ? 'cancelled' : 'corrupt', `the source said "${say}"; ${REMARK}`);
    } else break;
  }
  applyUnits(matchUnits(machine, units));
  machine.forgetCaches();
  return source;
}

async function hello(input: ContainerReader): Promise<string> {
  const { kind, payload, offset } = await input.next();
  const control = kind === 'CTRL' ? decodeControl(payload, offset) : null;
  if (control?.say !== 'hello')
    throw new MigrationError('corrupt', 'the source does not begin with a greeting; it is no Nestvm that migrates', { offset });
  return control.who;
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message.replace(/^migration: /, '') : String(error));

/** The source has gone, or the line to it, before it gave the machine away: dead or not, that is the question. */
async function settle(error: unknown, source: string, witness: Witness): Promise<'inherited'> {
  const fate = source === '' ? 'unknown' : await witness.judge(source);
  if (fate === 'dead') return 'inherited';
  const known = fate === 'alive' ? 'The source lives, and most likely goes on with it' : 'Whether the source still has it is not known';
  throw new MigrationError(
    'undecided',
    `the line broke when all of the machine was here, but before the source gave it away: ${reasonOf(error)}. ${known}. The machine here is stopped. Look at the source; only if it does not run the machine, go on here (cont).`,
  );
}

/**
 * Receives a machine into one that was made with the same options and has not run. Resolves when it is to run here: the caller awaits `confirm` and runs it at
 * once. Any failure throws, tells the source why where that is possible, and the machine here must not be run; but with the code `undecided` it is complete, and
 * may be run if somebody makes sure that the source does not.
 */
export async function migrateIn(machine: MigratableMachine, link: Link, options: IncomingOptions = {}): Promise<Arrival> {
  const out = new ContainerWriter(link.sink);
  const input = new ContainerReader(link.source);
  const witness = options.witness ?? noWitness;
  try {
    await out.begin();
    await sayTo(out, { say: 'hello', who: witness.me });
    const source = await receive(machine, input, options);
    const how = await takeOver(out, input, source, witness);
    const confirm = async (): Promise<void> => {
      await sayTo(out, { say: 'running' }).catch(() => {});
      link.close();
    };
    return { how, confirm };
  } catch (error) {
    const undecided = error instanceof MigrationError && error.code === 'undecided';
    if (!undecided) await sayTo(out, { say: 'refused', why: reasonOf(error) }).catch(() => {});
    link.close();
    if (error instanceof MigrationError && error.code !== 'truncated') throw error;
    throw new MigrationError('link', `the source has gone: ${reasonOf(error)}; ${REMARK}`);
  }
}

/** With all of the machine here: says so, and waits for the source to give it away. */
async function takeOver(out: ContainerWriter, input: ContainerReader, source: string, witness: Witness): Promise<Arrival['how']> {
  let section: Section;
  try {
    await sayTo(out, { say: 'ready' });
    section = await input.next();
  } catch (error) {
    // A damaged answer comes from a source that is still there: it hears that it keeps the machine.
    if (error instanceof MigrationError && error.code !== 'truncated') throw error;
    return settle(error, source, witness);
  }
  const { kind, payload, offset } = section;
  const say = kind === 'CTRL' ? decodeControl(payload, offset).say : kind.trim();
  if (say === 'go') return 'handed over';
  throw new MigrationError(say === 'cancelled' ? 'cancelled' : 'corrupt', `the source said "${say}" where "go" belongs; ${REMARK}`, { offset });
}
