/** `pnpm bench --browser`: the benchmark guest in headless Chromium and in Node, with and without the JIT, in turns, by the wall clock. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';
import { BenchError, compare, formatWallTable, type Run, type Subject } from '../../src/index.js';
import { findChromium, readOrder, runInChromium } from './chromium.js';
import type { GuestOrder, GuestReport } from './guest.js';

/** What the table is made of. */
export interface BrowserBenchOptions {
  readonly kernel: string;
  readonly initramfs: string;
  readonly board: GuestOrder['board'];
  readonly commandLine: string;
  readonly runs: number;
  readonly timeoutMs: number;
}

const source = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** One file of JavaScript with everything in it. */
function bundle(entry: string, platform: 'browser' | 'node'): string {
  const { outputFiles } = buildSync({
    entryPoints: [source(entry)],
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    platform,
    conditions: ['@nestvm/source'],
  });
  return outputFiles[0]!.text;
}

function runInNode(script: string, { kernel, initramfs, board, commandLine, timeoutMs }: BrowserBenchOptions, jit: boolean): GuestReport {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, kernel, initramfs, board, commandLine, jit ? 'on' : 'off'], {
    encoding: 'utf8',
    timeout: timeoutMs,
    maxBuffer: 1 << 26,
  });
  if (status !== 0) throw new BenchError('guest-failed', `the guest in Node ended with ${status ?? 'a time-out'}:\n${stderr.slice(-2000)}`);
  return JSON.parse(stdout) as GuestReport;
}

type Collected = Subject & { readonly runs: Run[] };

function keep(subject: Collected, report: GuestReport): void {
  if (!report.complete)
    throw new BenchError('guest-failed', `the guest in ${subject.name} did not come to its end. Its last output:\n${report.tail}`);
  subject.runs.push(toRun(report));
}

const toRun = ({ boot, tests, complete }: GuestReport): Run => ({ boot, tests: new Map(tests), complete });

/** Runs everything and gives the table as Markdown. @throws BenchError without a Chromium, or when a guest fails. */
export async function browserTable(options: BrowserBenchOptions): Promise<string> {
  const chromium = findChromium();
  if (!chromium) throw new BenchError('no-browser', 'there is no Chromium on the PATH; install the package chromium, or name one in CHROMIUM.');
  const folder = mkdtempSync(join(tmpdir(), 'nestvm-bench-'));
  try {
    const nodeScript = join(folder, 'guest.mjs');
    writeFileSync(nodeScript, bundle('./node.ts', 'node'));
    const worker = bundle('./worker.ts', 'browser');
    const { kernel, initramfs, board, commandLine, runs, timeoutMs } = options;
    const tables: string[] = [];
    const collected = [false, true].map((jit) => ({
      jit,
      subjects: ['Chromium', 'Node'].map((name): Collected => ({ name, runs: [], peakBytes: 0 })),
    }));
    for (let turn = 0; turn < runs; turn++) {
      for (const { jit, subjects } of collected) {
        console.error(`Chromium and Node, ${jit ? 'with' : 'without'} the JIT, run ${turn + 1} of ${runs}`);
        const order = readOrder(kernel, initramfs, { board, commandLine, jit });
        const reports = [await runInChromium(chromium.command, worker, order, timeoutMs), runInNode(nodeScript, options, jit)];
        for (const [i, report] of reports.entries()) keep(subjects[i]!, report);
      }
    }
    for (const { jit, subjects } of collected) tables.push(`${jit ? 'With the JIT' : 'Interpreted'}:\n\n${formatWallTable(compare(subjects))}`);
    return `${chromium.version}, Node ${process.versions.node}, ${runs} runs each.\n\n${tables.join('\n')}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
