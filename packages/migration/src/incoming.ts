import { ContainerReader, ContainerWriter, type Section } from './container.js';
import { MigrationError } from './errors.js';
import { decodeControl, type Link, sayTo } from './link.js';
import { applyUnits, checkConfiguration, checkRam, decodeUnit, type LoadedUnit, matchUnits } from './load.js';
import type { MigratableMachine } from './machine-port.js';
import { decodeRun, expandRun, PAGE_BYTES } from './ram-codec.js';

/** Options of {@link migrateIn}. */
export interface IncomingOptions {
  /** Called with the bytes of RAM received so far. */
  readonly onProgress?: (receivedBytes: number) => void;
}

const REMARK = 'the machine here was not started; the source still has it';

async function receivePages(machine: MigratableMachine, section: Section): Promise<number> {
  const blocks = machine.ram();
  const run = decodeRun(section.payload, blocks, section.offset);
  const { bytes } = blocks[run.block]!;
  const start = run.firstPage * PAGE_BYTES;
  if (run.encoding === 'zero') bytes.fill(0, start, start + run.pages * PAGE_BYTES);
  else bytes.set(await expandRun(run), start);
  return run.pages * PAGE_BYTES;
}

async function receive(machine: MigratableMachine, input: ContainerReader, options: IncomingOptions): Promise<void> {
  await input.begin();
  const units: LoadedUnit[] = [];
  const seen = new Set<string>();
  let received = 0;
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
      checkRam(machine, section);
      for (const { bytes } of machine.ram()) bytes.fill(0);
    } else if (section.kind === 'UNIT') units.push(decodeUnit(section));
    else if (section.kind === 'PAGE') {
      received += await receivePages(machine, section);
      options.onProgress?.(received);
    } else if (section.kind === 'CTRL') {
      const { say } = decodeControl(section.payload, section.offset);
      throw new MigrationError(say === 'cancelled' ? 'cancelled' : 'corrupt', `the source said "${say}"; ${REMARK}`);
    } else break;
  }
  applyUnits(matchUnits(machine, units));
  machine.forgetCaches();
}

/**
 * Receives a machine into one that was made with the same options and has not run. Resolves when the source has handed it over: the caller then runs it at once,
 * and calls `confirm` as soon as it does. Any failure throws, tells the source why where that is possible, and the machine here must not be run.
 */
export async function migrateIn(
  machine: MigratableMachine,
  link: Link,
  options: IncomingOptions = {},
): Promise<{ readonly confirm: () => Promise<void> }> {
  const out = new ContainerWriter(link.sink);
  const input = new ContainerReader(link.source);
  try {
    await out.begin();
    await receive(machine, input, options);
    await sayTo(out, { say: 'ready' });
    await expectGo(input);
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/^migration: /, '') : String(error);
    await sayTo(out, { say: 'refused', why }).catch(() => {});
    link.close();
    if (error instanceof MigrationError && error.code !== 'truncated') throw error;
    throw new MigrationError('link', `the source has gone: ${why}; ${REMARK}`);
  }
  return {
    confirm: async () => {
      await sayTo(out, { say: 'running' }).catch(() => {});
      link.close();
    },
  };
}

async function expectGo(input: ContainerReader): Promise<void> {
  const { kind, payload, offset } = await input.next();
  const say = kind === 'CTRL' ? decodeControl(payload, offset).say : kind.trim();
  if (say !== 'go')
    throw new MigrationError(say === 'cancelled' ? 'cancelled' : 'corrupt', `the source said "${say}" where "go" belongs; ${REMARK}`, { offset });
}
