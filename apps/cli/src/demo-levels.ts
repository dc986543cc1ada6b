import { type GuestImage, kernelImage, svmImage, vmxImage } from '@nestvm/guests';
import { createEventLoopHost, createMachine, type LevelCounts, type Machine } from '@nestvm/machine';
import { levelTable } from './levels.js';

/** A guest of ours with the machine that it runs on. */
interface Demo {
  readonly title: string;
  readonly cpu: string;
  readonly image: () => GuestImage;
}

/** What `nestvm demo NAME` can show. */
export const demos = {
  vmx: { title: 'Intel VMX', cpu: 'Skylake-Server,vmx=on', image: vmxImage },
  svm: { title: 'AMD SVM', cpu: 'EPYC,svm=on', image: svmImage },
  kernel: { title: 'A kernel, not nested', cpu: 'max', image: kernelImage },
} as const satisfies Record<string, Demo>;

/** Name of a demo. */
export type DemoName = keyof typeof demos;

/** Where a demo writes. */
export interface DemoOutput {
  write(text: string): void;
  readonly isTTY?: boolean;
}

/** Status that isa-debug-exit makes of the guest's 0. */
export const SUCCESS = 1;
const COLOURS = ['', '\x1b[36m', '\x1b[33m', '\x1b[32m', '\x1b[35m'];
const LINE = /^\[L(\d)\] (.*)$/;

/** Puts a guest's lines on the terminal as they come: time, VM entries so far, and the text indented by its level. */
export class LiveLines {
  private line = '';
  private readonly startMs = performance.now();
  machine: Machine | undefined;
  /** Told each line as the guest printed it. */
  onLine: (line: string) => void = () => {};

  constructor(private readonly output: DemoOutput) {}

  write(byte: number): void {
    if (byte === 10) this.end();
    else if (byte !== 13) this.line += String.fromCharCode(byte);
  }

  get seconds(): string {
    return ((performance.now() - this.startMs) / 1000).toFixed(2);
  }

  private end(): void {
    this.onLine(this.line);
    const match = LINE.exec(this.line);
    const level = match === null ? 0 : Number(match[1]);
    const text = match === null ? this.line : `${'    '.repeat(level - 1)}L${level}  ${match[2]}`;
    const entries = this.machine?.levels().entries ?? 0;
    const coloured = this.output.isTTY === true ? `${COLOURS[level % COLOURS.length]}${text}\x1b[0m` : text;
    this.output.write(`${this.seconds.padStart(7)} s ${String(entries).padStart(7)}  ${coloured}\n`);
    this.line = '';
  }
}

/** The control blocks that were entered, and whose guest each one runs. */
function contextLines({ contexts }: LevelCounts): string[] {
  return contexts.map(({ kind, pa, entries, root }, i) => {
    const guest = i === 0 ? 'L2' : "L3 (made by L1 from L2's)";
    return `${kind.toUpperCase()} at 0x${pa.toString(16)}, ${kind === 'vmcs' ? 'EPTP' : 'nCR3'} 0x${root.toString(16)}: ${guest}, entered ${entries} times`;
  });
}

/** Runs one demo; true when every level did what it should. */
export async function showDemo(name: DemoName, output: DemoOutput): Promise<boolean> {
  const { title, cpu, image: make } = demos[name];
  const image = make();
  const lines = new LiveLines(output);
  const machine = createMachine({
    board: 'pc',
    cpu,
    nested: true,
    memoryBytes: Math.max(image.memoryBytes, 16 << 20),
    kernel: { name: image.name, bytes: image.bytes },
    serial: [{ write: (byte) => lines.write(byte) }],
    debugExit: { iobase: 0xf4, iosize: 4 },
    host: createEventLoopHost(globalThis),
    reboot: false,
  });
  lines.machine = machine;
  output.write(`\n${title} (-cpu ${cpu}), ${image.bytes.length} bytes of guest\n   time  entries\n`);
  const outcome = await machine.run();
  const succeeded = outcome.kind === 'exit' && outcome.status === SUCCESS;
  const how = outcome.kind === 'exit' ? `status ${outcome.status}` : outcome.kind;
  output.write(`${lines.seconds.padStart(7)} s          ${succeeded ? 'ended' : `FAILED: ${how}`}, ${machine.retired} instructions\n`);
  if (name === 'kernel') return succeeded;
  const counts = machine.levels();
  for (const line of [...contextLines(counts), ...levelTable(counts)]) output.write(`  ${line}\n`);
  return succeeded;
}
