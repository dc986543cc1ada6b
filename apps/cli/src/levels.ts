import type { LevelCounts, Machine } from '@nestvm/machine';

const SAMPLE_MS = 10;
const REPORT_MS = 2000;

/** Watches which level runs, for `--levels`: a line for each new nested guest, shares of time while they change, and a table at the end. */
export class LevelWatch {
  private samples: [number, number] = [0, 0];
  private known = 0;
  private lastReport: number;
  private lastLine = '';
  private readonly sampler: NodeJS.Timeout;

  constructor(
    private readonly machine: Machine,
    private readonly print: (line: string) => void,
    private readonly nowMs: () => number,
  ) {
    this.lastReport = nowMs();
    this.sampler = setInterval(() => this.sample(), SAMPLE_MS);
    this.sampler.unref();
  }

  /** Ends the watch and prints the table. */
  close(): void {
    clearInterval(this.sampler);
    this.announce(this.machine.levels());
    for (const line of levelTable(this.machine.levels())) this.print(line);
  }

  private sample(): void {
    for (const cpu of this.machine.cpus) this.samples[cpu.get32('guestMode') === 0 ? 0 : 1]++;
    if (this.nowMs() - this.lastReport < REPORT_MS) return;
    this.lastReport = this.nowMs();
    const counts = this.machine.levels();
    this.announce(counts);
    const [root, guest] = this.samples;
    this.samples = [0, 0];
    const share = Math.round((100 * guest) / Math.max(1, root + guest));
    const line = `L1 ${100 - share} %, L2 and deeper ${share} %; ${counts.entries} VM entries`;
    if (line !== this.lastLine && counts.entries > 0) this.print(line);
    this.lastLine = line;
  }

  private announce({ contexts }: LevelCounts): void {
    for (; this.known < contexts.length; this.known++) {
      const { kind, pa, cpu, root, tag } = contexts[this.known]!;
      const stage = root === 0 ? 'no second stage' : `${kind === 'vmcs' ? 'EPTP' : 'nCR3'} 0x${root.toString(16)}`;
      const tagName = kind === 'vmcs' ? 'VPID' : 'ASID';
      this.print(`a nested guest runs: ${kind.toUpperCase()} at 0x${pa.toString(16)} on cpu${cpu}, ${stage}, ${tagName} ${tag}`);
    }
  }
}

/** The lines that `--levels` ends with, and `info levels` shows. */
export function levelTable({ entries, failedEntries, exits, contexts }: LevelCounts): string[] {
  if (entries + failedEntries === 0) return ['only L1 ran: no VM entries'];
  const total = exits.reduce((sum, { count }) => sum + count, 0);
  const rows = exits.map(({ reason, count }) => `${String(count).padStart(12)}  ${((100 * count) / total).toFixed(1).padStart(5)} %  ${reason}`);
  return [`${entries} VM entries of ${contexts.length} contexts, ${failedEntries} failed, ${total} exits:`, ...rows];
}
