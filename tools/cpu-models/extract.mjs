#!/usr/bin/env node
/**
 * Asks an installed qemu-system-x86_64 for facts (which CPU models there are, what each announces, which CPUID bit each feature name means)
 * and writes them in our own form to packages/isa/src/models/{cpuid-features,model-data}.ts.
 *
 * Usage: node tools/cpu-models/extract.mjs        (about 10 seconds; the facts in `extra.mjs` are merged in)
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { extraFeatures, extraModels, msrFeatures } from './extra.mjs';
import { QEMU, session } from './qmp.mjs';

const target = new URL('../../packages/isa/src/models/', import.meta.url);

const wordKey = (w) => `${w['cpuid-input-eax']}:${w['cpuid-input-ecx'] ?? 0}:${w['cpuid-register'].toLowerCase()}`;
const REGISTERS = ['eax', 'ebx', 'ecx', 'edx'];

/** Feature name → [leaf, subleaf, register, bit], found by switching each on over the empty model `base`. */
async function featureBits() {
  const flags = execFileSync(QEMU, ['-cpu', 'help']).toString().split('Recognized CPUID flags:')[1].trim().split(/\s+/);
  const names = [...new Set(flags)].filter((name) => !/^(vmx-|kvm)/.test(name));
  const rows = [];
  for (const name of names) {
    const words = await session('microvm', `base,+${name}`, async (command) => {
      const all = [];
      for (const property of ['feature-words', 'filtered-features']) {
        const reply = await command('qom-get', { path: '/machine/unattached/device[0]', property });
        all.push(...(reply.return ?? []));
      }
      return all;
    });
    const hit = words.find((w) => w.features && wordKey(w) !== '13:0:eax');
    if (!hit) continue;
    rows.push([name, hit['cpuid-input-eax'], hit['cpuid-input-ecx'] ?? 0, hit['cpuid-register'].toLowerCase(), Math.log2(hit.features)]);
  }
  return rows;
}

/** These two leave out VME in hardware too; every other model loses it only because TCG lacks it. */
const WITHOUT_VME = new Set(['qemu64', 'qemu32', 'base', 'max', 'host']);

async function models(features) {
  return session('none', '', async (command) => {
    const definitions = (await command('query-cpu-definitions')).return;
    const aliases = definitions.filter((d) => d['alias-of']).map((d) => [d.name, d['alias-of']]);
    const rows = [];
    for (const { name } of definitions.filter((d) => !d['alias-of'] && !['max', 'host', 'base'].includes(d.name))) {
      const p = (await command('query-cpu-model-expansion', { type: 'full', model: { name } })).return.model.props;
      const on = features.filter((f) => p[f] && f !== 'hypervisor');
      if (!WITHOUT_VME.has(name.replace(/-v\d+$/, '')) && !on.includes('vme')) on.push('vme');
      rows.push({
        name,
        vendor: p.vendor,
        family: p.family,
        model: p.model,
        stepping: p.stepping,
        level: p['min-level'],
        xlevel: p['min-xlevel'],
        id: p['model-id'].trim(),
        features: on,
      });
    }
    return { rows, aliases };
  });
}

const hex = (n) => (n > 255 ? `0x${n.toString(16)}` : `${n}`);
const order = (rows) => rows.sort((a, b) => a[1] - b[1] || a[2] - b[2] || REGISTERS.indexOf(a[3]) - REGISTERS.indexOf(b[3]) || a[4] - b[4]);

const found = await featureBits();
const cpuid = order([...found, ...extraFeatures.filter(([name]) => !found.some((row) => row[0] === name))]);
const names = [...cpuid.map((row) => row[0]), ...msrFeatures.map((row) => row[0])];
const { rows, aliases } = await models(names);
for (const extra of extraModels) if (!rows.some((row) => row.name === extra.name)) rows.push(extra);
for (const extra of extraModels)
  if (!aliases.some(([name]) => `${name}-v1` === extra.name)) aliases.push([extra.name.replace(/-v1$/, ''), extra.name]);
rows.sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
aliases.sort((a, b) => a[0].localeCompare(b[0]));

const banner = '// Written by tools/cpu-models/extract.mjs from facts; do not edit by hand.\n';
writeFileSync(
  new URL('cpuid-features.ts', target),
  `${banner}import type { CpuidFeatureRow, MsrFeatureRow } from './feature-rows.js';

/** Every CPUID bit that has a name: name, leaf, subleaf, register, bit. Sources: SDM Vol. 2 "CPUID"; APM Vol. 3 "Obtaining Processor Information". */
export const cpuidFeatureRows = [
${cpuid.map(([name, leaf, sub, register, bit]) => `  ['${name}', ${hex(leaf)}, ${sub}, '${register}', ${bit}],`).join('\n')}
] as const satisfies readonly CpuidFeatureRow[];

/** Features announced by a bit of a capability MSR: name, MSR index, bit. Source: SDM Vol. 4. */
export const msrFeatureRows = [
${msrFeatures.map(([name, msr, bit]) => `  ['${name}', ${hex(msr)}, ${bit}],`).join('\n')}
] as const satisfies readonly MsrFeatureRow[];
`,
);

const text = (row) => {
  const match = /^(.*)-v(\d+)$/.exec(row.name);
  const first = match && match[2] !== '1' ? rows.find((r) => r.name === `${match[1]}-v1`) : undefined;
  const list = first
    ? `from: '${first.name}', plus: '${row.features.filter((f) => !first.features.includes(f)).join(' ')}', minus: '${first.features.filter((f) => !row.features.includes(f)).join(' ')}'`
    : `features: '${row.features.join(' ')}'`;
  return `  { name: '${row.name}', vendor: '${row.vendor}', family: ${row.family}, model: ${row.model}, stepping: ${row.stepping}, level: ${row.level}, xlevel: ${hex(row.xlevel)}, id: '${row.id}', ${list} },`;
};
writeFileSync(
  new URL('model-data.ts', target),
  `${banner}import type { ModelRow } from './feature-rows.js';

/** CPU models under QEMU's names: identification and announced features; later versions are differences from the first. */
export const modelRows: readonly ModelRow[] = [
${rows.map(text).join('\n')}
];

/** Other names of models. */
export const modelAliases: Readonly<Record<string, string>> = {
${aliases.map(([name, of]) => `  '${name}': '${of}',`).join('\n')}
};
`,
);
console.log(`${cpuid.length} CPUID features, ${msrFeatures.length} MSR features, ${rows.length} models, ${aliases.length} aliases`);
