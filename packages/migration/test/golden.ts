import { kernelImage, svmImage, vmxImage } from '@nestvm/guests';
import { createMachine, type Machine, type MachineConfig } from '@nestvm/machine';
import { HeldBlocks } from '@nestvm/state';
import type { MigratableMachine } from '../src/index.js';

/** A machine of which a snapshot is kept for ever: when it was taken, and what its guest prints after that. */
export interface Golden {
  readonly file: string;
  readonly board: MachineConfig['board'];
  readonly cpu: string;
  readonly image: typeof kernelImage;
  /** The snapshot was taken after the guest had printed this. */
  readonly after: string;
  /** What it prints from there to its end. */
  readonly rest: string;
  /** Blocks that a disk held in memory, by what they are filled with: the container knows them since version 3. */
  readonly blocks?: Readonly<Record<number, number>>;
}

const counts = (from: number): string => Array.from({ length: 13 - from }, (_, i) => `[L1] counts ${from + i}\r\n`).join('');

/** By the boards and extensions that they cover. */
const covered: readonly (Omit<Golden, 'file'> & { readonly name: string })[] = [
  {
    name: 'pc-kernel',
    board: 'pc',
    cpu: 'qemu64',
    image: kernelImage,
    after: 'page faults: 1\r\n',
    rest: 'timer ticks: 20\r\nNestvm kernel: done\r\n',
  },
  {
    name: 'q35-vmx',
    board: 'q35',
    cpu: 'Skylake-Server,vmx=on',
    image: () => vmxImage({ levels: 2, program: 'count' }),
    after: '[L1] counts 7\r\n',
    rest: counts(8),
  },
  {
    name: 'pc-svm',
    board: 'pc',
    cpu: 'EPYC,svm=on',
    image: () => svmImage({ levels: 2, program: 'count' }),
    after: '[L1] counts 7\r\n',
    rest: counts(8),
  },
];

/** Snapshots of every version of the container. */
export const goldens: readonly Golden[] = ['v1', 'v2', 'v3'].flatMap((version) =>
  covered.map(({ name, ...rest }) => ({
    file: `${version}-${name}`,
    ...rest,
    ...(version === 'v3' ? { blocks: { 1: 0x11, 2: 0x22, 9: 0x99 } } : {}),
  })),
);

const BLOCK = 512;

/** Fills the blocks of a disk. */
export function holdBlocks(held: HeldBlocks, blocks: Golden['blocks'] = {}): void {
  for (const [index, value] of Object.entries(blocks)) held.set(Number(index), new Uint8Array(BLOCK).fill(value));
}

/** The machine of one as it is saved and loaded, with the disk that is beside it. */
export function migratableGolden({ blocks }: Golden, { migratable }: Machine): { readonly machine: MigratableMachine; readonly held: HeldBlocks } {
  const held = new HeldBlocks(20 * BLOCK, BLOCK);
  const disks = [{ name: 'disk', blocks: held }];
  // CPU models gain features; this is about the schemas of the units.
  return { machine: { ...migratable, mismatches: () => [], ...(blocks === undefined ? {} : { heldDisks: () => disks }) }, held };
}

/** The machine of one, at power-on; it stops at the place where the snapshot is taken. */
export function createGolden({ board, cpu, image: make, after }: Golden, output: { text: string }): Machine {
  const image = make();
  const machine = createMachine({
    board,
    cpu,
    nested: true,
    memoryBytes: 16 << 20,
    kernel: { name: image.name, bytes: image.bytes },
    serial: [
      {
        write: (byte) => {
          output.text += String.fromCharCode(byte);
          if (output.text.endsWith(after)) machine.stop();
        },
      },
    ],
    debugExit: { iobase: 0xf4, iosize: 4 },
    reboot: false,
  });
  return machine;
}
