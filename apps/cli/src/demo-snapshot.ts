import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { vmxImage } from '@nestvm/guests';
import { createEventLoopHost, createMachine, type Machine } from '@nestvm/machine';
import { createMemorySink, L2ActiveError, saveSnapshot } from '@nestvm/migration';
import { type DemoOutput, LiveLines, SUCCESS } from './demo-levels.js';
import { writeWhole } from './migration/file.js';

const CPU = 'host';
/** The options that make the machine of `createGuestMachine` on the command line. */
const OPTIONS = ['-M', 'pc', '-cpu', CPU, '--nested', '-m', '16M', '-device', 'isa-debug-exit,iobase=0xf4,iosize=4'];
const COUNTED = ['-icount', 'shift=0,sleep=off'];
/** Lines of the guest at which the demo stops it: in the middle of L2, and of L1 after L2. */
const IN_L2 = '[L2] counts 4';
const AFTER_L2 = '[L1] counts 4';

/** A machine with a hypervisor that counts in its guest, then without one; it stops at lines of interest. */
function createGuestMachine(lines: LiveLines): Machine {
  const image = vmxImage({ levels: 2, program: 'count' });
  const machine = createMachine({
    board: 'pc',
    cpu: CPU,
    nested: true,
    memoryBytes: 16 << 20,
    kernel: { name: image.name, bytes: image.bytes },
    serial: [{ write: (byte) => lines.write(byte) }],
    debugExit: { iobase: 0xf4, iosize: 4 },
    host: createEventLoopHost(globalThis),
  });
  lines.machine = machine;
  lines.onLine = (line) => {
    if (line === IN_L2 || line === AFTER_L2) machine.stop();
  };
  return machine;
}

/** Tries to save while L2 runs; true when it is refused, and nothing was written. */
async function showRefusal(machine: Machine, output: DemoOutput): Promise<boolean> {
  const sink = createMemorySink();
  try {
    await saveSnapshot(machine.migratable, sink);
  } catch (error) {
    if (!(error instanceof L2ActiveError) || sink.bytes().length > 0) throw error;
    const indented = error.message.replace(/^migration: /, '').replaceAll('\n', '\n   ');
    output.write(`  savevm: ${indented}\n`);
    return true;
  }
  output.write('  savevm: FAILED: it was not refused\n');
  return false;
}

/** Lets another process load the snapshot; true when its guest counts to the end from where it was saved. */
function continueElsewhere(file: string, lines: LiveLines): Promise<boolean> {
  const args = [...process.execArgv, process.argv[1]!, 'run', ...OPTIONS, ...COUNTED, '-serial', 'stdio', '-display', 'none', '-loadvm', file];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const seen: string[] = [];
  lines.machine = undefined;
  lines.onLine = (line) => void seen.push(line);
  child.stdout.on('data', (bytes: Buffer) => {
    for (const byte of bytes) lines.write(byte);
  });
  return new Promise((resolve) => {
    child.on('close', (status) => resolve(status === SUCCESS && seen[0] === '[L1] counts 5' && seen.length === 8));
  });
}

/** Saves a machine while its L2 runs (refused), after L2 has ended, and goes on in a second process; true when all went as it should. */
export async function showSnapshot(output: DemoOutput): Promise<boolean> {
  output.write(`\nSnapshots (-cpu ${CPU}): refused while an L2 is active, allowed when it has ended\n   time  entries\n`);
  const lines = new LiveLines(output);
  const machine = createGuestMachine(lines);
  await machine.run();
  if (!(await showRefusal(machine, output))) return false;
  await machine.run();
  const folder = mkdtempSync(join(tmpdir(), 'nestvm-demo-'));
  const file = join(folder, 'snapshot');
  try {
    let saved = 0;
    await writeWhole(file, async (sink) => {
      saved = (await saveSnapshot(machine.migratable, sink)).bytes;
    });
    output.write(`  savevm: saved ${saved} bytes; this machine ends, a second process loads them and goes on\n`);
    const succeeded = await continueElsewhere(file, lines);
    output.write(`  the second process ${succeeded ? 'counted to the end' : 'FAILED'}\n`);
    return succeeded;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
