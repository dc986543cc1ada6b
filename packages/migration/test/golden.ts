import { kernelImage, svmImage, vmxImage } from '@nestvm/guests';
import { createMachine, type Machine, type MachineConfig } from '@nestvm/machine';

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
export const goldens: readonly Golden[] = ['v1', 'v2'].flatMap((version) =>
  covered.map(({ name, ...rest }) => ({ file: `${version}-${name}`, ...rest })),
);

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
