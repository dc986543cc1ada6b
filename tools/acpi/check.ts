/**
 * Has ACPICA's `iasl` read the ACPI tables of each board: every table must be disassembled, and what comes out be compiled again without an error or a warning,
 * a DSDT to the same bytes. Without a path it is taken from Debian's package acpica-tools, which is fetched beside the guests.
 *
 * Usage: pnpm exec tsx --conditions=@nestvm/source tools/acpi/check.ts [path of iasl]
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { boardNames, createMachine } from '../../packages/machine/src/index.js';
import { defaultOutput } from '../guests/build.mjs';
import { fetchPackages } from '../guests/packages.mjs';

const iasl = process.argv[2] ?? join(fetchPackages(defaultOutput, ['acpica-tools'], console.error)[0]!, 'usr/bin/iasl');
const HLT = Uint8Array.of(0xfa, 0xf4);
const RSDP_AREA = 0xe0000;
const SIGNATURE = /^[A-Z]{4}$/;

interface Memory {
  read(address: number, target: Uint8Array): void;
}

function bytesAt(memory: Memory, address: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  memory.read(address, bytes);
  return bytes;
}
const table = (memory: Memory, address: number): Uint8Array =>
  bytesAt(memory, address, new DataView(bytesAt(memory, address + 4, 4).buffer).getUint32(0, true));

/** The tables that the RSDP leads to: those of the XSDT, and the DSDT and FACS of the FADT. */
function tablesOf(memory: Memory): Map<string, Uint8Array> {
  const area = Buffer.from(bytesAt(memory, RSDP_AREA, 0x20000));
  const at = area.indexOf('RSD PTR ');
  const found = new Map<string, Uint8Array>();
  if (at < 0) return found;
  const xsdt = table(memory, Number(area.readBigUInt64LE(at + 24)));
  const entries = Array.from({ length: (xsdt.length - 36) / 8 }, (_, i) => Number(new DataView(xsdt.buffer).getBigUint64(36 + 8 * i, true)));
  for (const address of entries) {
    const bytes = table(memory, address);
    found.set(String.fromCharCode(...bytes.subarray(0, 4)), bytes);
  }
  const fadt = found.get('FACP');
  const dsdt = fadt && Number(new DataView(fadt.buffer).getBigUint64(140, true));
  if (dsdt) found.set('DSDT', table(memory, dsdt));
  return found.set('XSDT', xsdt);
}

const folder = mkdtempSync(join(tmpdir(), 'acpi-'));
let [passed, failed] = [0, 0];

function check(board: string, name: string, bytes: Uint8Array): string | undefined {
  const stem = join(folder, `${board}-${name}`);
  writeFileSync(`${stem}.dat`, bytes);
  if (!SIGNATURE.test(name)) return 'no signature';
  const apart = spawnSync(iasl, ['-d', `${stem}.dat`], { encoding: 'utf8' });
  if (apart.error) throw new Error(`${iasl}: ${apart.error.message}; give the path of iasl`);
  if (apart.status !== 0) return apart.stderr.trim();
  const again = spawnSync(iasl, ['-oa', '-p', `${stem}-again`, `${stem}.dsl`], { encoding: 'utf8' });
  const told = /(\d+) Errors, (\d+) Warnings/.exec(again.stdout);
  if (again.status !== 0 || told?.[1] !== '0')
    return (
      again.stdout
        .split('\n')
        .filter((line) => /Error|Warning/.test(line))
        .join('\n') || again.stderr
    );
  if (told[2] !== '0')
    return again.stdout
      .split('\n')
      .filter((line) => /Warning/.test(line))
      .join('\n');
  if (name === 'DSDT' && !readFileSync(`${stem}-again.aml`).subarray(36).equals(Buffer.from(bytes).subarray(36))) return 'compiles to other bytes';
  return undefined;
}

for (const board of boardNames) {
  const machine = createMachine({
    board,
    cpu: 'max',
    memoryBytes: 64 << 20,
    images: [{ file: { name: 'hlt', bytes: HLT }, address: 0x7c00, entry: 'real' }],
    serial: [{ write: () => {} }],
  });
  for (const [name, bytes] of tablesOf(machine.memory)) {
    const complaint = check(board, name, bytes);
    if (complaint === undefined) passed++;
    else failed++;
    console.log(`${board} ${name}, ${bytes.length} bytes: ${complaint ?? 'ok'}`);
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
