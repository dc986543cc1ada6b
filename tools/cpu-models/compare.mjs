#!/usr/bin/env node
/**
 * Compares what CPUID says in a guest, model by model: Nestvm against an installed qemu-system-x86_64 (TCG). The same boot sector runs in both and writes the
 * leaves to port 0xe9. Prints each difference in identity (vendor, family, model, stepping, name) and, with --all, in every word.
 *
 * Usage: node tools/cpu-models/compare.mjs [--all] [MODEL …]     (without models: all that QEMU knows; about 2 seconds each)
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const QEMU = process.env.QEMU ?? 'qemu-system-x86_64';
const nestvm = fileURLToPath(new URL('../../nestvm', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'cpuid-'));

/** [leaf, subleaf] in the order in which the guest asks. */
const LEAVES = [
  0, 1, 5, 6, 0xd, 0x80000000, 0x80000001, 0x80000002, 0x80000003, 0x80000004, 0x80000005, 0x80000006, 0x80000007, 0x80000008, 0x8000000a,
]
  .map((leaf) => [leaf, 0])
  .concat([
    [7, 0],
    [7, 1],
    [4, 0],
    [4, 1],
    [4, 2],
    [4, 3],
  ]);
const le32 = (value) => [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, (value >>> 24) & 255];

/** 16-bit code: for each leaf CPUID, its four registers to port 0xe9; then 0x31 to isa-debug-exit. */
function bootSector() {
  const out = [0xb9, 4, 0, 0xe6, 0xe9, 0x66, 0xc1, 0xe8, 8, 0xe2, 0xf8];
  // Each call goes to the routine behind the list: patched now that its place is known.
  const flat = [];
  const calls = [];
  flat.push(0xfa, 0x31, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x7c);
  for (const [leaf, sub] of LEAVES) {
    flat.push(0x66, 0xb8, ...le32(leaf), 0x66, 0xb9, ...le32(sub), 0xe8, 0, 0);
    calls.push(flat.length);
  }
  flat.push(0xb0, 0x31, 0xe6, 0xf4, 0xf4);
  const routine = flat.length;
  for (const at of calls) flat.splice(at - 2, 2, (routine - at) & 255, ((routine - at) >> 8) & 255);
  // cpuid; mov esi, ecx; out eax; mov eax, ebx; out; mov eax, esi; out; mov eax, edx; out; ret
  flat.push(0x0f, 0xa2, 0x66, 0x89, 0xce, ...out, 0x66, 0x89, 0xd8, ...out, 0x66, 0x89, 0xf0, ...out, 0x66, 0x89, 0xd0, ...out, 0xc3);
  const sector = new Uint8Array(512);
  if (flat.length > 510) throw new Error('the boot sector is too long');
  sector.set(flat);
  sector.set([0x55, 0xaa], 510);
  return sector;
}

const sector = join(folder, 'sector');
writeFileSync(sector, bootSector());

/** The words that the guest wrote, or why it did not. */
function words(command, args) {
  const log = join(folder, 'log');
  writeFileSync(log, '');
  const { stderr } = spawnSync(command, [...args, '-debugcon', `file:${log}`], { encoding: 'utf8', timeout: 60_000 });
  const bytes = readFileSync(log).subarray(-16 * LEAVES.length);
  if (bytes.length < 16 * LEAVES.length) return { error: stderr.trim().split('\n').at(-1) };
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return { words: LEAVES.map((_, i) => [0, 4, 8, 12].map((at) => view.getUint32(16 * i + at, true))) };
}

const common = ['-display', 'none', '-nodefaults', '-no-reboot', '-device', 'isa-debug-exit,iobase=0xf4,iosize=4', '-m', '16M'];
const inQemu = (model) => words(QEMU, ['-accel', 'tcg', '-cpu', model, ...common, '-drive', `file=${sector},format=raw,if=floppy`, '-boot', 'a']);
const inNestvm = (model) =>
  words(nestvm, ['run', '--nested', '-cpu', model, ...common, '-serial', 'null', '-device', `loader,file=${sector},addr=0x7c00,cpu-num=0,mode=real`]);

const at = (all, leaf) => all[LEAVES.findIndex(([l, s]) => l === leaf && s === 0)];
const text = (registers) => registers.map((word) => String.fromCharCode(...le32(word))).join('');
const hex = (value) => `0x${value.toString(16).padStart(8, '0')}`;

function identity(all) {
  const [max, b, c, d] = at(all, 0);
  return {
    'highest leaf': hex(max),
    vendor: text([b, d, c]),
    'family, model, stepping': hex(at(all, 1)[0]),
    name: [2, 3, 4]
      .map((i) => text(at(all, 0x80000000 + i)))
      .join('')
      .replace(/\0.*$/s, '')
      .trim(),
    'address bits': hex(at(all, 0x80000008)[0] & 0xffff),
  };
}

const args = process.argv.slice(2);
const all = args.includes('--all');
const named = args.filter((arg) => !arg.startsWith('-'));
const known = execFileSync(QEMU, ['-cpu', 'help'])
  .toString()
  .matchAll(/^x86 (\S+)/gm);
const models = named.length > 0 ? named : [...known].map(([, name]) => name).filter((name) => !/^(max|host|base)$|-v\d+$/.test(name));
let differences = 0;
for (const model of models) {
  const [theirs, ours] = [inQemu(model), inNestvm(model)];
  if (theirs.error !== undefined || ours.error !== undefined) {
    console.log(`${model}: no answer: ${theirs.error ?? ours.error}`);
    continue;
  }
  const [a, b] = [identity(theirs.words), identity(ours.words)];
  for (const [what, value] of Object.entries(a)) {
    if (value === b[what]) continue;
    differences++;
    console.log(`${model}: ${what}: QEMU ${value}, Nestvm ${b[what]}`);
  }
  if (!all) continue;
  LEAVES.forEach(([leaf, sub], i) => {
    theirs.words[i].forEach((word, r) => {
      const other = ours.words[i][r];
      if (word !== other)
        console.log(
          `${model}: ${hex(leaf)}/${sub} ${['eax', 'ebx', 'ecx', 'edx'][r]}: QEMU ${hex(word)}, Nestvm ${hex(other)}, differ in ${hex((word ^ other) >>> 0)}`,
        );
    });
  });
}
console.log(`${models.length} models, ${differences} differences in identity`);
