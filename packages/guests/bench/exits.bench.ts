/**
 * Round trips of an exit: from a guest to its hypervisor and back, for CPUID and for the call instruction, on both vendors, from L2 and from L3, on the same
 * programs; and on QEMU's TCG (SVM) where it is installed. CPU time of the whole emulator (Linux; elsewhere host time), read when the guest's lines arrive: the
 * best of all starts, in microseconds.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type LevelOptions, svmImage, vmxImage } from '@nestvm/guests';

const launcher = fileURLToPath(new URL('../../../tools/workspace/nestvm.mjs', import.meta.url));
const TRIES = 2;
const REPEAT = { 2: 50_000, 3: 5_000 } as const;
const MICROSECONDS = 1e6;

interface Emulator {
  readonly name: string;
  readonly command: readonly string[];
}

const TICKS_PER_SECOND = 100;
const USER_TICKS = 13;

/** Seconds that a process has used so far, by all its threads; host seconds where that cannot be read. */
function secondsOf(pid: number): number {
  try {
    // The name in parentheses may hold spaces.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/\(.*\)/, '-')
      .split(' ');
    return (Number(fields[USER_TICKS]) + Number(fields[USER_TICKS + 1])) / TICKS_PER_SECOND;
  } catch {
    return performance.now() / 1000;
  }
}

const machine = (file: string): string[] => ['-M', 'pc', '-m', '64M', '-kernel', file, '-nodefaults', '-display', 'none', '-serial', 'stdio'];
const debugExit = ['-device', 'isa-debug-exit,iobase=0xf4,iosize=0x4', '-no-reboot'];

/** Seconds from one of the program's lines to the next, the least of all starts: `cpuid` and `call`. */
function measure({ command }: Emulator, file: string, level: number): Promise<{ cpuid: number; call: number }> {
  const [program = '', ...first] = command;
  const child = spawn(program, [...first, ...machine(file), ...debugExit], { stdio: ['ignore', 'pipe', 'ignore'] });
  const best = { cpuid: Number.POSITIVE_INFINITY, call: Number.POSITIVE_INFINITY };
  let text = '';
  let section: 'cpuid' | 'call' | undefined;
  let since = 0;
  child.stdout.on('data', (data: Buffer) => {
    const now = secondsOf(child.pid ?? 0);
    text += String(data);
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      const line = text.slice(0, end).trim();
      text = text.slice(end + 1);
      const match = new RegExp(`^\\[L${level}\\] (cpuid|call|end)$`).exec(line);
      if (match === null) continue;
      if (section !== undefined) best[section] = Math.min(best[section], now - since);
      section = match[1] === 'end' ? undefined : (match[1] as 'cpuid' | 'call');
      since = now;
    }
  });
  return new Promise((resolve) => child.on('close', () => resolve(best)));
}

const vendors = [
  { name: 'VMX', call: 'VMCALL', cpu: 'Skylake-Server,vmx=on', image: vmxImage },
  { name: 'SVM', call: 'VMMCALL', cpu: 'EPYC,svm=on', image: svmImage },
] as const;

const hasQemu = spawnSync('qemu-system-x86_64', ['--version'], { stdio: 'ignore' }).status === 0;
const folder = mkdtempSync(join(tmpdir(), 'nestvm-exits-'));
try {
  console.log('exit round trip, µs of CPU       CPUID    call');
  for (const { name, call, cpu, image } of vendors)
    for (const level of [2, 3] as const) {
      const options: LevelOptions = { levels: level, program: 'exits', repeat: REPEAT[level] };
      const file = join(folder, `${name}${level}`);
      writeFileSync(file, image(options).bytes);
      const nestvm: Emulator = { name: 'Nestvm', command: [process.execPath, launcher, 'run', '--nested', '-cpu', cpu] };
      const qemu: Emulator = { name: 'QEMU TCG', command: ['qemu-system-x86_64', '-accel', 'tcg', '-cpu', 'EPYC'] };
      for (const emulator of name === 'SVM' && hasQemu ? [nestvm, qemu] : [nestvm]) {
        const best = { cpuid: Number.POSITIVE_INFINITY, call: Number.POSITIVE_INFINITY };
        for (let i = 0; i < TRIES; i++) {
          const found = await measure(emulator, file, level);
          best.cpuid = Math.min(best.cpuid, found.cpuid);
          best.call = Math.min(best.call, found.call);
        }
        const text = (seconds: number): string => ((seconds / REPEAT[level]) * MICROSECONDS).toFixed(2).padStart(8);
        console.log(`${`${name} L${level} ${emulator.name} (${call})`.padEnd(30)}${text(best.cpuid)}${text(best.call)}`);
      }
    }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
