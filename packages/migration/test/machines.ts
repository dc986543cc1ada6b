import { type GuestImage, svmImage, vmxImage } from '@nestvm/guests';
import { createMachine, type Machine, type MachineConfig } from '@nestvm/machine';
import { crc32 } from '../src/checksum.js';
import { createMemorySink, type MigratableMachine, saveSnapshot } from '../src/index.js';
import { saveUnits } from '../src/save.js';
import { encodeValue } from '../src/value-codec.js';

/** Both vendors' hypervisors of ours, and a CPU for each. */
export const vendors = [
  { vendor: 'VMX', image: vmxImage, cpu: 'host,vendor=intel' },
  { vendor: 'SVM', image: svmImage, cpu: 'host,vendor=amd' },
] as const;

/** A machine with one of our guests, on the virtual clock; `output` gets what it prints. */
export function boot(
  image: GuestImage,
  cpu: string,
  output: number[] = [],
  onByte: (machine: Machine) => void = () => {},
  more: Partial<MachineConfig> = {},
): Machine {
  const machine: Machine = createMachine({
    ...more,
    board: 'pc',
    cpu,
    nested: true,
    memoryBytes: 32 << 20,
    kernel: { name: image.name, bytes: image.bytes },
    serial: [
      {
        write: (byte) => {
          output.push(byte);
          onByte(machine);
        },
      },
    ],
    debugExit: { iobase: 0xf4, iosize: 4 },
    clock: { kind: 'virtual', shift: 0, sleep: false },
  });
  return machine;
}

/** Runs to a moment of guest time, or to the guest's end. */
export async function runTo(machine: Machine, ns: number): Promise<'stopped' | 'ended'> {
  const timer = machine.clock.createTimer('test', () => machine.stop());
  timer.arm(ns);
  const outcome = await machine.run();
  timer.cancel();
  return outcome.kind === 'stopped' ? 'stopped' : 'ended';
}

/** A machine that stops where its guest has printed `line`. */
export async function bootTo(image: GuestImage, cpu: string, line: string): Promise<Machine> {
  const output: number[] = [];
  const machine = boot(image, cpu, output, (self) => {
    if (String.fromCharCode(...output.slice(-line.length)) === line) self.stop();
  });
  const outcome = await machine.run();
  if (outcome.kind !== 'stopped') throw new Error(`the guest ended before "${line}": ${String.fromCharCode(...output)}`);
  return machine;
}

/** All of a machine's state: each unit and RAM block with its checksum. */
export function fingerprint(machine: Machine): string {
  const port: MigratableMachine = machine.migratable;
  // What a snapshot says of nested guests is no state of the machine: ledgers begin anew.
  const state = saveUnits(port).filter(({ path }) => path !== 'nested');
  const units = state.map(({ path, state }) => `${path} ${crc32(encodeValue(state)).toString(16)}`);
  return [...units, ramFingerprint(machine)].join('\n');
}

/** RAM alone. */
export const ramFingerprint = (machine: Machine): string =>
  machine.migratable
    .ram()
    .map(({ name, bytes }) => `${name} ${crc32(bytes).toString(16)}`)
    .join('\n');

/** A snapshot in memory. */
export async function snapshot(machine: Machine): Promise<Uint8Array> {
  const sink = createMemorySink();
  await saveSnapshot(machine.migratable, sink);
  return sink.bytes();
}
