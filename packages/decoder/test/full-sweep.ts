// The whole comparison with iced-x86: pnpm --filter @nestvm/decoder sweep [bits] [random strings per mode]. Exits with 1 when something is unexplained.
import { randomBytes, sweepBytes } from './byte-strings.js';
import { deviationCounts, impliedOperands, notImplemented, notImplementedEncodings, otherNames, rules } from './deviations.js';
import type { WitnessReport } from './run.js';
import { formatReport, runWitness } from './run.js';
import type { Bits } from './witness.js';

const modes = process.argv[2] === undefined ? ([16, 32, 64] as const) : [Number(process.argv[2]) as Bits];
const random = Number(process.argv[3] ?? 12_000_000);
let failed = false;

function show(name: string, report: WitnessReport): void {
  console.log(formatReport(name, report));
  for (const [kind, { count, example }] of report.differences) {
    failed = true;
    console.log(`  ${count} × ${kind}, e.g. ${example}`);
  }
}

for (const bits of modes) {
  for (const space of ['legacy', 'vex', 'evex'] as const) show(`${bits}-bit ${space}`, runWitness(sweepBytes(bits, space), bits, { textEvery: 101 }));
  show(`${bits}-bit random`, runWitness(randomBytes(random, 0x1234567 * bits), bits, { textEvery: 11 }));
}
const reasons = new Map(
  [...notImplemented, ...notImplementedEncodings, ...otherNames, ...impliedOperands, ...Object.values(rules)].map(({ id, reason }) => [id, reason]),
);
for (const [id, count] of deviationCounts) console.log(`deviation ${id}: ${count}; ${reasons.get(id)}`);
process.exit(failed ? 1 : 0);
