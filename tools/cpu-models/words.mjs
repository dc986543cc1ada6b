#!/usr/bin/env node
/**
 * Asks an installed qemu-system-x86_64 what each of its CPU models is defined to announce (also what TCG then filters out), CPUID word by CPUID word, and writes
 * that to packages/isa/test/qemu-models.json, which a test compares with our models.
 *
 * Usage: node tools/cpu-models/words.mjs        (about a minute)
 */
import { writeFileSync } from 'node:fs';
import { modelNames, QEMU, session, version } from './qmp.mjs';

const CPU = '/machine/unattached/device[0]';
const word = (row) => [row['cpuid-input-eax'], row['cpuid-input-ecx'] ?? 0, row['cpuid-register'].toLowerCase()].join(':');

async function definition(name) {
  return session('pc', name, async (command) => {
    const get = async (property) => (await command('qom-get', { path: CPU, property })).return;
    const words = {};
    for (const property of ['feature-words', 'filtered-features']) {
      for (const row of (await get(property)) ?? []) if (row.features !== 0) words[word(row)] = ((words[word(row)] ?? 0) | row.features) >>> 0;
    }
    const identity = {};
    for (const property of ['vendor', 'family', 'model', 'stepping', 'level', 'xlevel', 'model-id']) identity[property] = await get(property);
    return { ...identity, words };
  });
}

const models = {};
for (const name of modelNames()) if (!['max', 'host', 'base'].includes(name)) models[name] = await definition(name);
const target = new URL('../../packages/isa/test/qemu-models.json', import.meta.url);
const lines = Object.entries(models).map(([name, model]) => `    ${JSON.stringify(name)}: ${JSON.stringify(model)}`);
writeFileSync(
  target,
  `{\n  "source": ${JSON.stringify(`${version()} (${QEMU.replace(/.*\//, '')}, TCG)`)},\n  "models": {\n${lines.join(',\n')}\n  }\n}\n`,
);
console.log(`${lines.length} models`);
