/**
 * Debian builds and compresses files in L1 and, under its KVM, in L2, twice at the same time: once undisturbed, once with decoded code, compiled code and translations dropped at
 * random. Both runs must be the same at every checkpoint; where they are not, the first instant is looked for.
 *
 * Usage: pnpm soak [options]; `pnpm soak --help` lists them (options.ts).
 * Ends with a line `N passed, N failed`: one for each vendor.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { buildGuests } from '../guests/build.mjs';
import { compareWays, type Difference, narrow } from './compare.js';
import { summary } from './digest.js';
import { guests } from './guests.js';
import { parseSoakOptions, type SoakOptions, soakHelp } from './options.js';
import { type Answer, remoteWay } from './remote-run.js';

/** What was asked for; ends the process where that makes no sense. */
function askedFor(): SoakOptions {
  try {
    const options = parseSoakOptions(process.argv.slice(2));
    if (options !== 'help') return options;
    console.log(soakHelp);
    process.exit(0);
  } catch (error) {
    console.error(`soak: ${(error as Error).message}`);
    process.exit(2);
  }
}

const { vendors, minutes, everyNs, seed, reference, label } = askedFor();
type Vendor = SoakOptions['vendors'][number];
const say = (line: string): void => console.log(line);

function show({ ways, sameNs, atNs, lines }: Difference): void {
  say(`${ways.map(({ name }) => name).join(' and ')} are the same at ${sameNs} ns of guest time and not at ${atNs} ns:\n  ${lines.join('\n  ')}`);
}

/** Slices between two drops: often enough for hundreds in minutes, and rare enough that there is compiled code to drop. */
const DROP_EVERY = 256;
/** What has to be there at the end for the run to have been worth anything: both levels came to work. */
const LEVELS = ['soak: L1: round 1:', 'soak: L2: round 1:'];

/** True when both runs were the same, and in both levels files were built. */
async function soak(vendor: Vendor, forMs: number): Promise<boolean> {
  const untilMs = Date.now() + forMs;
  const printed = new Map<string, string>();
  const last = new Map<string, Answer>();
  const watch = (way: string, answer: Answer): void => {
    last.set(way, answer);
    printed.set(way, (printed.get(way) ?? '') + (answer.console ?? ''));
  };
  const guest = guests[`soak-${vendor}`];
  const ways = [
    remoteWay('undisturbed', guest, { jit: reference }, watch),
    remoteWay('with drops', guest, { jit: 'mixed', dropSeed: seed, dropEvery: DROP_EVERY, evictSeed: seed + 1 }, watch),
  ];
  const options = {
    everyNs,
    more: () => Date.now() < untilMs,
    onSame: (atNs: number, digest: Parameters<typeof summary>[0]) =>
      say(`${vendor}: ${(atNs / 1e9).toFixed(1)} s of guest time, ${digest['instructions']} instructions: both are ${summary(digest)}`),
  };
  const { difference, ended, checkpoints } = await compareWays(ways, options);
  const folder = fileURLToPath(new URL('../../build/guests/logs/', import.meta.url));
  mkdirSync(folder, { recursive: true });
  for (const [way, text] of printed) writeFileSync(`${folder}soak-${vendor}-${way.replace(' ', '-')}.log`, text);
  for (const [way, { cpuSeconds, counters }] of last) say(`${vendor}, ${way}: ${cpuSeconds?.toFixed(0)} s of CPU, ${JSON.stringify(counters)}`);
  if (difference) {
    show(difference);
    show(await narrow(difference, everyNs, 1, { more: () => true, onCloser: show }));
    return false;
  }
  const rounds = [...(printed.get('undisturbed') ?? '').matchAll(/^soak: (L\d): round (\d+)/gm)];
  const missing = LEVELS.filter((line) => !printed.get('undisturbed')?.includes(line));
  say(
    `${vendor}: the same through ${checkpoints} checkpoints, with ${rounds.length} rounds of building and compressing (${rounds.filter(([, level]) => level === 'L2').length} of them in L2)`,
  );
  if (ended !== undefined) say(`${vendor}: the guest, which should go on for ever, ended: ${ended}`);
  for (const line of missing) say(`${vendor}: no "${line}" on the console: give it more time`);
  return ended === undefined && missing.length === 0;
}

buildGuests({ soak: true, log: say });
let passed = 0;
for (const vendor of vendors) if (await soak(vendor, (minutes * 60_000) / vendors.length)) passed++;
if (label !== undefined) {
  const folder = fileURLToPath(new URL('../../build/reports/', import.meta.url));
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}summary-${label}.json`, JSON.stringify({ passed, failed: vendors.length - passed }));
}
say(`${passed} passed, ${vendors.length - passed} failed`);
process.exitCode = passed === vendors.length ? 0 : 1;
