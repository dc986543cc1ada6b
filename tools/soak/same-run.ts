/**
 * The same guest with the JIT off, on, and so on, with `-icount`: every checkpoint must have the same instructions, registers, devices, RAM and console.
 *
 * Usage: pnpm exec tsx --conditions=@nestvm/source tools/soak/same-run.ts [--guest boot] [--ways off,on,force,mixed] [--every MILLIONS] [--most CHECKPOINTS]
 */
import { parseArgs } from 'node:util';
import { compareWays, type Difference, narrow } from './compare.js';
import { summary } from './digest.js';
import { type GuestOrder, guests, type Variant } from './guests.js';
import { type Answer, remoteWay } from './remote-run.js';

const { values } = parseArgs({
  options: {
    help: { type: 'boolean', short: 'h', default: false },
    guest: { type: 'string', default: 'boot' },
    ways: { type: 'string', default: 'off,on,force,mixed' },
    every: { type: 'string', default: '250' },
    most: { type: 'string', default: '1000000' },
  },
});

/** What each way means. Mixed: cold code interpreted, caches dropped. */
const VARIANTS: Readonly<Record<string, Variant>> = {
  off: { jit: 'off' },
  on: { jit: 'on' },
  force: { jit: 'force' },
  mixed: { jit: 'mixed', dropSeed: 11, evictSeed: 12 },
};

if (values.help) {
  console.log(
    `usage: same-run.ts [--guest NAME] [--ways WAY,WAY…] [--every MILLIONS] [--most CHECKPOINTS]\n` +
      `  --guest  one of ${Object.keys(guests).join(', ')} (default boot)\n` +
      `  --ways   ${Object.keys(VARIANTS).join(', ')}: those to compare (default all)\n` +
      `  --every  millions of nanoseconds of guest time between two checkpoints (default 250)\n` +
      `  --most   so many checkpoints at most (default: to the guest's end)`,
  );
  process.exit(0);
}
const guest = (guests as Record<string, GuestOrder>)[values.guest];
if (!guest) throw new Error(`there is no guest named ${values.guest}: one of ${Object.keys(guests).join(', ')}`);
const last = new Map<string, Answer>();
const ways = values.ways.split(',').map((name) => {
  const variant = VARIANTS[name];
  if (!variant) throw new Error(`there is no way named ${name}: ${Object.keys(VARIANTS).join(', ')}`);
  return remoteWay(name, guest, variant, (way, answer) => last.set(way, answer));
});
const everyNs = Number(values.every) * 1e6;
const outcome = await compareWays(ways, {
  everyNs,
  more: (checkpoints) => checkpoints < Number(values.most),
  onSame: (atNs, digest) =>
    console.log(`${(atNs / 1e9).toFixed(2)} s of guest time, ${digest['instructions']} instructions: all are ${summary(digest)}`),
});
for (const [way, { cpuSeconds, counters }] of last) console.log(`${way}: ${cpuSeconds?.toFixed(1)} s of CPU ${JSON.stringify(counters)}`);
if (outcome.difference) {
  const show = ({ ways: [a, b], sameNs, atNs, lines }: Difference): void =>
    console.log(`${a.name} and ${b.name} are the same at ${sameNs} ns of guest time and not at ${atNs} ns:\n  ${lines.join('\n  ')}`);
  show(outcome.difference);
  await narrow(outcome.difference, everyNs, 1, { more: () => true, onCloser: show });
  process.exitCode = 1;
} else
  console.log(`${ways.map(({ name }) => name).join(', ')}: the same run through ${outcome.checkpoints} checkpoints; ${outcome.ended ?? 'not ended'}`);
